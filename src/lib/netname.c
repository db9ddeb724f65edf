/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/netname.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "basic/fd.h"
#include "basic/parse.h"
#include "lib/fwmark-client.h"
#include "lib/unix-socket.h"

#define NETWORK_PATH "/org/waymark1/network/"

enum { NAME_MAX_LENGTH = 64 };

/* D-Bus specification, "Message Format". */
enum { TYPE_METHOD_CALL = 1, TYPE_METHOD_RETURN = 2, TYPE_ERROR = 3 };
enum { FIELD_PATH = 1, FIELD_INTERFACE = 2, FIELD_MEMBER = 3, FIELD_SIGNATURE = 8 };

struct dbus_header {
    uint8_t endian, type, flags, version;
    uint32_t body_size, serial, fields_size;
};

static const char own_endian = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';

struct message {
    size_t n;
    unsigned char bytes[256 + NAME_MAX_LENGTH];
};

static void put(struct message *m, const void *data, size_t n)
{
    assert(m->n + n <= sizeof(m->bytes));
    memcpy(m->bytes + m->n, data, n);
    m->n += n;
}

static void put_string(struct message *m, const char *s)
{
    uint32_t n = (uint32_t)strlen(s);

    put(m, &n, sizeof(n));
    put(m, s, n + 1);
}

static void align(struct message *m)
{
    while (m->n % 8)
        put(m, "", 1);
}

/* A header field: its code, its signature, a string. */
static void put_field(struct message *m, uint8_t code, char type, const char *s)
{
    align(m);
    put(m, (unsigned char[]){ code, 1, (unsigned char)type, 0 }, 4);
    put_string(m, s);
}

static void write_call(struct message *m, const char *name)
{
    struct dbus_header h = { .endian = (uint8_t)own_endian,
                             .type = TYPE_METHOD_CALL,
                             .version = 1,
                             .body_size = (uint32_t)(sizeof(uint32_t) + strlen(name) + 1),
                             .serial = 1 };

    *m = (struct message){ .n = sizeof(h) };
    put_field(m, FIELD_PATH, 'o', "/org/waymark1");
    put_field(m, FIELD_INTERFACE, 's', "org.waymark1.Manager");
    put_field(m, FIELD_MEMBER, 's', "GetNetwork");
    align(m);
    put(m, (unsigned char[]){ FIELD_SIGNATURE, 1, 'g', 0, 1, 's', 0 }, 7);
    h.fields_size = (uint32_t)(m->n - sizeof(h));
    align(m);
    put_string(m, name);
    memcpy(m->bytes, &h, sizeof(h));
}

static int send_bytes(int fd, const void *data, size_t size, usec_t deadline)
{
    struct iovec iov = { (void *)data, size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    return unix_socket_send(fd, &msg, deadline);
}

/* One line of the authentication, without its end. -EBADMSG when it is longer than any of ours. */
static int read_line(int fd, char line[static 128], usec_t deadline)
{
    for (size_t n = 0; n < 128; n++) {
        int r = unix_socket_read(fd, line + n, 1, deadline);

        if (r < 0)
            return r;
        if (n > 0 && line[n - 1] == '\r' && line[n] == '\n') {
            line[n - 1] = '\0';
            return 0;
        }
    }
    return -EBADMSG;
}

/* Who we are is known from the socket (EXTERNAL), an identity need not be told. */
static int authenticate(int fd, usec_t deadline)
{
    static const char hello[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    char line[128];
    int r = send_bytes(fd, hello, sizeof(hello) - 1, deadline);

    while (r == 0) {
        r = read_line(fd, line, deadline);
        if (r == 0 && startswith(line, "OK "))
            return 0;
        if (r == 0 && !startswith(line, "DATA"))
            r = -EACCES;
    }
    return r;
}

static int skip(int fd, uint64_t size, usec_t deadline)
{
    char waste[512];
    int r = 0;

    for (; r == 0 && size > 0; size -= MIN(size, sizeof(waste)))
        r = unix_socket_read(fd, waste, (size_t)MIN(size, sizeof(waste)), deadline);
    return r;
}

/* The body of the answer is one string: the object's path. */
static int read_path(int fd, uint32_t size, usec_t deadline, uint32_t *ret_netid)
{
    struct {
        uint32_t length;
        char text[64];
    } body = { 0 };
    int r;

    if (size <= sizeof(body.length) || size >= sizeof(body))
        return -EBADMSG;
    r = unix_socket_read(fd, &body, size, deadline);
    if (r < 0)
        return r;
    if (!startswith(body.text, NETWORK_PATH) ||
        parse_u32(body.text + STRLEN(NETWORK_PATH), FWMARK_NETID_MAX, ret_netid) < 0)
        return -EBADMSG;
    return 0;
}

/* Signals may stand before the answer: they are skipped. */
static int read_answer(int fd, usec_t deadline, uint32_t *ret_netid)
{
    for (;;) {
        struct dbus_header h;
        uint64_t fields;
        int r = unix_socket_read(fd, &h, sizeof(h), deadline);

        if (r < 0)
            return r;
        if (h.endian != own_endian)
            return -EBADMSG;
        if (h.type == TYPE_ERROR) /* the one that GetNetwork has */
            return -ENONET;
        fields = (uint64_t)h.fields_size + (8 - h.fields_size % 8) % 8;
        r = skip(fd, h.type == TYPE_METHOD_RETURN ? fields : fields + h.body_size, deadline);
        if (r < 0)
            return r;
        if (h.type == TYPE_METHOD_RETURN)
            return read_path(fd, h.body_size, deadline, ret_netid);
    }
}

static int ask(const char *path, const struct message *call, usec_t deadline, uint32_t *ret_netid)
{
    _cleanup_fd_ int fd = -1;
    int r = unix_socket_open(path, deadline, &fd);

    if (r == 0)
        r = authenticate(fd, deadline);
    if (r == 0)
        r = send_bytes(fd, call->bytes, call->n, deadline);
    return r < 0 ? r : read_answer(fd, deadline, ret_netid);
}

/* Hung up: a user has so many connections at a time, and other programs of ours may have them. */
static int ask_patiently(const char *path, const struct message *call, uint32_t *ret_netid)
{
    const struct timespec pause = { .tv_nsec = 10L * 1000 * 1000 };
    usec_t deadline = clock_monotonic() + FWMARK_PATIENCE;
    int r;

    while ((r = ask(path, call, deadline, ret_netid)) == -ECONNRESET &&
           clock_monotonic() < deadline)
        (void)nanosleep(&pause, NULL);
    return r;
}

int netname_resolve(const char *path, const char *name, uint32_t *ret_netid)
{
    int error = errno, state, r;
    struct message call;

    if (strlen(name) > NAME_MAX_LENGTH)
        return -ENONET;
    write_call(&call, name);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    r = ask_patiently(path, &call, ret_netid);
    (void)pthread_setcancelstate(state, NULL);
    errno = error;
    return r;
}
