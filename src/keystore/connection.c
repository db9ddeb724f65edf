/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/connection.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "basic/log.h"
#include "keystore/request.h"

enum {
    BYTES_MIN = 64,
    DRAINED_MAX = 128 << 10,
};

/* The answer. */

static void log_request(const struct connection *c, enum keystore_answer answer)
{
    enum keystore_answer now;
    char code[8] = "-";

    if (log_max_level() < LOG_INFO)
        return;
    now = store_state(c->service->store);
    if (c->request.has_code && isgraph(c->request.code))
        snprintf(code, sizeof(code), "%c", c->request.code);
    else if (c->request.has_code)
        snprintf(code, sizeof(code), "0x%02x", c->request.code);
    log_info("uid: %u action: %s -> %d state: %d -> %d retry: %u", c->uid, code, answer,
             c->request.has_code ? c->state : now, now, store_tries(c->service->store));
}

/* Reads what nobody wants any more. */
static enum connection_next drain(struct connection *c)
{
    struct secret *scratch = &c->service->scratch;
    ssize_t n = recv(c->fd, scratch->data, scratch->size, MSG_DONTWAIT);

    if (n > 0) {
        secret_wipe(scratch->data, (size_t)n);
        c->drained += (size_t)n;
    }
    if (c->drained > DRAINED_MAX)
        return CONNECTION_ENDS;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)) ? CONNECTION_READS
                                                                   : CONNECTION_ENDS;
}

static enum connection_next sent(struct connection *c)
{
    secret_done(&c->bytes);
    c->used = 0;
    if (c->ended || shutdown(c->fd, SHUT_WR) < 0)
        return CONNECTION_ENDS;
    return drain(c);
}

/* Keeps what did not go, from `skip` on. */
static enum connection_next keep_answer(struct connection *c, const struct iovec *parts, size_t n,
                                        size_t skip)
{
    struct secret left;
    size_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += parts[i].iov_len;
    if (secret_new(size, &left) < 0)
        return CONNECTION_ENDS;
    size = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(left.data + size, parts[i].iov_base, parts[i].iov_len);
        size += parts[i].iov_len;
    }
    secret_done(&c->bytes);
    c->bytes = left;
    c->used = skip;
    return CONNECTION_WRITES;
}

static enum connection_next send_parts(struct connection *c, struct iovec *parts, size_t n)
{
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };
    size_t size = 0;
    ssize_t gone = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (gone < 0 && errno != EAGAIN)
        return CONNECTION_ENDS; /* he does not want it any more */
    for (size_t i = 0; i < n; i++)
        size += parts[i].iov_len;
    gone = MAX(gone, 0);
    return (size_t)gone < size ? keep_answer(c, parts, n, (size_t)gone) : sent(c);
}

enum connection_next connection_answer(struct connection *c, enum keystore_answer answer)
{
    return connection_answer_with(c, answer, NULL, true);
}

enum connection_next connection_answer_with(struct connection *c, enum keystore_answer answer,
                                            const struct secret *body, bool raw)
{
    uint8_t head[1 + KEYSTORE_LENGTH_SIZE] = { (uint8_t)answer };
    struct iovec parts[] = { { head, raw ? 1 : sizeof(head) }, { 0 } };
    enum connection_next next;

    if (body) {
        parts[1] = (struct iovec){ body->data, body->size };
        head[1] = (uint8_t)(body->size >> 8);
        head[2] = (uint8_t)body->size;
    }
    c->answered = true;
    next = send_parts(c, parts, body ? 2 : 1);
    log_request(c, answer);
    return next;
}

enum connection_next connection_write(struct connection *c)
{
    ssize_t gone =
        send(c->fd, c->bytes.data + c->used, c->bytes.size - c->used, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (gone < 0)
        return errno == EAGAIN || errno == EINTR ? CONNECTION_WRITES : CONNECTION_ENDS;
    c->used += (size_t)gone;
    return c->used < c->bytes.size ? CONNECTION_WRITES : sent(c);
}

/* The request. */

/*
 * Reads twice: behind the last byte there is nearly always the end already. 0 or -errno, for a
 * connection that is broken.
 */
static int receive(struct connection *c, size_t *ret_size)
{
    struct secret *scratch = &c->service->scratch;
    size_t size = 0;

    for (int i = 0; i < 2 && !c->ended && size < scratch->size; i++) {
        ssize_t n = recv(c->fd, scratch->data + size, scratch->size - size, MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            secret_wipe(scratch->data, size);
            return -errno;
        }
        if (n < 0)
            break;
        c->ended = n == 0;
        size += (size_t)n;
    }
    *ret_size = size;
    return 0;
}

/* 0: so far there is nothing to be said. */
static enum keystore_answer judge(struct connection *c)
{
    enum keystore_answer answer = 0;

