/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/keystore-client.h"

#include <errno.h>
#include <pthread.h>

#include "basic/fd.h"
#include "lib/unix-socket.h"

enum {
    FIRST_READ = 1024, /* most values are short */
    REPLY_MAX = 64 << 20,
};

/* What only looks is answered at once. */
#define PATIENCE_READ  (5 * USEC_PER_SEC)
#define PATIENCE_WRITE (60 * USEC_PER_SEC)
/* A password takes its time by intent, and after wrong ones the next is let wait up to 30 seconds. */
#define PATIENCE_PASSWORD (120 * USEC_PER_SEC)

static usec_t patience_of(enum keystore_action action)
{
    switch (action) {
    case KEYSTORE_TEST:
    case KEYSTORE_GET:
    case KEYSTORE_EXIST:
    case KEYSTORE_SAW:
    case KEYSTORE_ZERO:
        return PATIENCE_READ;
    case KEYSTORE_PASSWORD:
    case KEYSTORE_UNLOCK:
        return PATIENCE_PASSWORD;
    default:
        return PATIENCE_WRITE;
    }
}

static void wipe_and_free(void *data, size_t size)
{
    if (data)
        explicit_bzero(data, size);
    free(data);
}

void keystore_reply_done(struct keystore_reply *reply)
{
    wipe_and_free(reply->bytes, reply->capacity);
    *reply = (struct keystore_reply){ 0 };
}

/* realloc() would leave a copy behind. */
static int grow(struct keystore_reply *reply)
{
    size_t capacity = reply->capacity ? reply->capacity * 2 : FIRST_READ;
    uint8_t *bytes;

    if (capacity > REPLY_MAX)
        return -EPROTO;
    bytes = malloc(capacity);
    if (!bytes)
        return -ENOMEM;
    if (reply->size > 0)
        memcpy(bytes, reply->bytes, reply->size);
    wipe_and_free(reply->bytes, reply->capacity);
    reply->bytes = bytes;
    reply->capacity = capacity;
    return 0;
}

/* Only what was no error has something behind it that is worth waiting for. */
static int read_answer(int fd, usec_t deadline, struct keystore_reply *reply)
{
    size_t n = 1;
    int r = unix_socket_read(fd, &reply->answer, sizeof(reply->answer), deadline);

    if (r == 0 && (reply->answer == 0 || reply->answer >= KEYSTORE_ANSWER_MAX))
        r = -EPROTO;
    if (reply->answer != KEYSTORE_NO_ERROR)
        return r;
    while (r == 0 && n > 0) {
        r = reply->size < reply->capacity ? 0 : grow(reply);
        if (r == 0)
            r = unix_socket_read_some(fd, reply->bytes + reply->size, reply->capacity - reply->size,
                                      deadline, &n);
        if (r == 0)
            reply->size += n;
    }
    return r;
}

static int ask(const char *path, usec_t deadline, void *request, size_t size,
               struct keystore_reply *reply)
{
    struct iovec iov = { request, size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    _cleanup_fd_ int fd = -1;
    int r = unix_socket_open(path, deadline, &fd);

    if (r == 0)
        r = unix_socket_send(fd, &msg, deadline);
    if (r < 0 && r != -ECONNRESET)
        return r;
    if (fd < 0)
        return r;
    (void)shutdown(fd, SHUT_WR); /* hung up or not: what was answered can still be read */
    return read_answer(fd, deadline, reply);
}

static int ask_and_wipe(const char *path, usec_t deadline, enum keystore_action action,
                        const struct keystore_blob *parameters, size_t n,
                        struct keystore_reply *ret)
{
    uint8_t *request = malloc(KEYSTORE_REQUEST_MAX);
    struct keystore_reply reply = { 0 };
    int r = request ? keystore_request_write(action, parameters, n, request, KEYSTORE_REQUEST_MAX)
                    : -ENOMEM;
    size_t size = r < 0 ? 0 : (size_t)r;

    if (r >= 0)
        r = ask(path, deadline, request, size, &reply);
    wipe_and_free(request, size);
    if (r < 0)
        keystore_reply_done(&reply);
    else
        *ret = reply;
    return r;
}

int keystore_client_ask(const char *path, usec_t patience, enum keystore_action action,
                        const struct keystore_blob *parameters, size_t n,
                        struct keystore_reply *ret)
{
    usec_t deadline = clock_monotonic() + (patience ? patience : patience_of(action));
    int error = errno, state, r;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    r = ask_and_wipe(path, deadline, action, parameters, n, ret);
    (void)pthread_setcancelstate(state, NULL);
    errno = error;
    return r;
}

int keystore_answer_error(uint8_t answer)
{
    static const int errors[] = {
        [KEYSTORE_LOCKED] = -ENOKEY,
        [KEYSTORE_UNINITIALIZED] = -ENODATA,
        [KEYSTORE_SYSTEM_ERROR] = -EIO,
        [KEYSTORE_PROTOCOL_ERROR] = -EPROTO,
        [KEYSTORE_PERMISSION_DENIED] = -EACCES,
        [KEYSTORE_KEY_NOT_FOUND] = -ENOENT,
        [KEYSTORE_VALUE_CORRUPTED] = -EBADMSG,
        [KEYSTORE_UNDEFINED_ACTION] = -EOPNOTSUPP,
    };

    if (answer == KEYSTORE_NO_ERROR)
        return 0;
    if (keystore_answer_tries(answer) > 0)
        return -EKEYREJECTED;
    return answer < ELEMENTSOF(errors) && errors[answer] ? errors[answer] : -EPROTO;
}

unsigned keystore_answer_tries(uint8_t answer)
{
    return answer >= KEYSTORE_WRONG_PASSWORD && answer < KEYSTORE_ANSWER_MAX
               ? answer - KEYSTORE_WRONG_PASSWORD + 1U
               : 0;
}
