/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/sockets.h"

#include <errno.h>
#include <linux/netlink.h>

#include "basic/array.h"

enum { MESSAGE_SIZE = 128 };

#define STATE(name) (1U << INETDIAG_##name)

/* A kernel without one of these has no such sockets, or cannot tell of them. */
static const struct {
    int protocol, family;
    uint32_t states;
} tables[] = {
    { IPPROTO_TCP, AF_UNSPEC,
      STATE(ESTABLISHED) | STATE(SYN_SENT) | STATE(SYN_RECV) | STATE(NEW_SYN_RECV) |
          STATE(FIN_WAIT1) | STATE(FIN_WAIT2) | STATE(CLOSE_WAIT) | STATE(LAST_ACK) |
          STATE(CLOSING) },
    { IPPROTO_UDP, AF_INET, STATE(ESTABLISHED) | STATE(CLOSE) },
    { IPPROTO_UDP, AF_INET6, STATE(ESTABLISHED) | STATE(CLOSE) },
    { IPPROTO_UDPLITE, AF_INET, STATE(ESTABLISHED) | STATE(CLOSE) },
    { IPPROTO_UDPLITE, AF_INET6, STATE(ESTABLISHED) | STATE(CLOSE) },
};

void sockets_close(struct sockets *s)
{
    nlsock_close(&s->diag);
    *s = SOCKETS_INIT;
}

void sockets_done_free(struct sockets_done *done)
{
    free(done->cookies);
    *done = (struct sockets_done){ 0 };
}

static int destroy(struct sockets *s, const struct inetdiag_socket *socket)
{
    char buf[MESSAGE_SIZE];
    int r = inetdiag_destroy_build(buf, sizeof(buf), socket);

    return r < 0 ? r : nlsock_request(&s->diag, (void *)buf, NULL, NULL, NULL);
}

int sockets_open(struct sockets *s)
{
    /* no socket has port 0, nor a cookie of 0 */
    static const struct inetdiag_socket nobody = { .family = AF_INET, .protocol = IPPROTO_TCP };
    int r = nlsock_open(&s->diag, NETLINK_SOCK_DIAG);

    if (r == 0)
        s->can_destroy = destroy(s, &nobody) == -ENOENT;
    return r;
}

/* What is to be destroyed: found first, for a dump goes on while it is read. */
struct search {
    const struct sockets_judge *judge;
    const struct sockets_done *done;
    int protocol;
    struct inetdiag_socket *found;
    size_t n, cap;
    struct inetdiag_socket *waiting; /* UDP without a remote end, of the table that is read */
    size_t n_waiting, cap_waiting;
};

static int compare_cookies(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return CMP(*a, *b);
}

static bool was_destroyed(const struct sockets_done *done, uint64_t cookie)
{
    return done->n_cookies > 0 && bsearch(&cookie, done->cookies, done->n_cookies,
                                          sizeof(*done->cookies), compare_cookies) != NULL;
}

static bool is_waiting(const struct inetdiag_socket *socket)
{
    return socket->protocol != IPPROTO_TCP && ip_addr_is_any(&socket->remote);
}

static int on_socket(void *data, const struct nlmsghdr *nlh)
{
    struct search *search = data;
    struct inetdiag_socket socket;
    int r = inetdiag_parse(nlh, search->protocol, &socket);

    if (r < 0)
        return r == -ENOMSG ? 0 : r;
    if (is_waiting(&socket) &&
        ARRAY_PUSH(search->waiting, search->n_waiting, search->cap_waiting, socket) < 0)
        return -ENOMEM;
    if (was_destroyed(search->done, socket.cookie))
        return 0;
    return ARRAY_PUSH(search->found, search->n, search->cap, socket);
}

static int compare_waiting(const void *x, const void *y)
{
    const struct inetdiag_socket *a = x, *b = y;
    int c = CMP(a->local_port, b->local_port);

    return c != 0 ? c : ip_addr_compare(&a->local, &b->local);
}