    if (!c->request.has_code)
        return 0;
    if (!c->checked)
        answer = policy_check(&c->service->policy, c->uid, &c->request, c->state);
    c->checked = true;
    if (answer != 0)
        return answer;
    if (c->request.wrong || (c->ended && !keystore_reader_may_end(&c->request)))
        return KEYSTORE_PROTOCOL_ERROR;
    return 0;
}

/* Room for n more bytes: by halves, but not more than the request has announced. */
static int reserve(struct connection *c, size_t n)
{
    size_t need = c->used + n, room = MAX(c->bytes.size + c->bytes.size / 2, (size_t)BYTES_MIN);
    struct secret larger;
    int r;

    if (need <= c->bytes.size)
        return 0;
    r = secret_new(MAX(MIN(room, keystore_reader_needs(&c->request)), need), &larger);
    if (r < 0)
        return r;
    if (c->used > 0)
        memcpy(larger.data, c->bytes.data, c->used);
    secret_done(&c->bytes);
    c->bytes = larger;
    return 0;
}

static int keep(struct connection *c, const uint8_t *bytes, size_t n)
{
    int r = n > 0 ? reserve(c, n) : 0;

    if (r < 0 || n == 0)
        return r;
    memcpy(c->bytes.data + c->used, bytes, n);
    c->used += n;
    return 0;
}

/* The store has copies of what it needs later. */
enum connection_next connection_run(struct connection *c)
{
    enum connection_next next = request_run(c, c->bytes.data);

    if (next == CONNECTION_RUNS)
        secret_done(&c->bytes);
    return next;
}

/* n more bytes have come, or the end. */
static enum connection_next take(struct connection *c, const uint8_t *bytes, size_t n)
{
    enum connection_turn turn = CONNECTION_NOW;
    enum keystore_answer answer;

    if (!c->request.has_code)
        c->state = (uint8_t)store_state(c->service->store);
    keystore_reader_feed(&c->request, bytes, n);
    if (c->ended && !c->request.has_code)
        return CONNECTION_ENDS; /* he wanted nothing */
    answer = judge(c);
    if (answer != 0)
        return connection_answer(c, answer);
    if (c->ended)
        turn = c->service->turn(c);
    if (c->ended && c->used == 0 && turn == CONNECTION_NOW)
        return request_run(c, bytes);
    if (turn == CONNECTION_NEVER || keep(c, bytes, n) < 0)
        return connection_answer(c, KEYSTORE_SYSTEM_ERROR);
    if (turn == CONNECTION_LATER)
        return CONNECTION_WAITS;
    return c->ended ? connection_run(c) : CONNECTION_READS;
}

enum connection_next connection_read(struct connection *c)
{
    uint8_t *scratch = c->service->scratch.data;
    enum connection_next next = CONNECTION_READS;
    size_t n = 0;

    if (c->answered)
        return drain(c);
    if (receive(c, &n) < 0)
        return CONNECTION_ENDS;
    if (n > 0 || c->ended)
        next = take(c, scratch, n);
    secret_wipe(scratch, n);
    return next;
}

enum connection_next connection_store_closed(struct connection *c)
{
    enum keystore_answer answer = store_state(c->service->store);

    if (c->answered)
        return c->request.action == KEYSTORE_GET ? CONNECTION_ENDS : c->stage;
    if (!c->checked)
        return c->stage;
    if (request_kind(c->request.action) != REQUEST_GUESSES)
        answer = policy_check(&c->service->policy, c->uid, &c->request, answer);
    return answer == 0 ? c->stage : connection_answer(c, answer);
}

bool connection_is_abandoned(const struct connection *c)
{
    struct pollfd client = { .fd = c->fd };

    return poll(&client, 1, 0) > 0 && (client.revents & (POLLHUP | POLLERR));
}

void connection_done(struct connection *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    secret_done(&c->bytes);
}
