/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A storm of damaged datagrams, many and fast, but never more than who is tested can read: after each
 * burst comes an undamaged one, until it is answered.
 *
 *   minivtun-storm COUNT SEED TO PORT FROM PORT [clear] <TEMPLATES
 *
 * TEMPLATES are datagrams, each behind its length as two bytes, big endian. The first one is sent as it
 * is; the others, damaged by a generator that SEED determines. All come FROM that address and port; where
 * that is 0, from one of some ports, and the undamaged one from another, so that nobody's answer is taken
 * for its own. `clear`: the messages are not encrypted, and an answer to an echo request must be an echo
 * of what was sent.
 *
 * Prints "SENT ANSWERS WRONG". Ends with 1 when nobody answers any more.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LARGEST = 8192 + 64,
    TEMPLATES = 64,
    SOCKETS = 8, /* of them, the first is for the undamaged */
    BURST = 64,
    PATIENCE = 200, /* ms until the undamaged one is sent again */
    ATTEMPTS = 100,
    HEADER = 20,
    ECHO = 24,
    ECHO_REQ = 0,
    IPDATA = 1,
    ECHO_ACK = 3,
    SEEN_BITS = 27,
};

struct datagram {
    size_t length;
    uint8_t bytes[LARGEST];
};

struct storm {
    uint64_t random;
    bool clear;
    struct datagram templates[TEMPLATES];
    size_t n_templates;
    int sockets[SOCKETS];
    size_t n_sockets;
    struct sockaddr_storage to;
    socklen_t to_length;
    uint8_t *asked; /* a bit for each hash of an echo's body that was sent */
    unsigned long sent, answers, wrong;
};

static uint64_t any(struct storm *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

static size_t below(struct storm *s, size_t n)
{
    return n ? any(s) % n : 0;
}

/* Where the bit is for this body. */
static size_t place(const uint8_t *body)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

    for (size_t i = 0; i < ECHO; i++)
        hash = (hash ^ body[i]) * 0x100000001b3;
    return (hash ^ hash >> 32) & ((1ul << SEEN_BITS) - 1);
}

static void remember(struct storm *s, const struct datagram *d)
{
    if (d->length >= HEADER + ECHO && d->bytes[0] == ECHO_REQ) {
        size_t bit = place(d->bytes + HEADER);

        s->asked[bit / 8] |= (uint8_t)(1 << bit % 8);
    }
}

/* What may be said to the one that sent damaged messages: its own echoes, and packets. */
static bool is_right(const struct storm *s, const uint8_t *bytes, size_t length)
{
    static const uint8_t auth[16];

    if (!s->clear)
        return length >= HEADER;
    if (length < HEADER || memcmp(bytes + 4, auth, sizeof(auth)) != 0)
        return false;
    if (bytes[0] == IPDATA)
        return length >= HEADER + 4 + 20;
    if (bytes[0] != ECHO_ACK || length < HEADER + ECHO)
        return bytes[0] == ECHO_REQ; /* of a client */
    size_t bit = place(bytes + HEADER);
    return s->asked[bit / 8] >> bit % 8 & 1;
}

/* How the damage is done. */

static void flip(struct storm *s, struct datagram *d)
{
    for (size_t n = 1 + below(s, 8); n > 0 && d->length > 0; n--)
        d->bytes[below(s, d->length)] ^= (uint8_t)(1 << below(s, 8));
}

static void cut(struct storm *s, struct datagram *d)
{
    d->length = below(s, d->length + 1);
}

static void extend(struct storm *s, struct datagram *d)
{
    size_t more = below(s, below(s, 8) ? 64 : LARGEST - d->length);

    for (size_t i = 0; i < more && d->length < LARGEST; i++)
        d->bytes[d->length++] = (uint8_t)any(s);
}

static void set_field(struct storm *s, struct datagram *d)
{
    static const uint16_t values[] = { 0, 1, 19, 20, 39, 40, 0x7fff, 0x8000, 0xfffe, 0xffff };
    uint16_t value = htons(values[below(s, sizeof(values) / sizeof(values[0]))]);

    if (d->length >= sizeof(value))
        memcpy(d->bytes + below(s, d->length / 2) * 2, &value, sizeof(value));
}

static void splice(struct storm *s, struct datagram *d)
{
    const struct datagram *other = &s->templates[below(s, s->n_templates)];
    size_t from = below(s, d->length < other->length ? d->length : other->length);

    memcpy(d->bytes + from, other->bytes + from, other->length - from);
    d->length = other->length;
}