/* Of those found from `first` on, only they stay that are to be destroyed. */
static int judge_listed(struct search *search, size_t first)
{
    const struct sockets_judge *judge = search->judge;
    size_t out = first;
    int r = judge->listed && search->n > first ? judge->listed(judge->data) : 0;

    for (size_t i = first; r == 0 && i < search->n; i++)
        if (judge->judge(judge->data, &search->found[i]))
            search->found[out++] = search->found[i];
    search->n = out;
    return r;
}

/*
 * Leaves alone those found from `first` on that wait where another one does. The kernel could not be
 * told which one is meant; and of a group that shares its work (SO_REUSEPORT) the one that is hit
 * drops out, and takes all packets or none.
 */
static void spare_sharing(struct search *search, size_t first)
{
    size_t out = first;

    if (search->n_waiting > 0)
        qsort(search->waiting, search->n_waiting, sizeof(*search->waiting), compare_waiting);
    for (size_t i = first; i < search->n; i++) {
        const struct inetdiag_socket *socket = &search->found[i], *twin = NULL;
        const struct inetdiag_socket *end = search->waiting + search->n_waiting;

        if (is_waiting(socket))
            twin =
                bsearch(socket, search->waiting, search->n_waiting, sizeof(*twin), compare_waiting);
        if (!twin || ((twin == search->waiting || compare_waiting(twin - 1, twin) != 0) &&
                      (twin + 1 == end || compare_waiting(twin, twin + 1) != 0)))
            search->found[out++] = *socket;
    }
    search->n = out;
    search->n_waiting = 0;
}

static int find(struct sockets *s, struct search *search)
{
    char buf[MESSAGE_SIZE];
    int r = 0;

    search->n = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(tables); i++) {
        size_t first = search->n;

        search->protocol = tables[i].protocol;
        r = inetdiag_dump_build(buf, sizeof(buf), tables[i].family, search->protocol,
                                tables[i].states);
        if (r == 0)
            r = nlsock_dump(&s->diag, (void *)buf, on_socket, search);
        /* no such table; or one that changed meanwhile, as it does all the time */
        if (r == -ENOENT || r == -EINTR || r == -EPROTONOSUPPORT)
            r = 0;
        if (r == 0)
            r = judge_listed(search, first);
        spare_sharing(search, first);
    }
    return r;
}

static void count_user(struct sockets_done *done, uint32_t uid)
{
    size_t i = 0;

    while (i < done->n_users && done->users[i].uid != uid)
        i++;
    if (i == SOCKETS_USERS_MAX)
        return;
    if (i == done->n_users)
        done->users[done->n_users++].uid = uid;
    done->users[i].n++;
}

/* How many were destroyed, or -ENOMEM. */
static int destroy_found(struct sockets *s, const struct search *search, struct sockets_done *done)
{
    int n = 0, r = ARRAY_RESERVE(done->cookies, done->cap_cookies, done->n_cookies + search->n);

    if (r < 0)
        return r;
    for (size_t i = 0; i < search->n; i++) {
        const struct inetdiag_socket *socket = &search->found[i];
        bool tcp = socket->protocol == IPPROTO_TCP;

        r = destroy(s, socket);
        if (tcp && (r == -ENOENT || r == -ESTALE))
            continue; /* it has ended by itself */
        done->cookies[done->n_cookies++] = socket->cookie;
        if (r < 0) {
            done->refused++;
            done->error = r;
            continue;
        }
        *(tcp ? &done->tcp : &done->udp) += 1;
        count_user(done, socket->uid);
        n++;
    }
    if (done->n_cookies > 0)
        qsort(done->cookies, done->n_cookies, sizeof(*done->cookies), compare_cookies);
    return n;
}

int sockets_destroy(struct sockets *s, const struct sockets_judge *judge, struct sockets_done *done)
{
    struct search search = { .judge = judge, .done = done };
    int r = s->can_destroy ? find(s, &search) : -EOPNOTSUPP;

    if (r == 0)
        r = destroy_found(s, &search, done);
    free(search.found);
    free(search.waiting);
    return r;
}
