/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/observe/nlsock: answers that the kernel gives too seldom to wait for them. They lie in a
 * socket pair before they are asked for.
 */

#include "unit/check.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "observe/nlsock.h"

enum { SEQ = 7, TYPE = NLMSG_MIN_TYPE + 1 };

struct kernel_end {
    struct nlsock s;
    int fd;
};

static void open_pair(struct kernel_end *k)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
    *k = (struct kernel_end){ .s = { .fd = fds[0], .seq = SEQ }, .fd = fds[1] };
}

static void close_pair(struct kernel_end *k)
{
    nlsock_close(&k->s);
    (void)close(k->fd);
}

/* One message: a header, and a number behind it unless `size` says that there is none. */
static void put(struct kernel_end *k, uint16_t type, uint16_t flags, uint32_t seq, int number,
                size_t size)
{
    struct {
        struct nlmsghdr h;
        struct nlmsgerr error;
    } m = {
        .h = { .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = seq },
        .error = { .error = number },
    };

    m.h.nlmsg_len = (uint32_t)(sizeof(m.h) + size);
    assert_int_equal(send(k->fd, &m, m.h.nlmsg_len, 0), m.h.nlmsg_len);
}

static int count(void *data, const struct nlmsghdr *nlh)
{
    (void)nlh;
    ++*(unsigned *)data;
    return 0;
}

/* clang-format off */
static const struct {
    const char *name;
    uint16_t flags;  /* of the one message of the dump */
    int done;        /* what NLMSG_DONE says */
    size_t size;     /* of that */
    int result;
} dumps[] = {
    { "whole", NLM_F_MULTI, 0, sizeof(int), 0 },
    { "no number", NLM_F_MULTI, -ENOMEM, 0, 0 },
    { "half a number", NLM_F_MULTI, -ENOMEM, 2, 0 },
    { "cut off", NLM_F_MULTI, -ENOMEM, sizeof(int), -ENOMEM },
    { "torn", NLM_F_MULTI | NLM_F_DUMP_INTR, 0, sizeof(int), -EINTR },
    { "torn and cut off", NLM_F_MULTI | NLM_F_DUMP_INTR, -ENOBUFS, sizeof(int), -ENOBUFS },
    { "a length", NLM_F_MULTI, 20, sizeof(int), 0 },
};
/* clang-format on */

static void test_dump(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(dumps); i++) {
        struct nlmsghdr request = { .nlmsg_len = sizeof(request), .nlmsg_flags = NLM_F_DUMP };
        struct kernel_end k;
        unsigned seen = 0;

        open_pair(&k);
        put(&k, TYPE, dumps[i].flags, SEQ, 0, sizeof(int));
        put(&k, NLMSG_DONE, NLM_F_MULTI, SEQ, dumps[i].done, dumps[i].size);
        CHECK_INT(dumps[i].name, nlsock_dump(&k.s, &request, count, &seen), dumps[i].result);
        CHECK_INT(dumps[i].name, seen, 1);
        close_pair(&k);
    }
    CHECK_END();
}

static void put_answer(struct kernel_end *k, uint32_t seq, int error)
{
    put(k, NLMSG_ERROR, 0, seq, error, sizeof(struct nlmsgerr));
}

static void test_batch(void **state)
{
    /* the batches' sequence numbers: first, last */
    static const uint32_t rows[][2] = { { 100, 105 }, { UINT32_MAX - 2, 3 } };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct nlmsghdr batch = { .nlmsg_len = sizeof(batch) };
        uint32_t first = rows[i][0], last = rows[i][1];
        struct kernel_end k;

        open_pair(&k);
        put_answer(&k, first - 1, -EEXIST); /* late, of a batch before */
        put_answer(&k, last + 1, -EEXIST);
        put_answer(&k, last, 0);
        CHECK_INT("good", nlsock_batch(&k.s, &batch, sizeof(batch), first, last, NULL), 0);
        put_answer(&k, first - 4, 0);
        put_answer(&k, first + 1, -EBUSY);
        put_answer(&k, first + 2, -ENOENT);
        put_answer(&k, last, 0);
        CHECK_INT("the first error", nlsock_batch(&k.s, &batch, sizeof(batch), first, last, NULL),
                  -EBUSY);
        put_answer(&k, first, -EPERM);
        CHECK_INT("refused whole", nlsock_batch(&k.s, &batch, sizeof(batch), first, last, NULL),
                  -EPERM);
        put_answer(&k, first - 1, 0);
        CHECK_INT("no answer", nlsock_batch(&k.s, &batch, sizeof(batch), first, last, NULL),
                  -ETIMEDOUT);
        close_pair(&k);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_dump), cmocka_unit_test(test_batch) };

    return RUN_TESTS(tests);
}