static void block(struct storm *s, struct datagram *d) /* one of a cipher's */
{
    if (d->length < 32)
        return;
    size_t at = below(s, d->length / 16) * 16;
    for (size_t i = at; i < at + 16; i++)
        d->bytes[i] = (uint8_t)any(s);
}

static void noise(struct storm *s, struct datagram *d)
{
    for (size_t i = 0; i < d->length; i++)
        d->bytes[i] = (uint8_t)any(s);
}

static void damage(struct storm *s, struct datagram *d)
{
    static void (*const ways[])(struct storm *, struct datagram *) = {
        flip, flip, flip, cut, extend, set_field, set_field, splice, block, noise,
    };

    for (size_t n = 1 + below(s, 3); n > 0; n--)
        ways[below(s, sizeof(ways) / sizeof(ways[0]))](s, d);
}

/* Reads what has come; how many from the socket of the undamaged. */
static unsigned listen_to_all(struct storm *s)
{
    unsigned found = 0;
    uint8_t bytes[LARGEST];

    for (size_t i = 0; i < s->n_sockets; i++) {
        ssize_t n;

        while ((n = recv(s->sockets[i], bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0) {
            s->answers++;
            s->wrong += !is_right(s, bytes, (size_t)n);
            found += i == 0;
        }
    }
    return found;
}

static void send_one(struct storm *s, int fd, const struct datagram *d)
{
    remember(s, d);
    /* who is refused by ICMP is told so by the next call */
    for (int i = 0; i < 3; i++) {
        ssize_t n = sendto(fd, d->bytes, d->length, 0, (struct sockaddr *)&s->to, s->to_length);
        if (n >= 0)
            break;
    }
}

/* Until who is tested has read all that was sent. */
static bool is_answered(struct storm *s)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        struct pollfd ready = { .fd = s->sockets[0], .events = POLLIN };

        listen_to_all(s);
        send_one(s, s->sockets[0], &s->templates[0]);
        if (poll(&ready, 1, PATIENCE) > 0 && listen_to_all(s) > 0)
            return true;
    }
    return false;
}

static bool rage(struct storm *s, unsigned long count)
{
    static struct datagram d;

    while (s->sent < count) {
        for (unsigned i = 0; i < BURST && s->sent < count; i++, s->sent++) {
            size_t first = s->n_sockets > 1;
            size_t from = first + below(s, s->n_sockets - first);

            d = s->templates[below(s, s->n_templates)];
            damage(s, &d);
            send_one(s, s->sockets[from], &d);
        }
        if (!is_answered(s))
            return false;
    }
    return true;
}

static bool set_address(struct sockaddr_storage *ret, socklen_t *ret_length, const char *text,
                        const char *port)
{
    struct sockaddr_in four = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = four.sin_port };

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        memcpy(ret, &four, sizeof(four));
        *ret_length = sizeof(four);
        return true;
    }
    memcpy(ret, &six, sizeof(six));
    *ret_length = sizeof(six);
    return inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)ret)->sin6_addr) == 1;
}

static bool open_sockets(struct storm *s, const char *address, const char *port)
{
    struct sockaddr_storage from;
    socklen_t length;

    if (!set_address(&from, &length, address, port))
        return false;
    s->n_sockets = strtoul(port, NULL, 10) ? 1 : SOCKETS;
    for (size_t i = 0; i < s->n_sockets; i++) {
        s->sockets[i] = socket(from.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (s->sockets[i] < 0 || bind(s->sockets[i], (struct sockaddr *)&from, length) < 0)
            return false;
    }
    return true;
}

static bool read_templates(struct storm *s)
{
    uint8_t length[2];

    while (s->n_templates < TEMPLATES && fread(length, 2, 1, stdin) == 1) {
        struct datagram *d = &s->templates[s->n_templates++];

        d->length = (size_t)(length[0] << 8 | length[1]);
        if (d->length > LARGEST || fread(d->bytes, 1, d->length, stdin) != d->length)
            return false;
    }
    return s->n_templates > 0;
}

int main(int argc, char **argv)
{
    static struct storm s;

    if (argc < 7)
        return 2;
    s.random = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
    s.clear = argc > 7 && strcmp(argv[7], "clear") == 0;
    s.asked = calloc(1, (1ul << SEEN_BITS) / 8);
    if (!s.asked || !set_address(&s.to, &s.to_length, argv[3], argv[4]) ||
        !open_sockets(&s, argv[5], argv[6]) || !read_templates(&s)) {
        perror("minivtun-storm");
        return 2;
    }

    bool good = is_answered(&s) && rage(&s, strtoul(argv[1], NULL, 10));
    printf("%lu %lu %lu\n", s.sent, s.answers, s.wrong);
    free(s.asked);
    return good ? 0 : 1;
}
