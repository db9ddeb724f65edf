/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sys/time.h>

enum {
    ADDRESSES_MAX = 16,
    TIMEOUT_MS = 2000,
    TRIES = 2,
};

struct resolver {
    struct resolver_hooks hooks;
    ares_channel channel; /* NULL: nothing was asked */
    uint16_t port;
    bool asking;
};

int resolver_new(const struct resolver_hooks *hooks, struct resolver **ret)
{
    struct resolver *r;

    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return -ENOMEM;
    r = calloc(1, sizeof(*r));
    if (!r) {
        ares_library_cleanup();
        return -ENOMEM;
    }
    r->hooks = *hooks;
    *ret = r;
    return 0;
}

/* c-ares calls back for what is given up; nobody is to hear of that. */
static void give_up(struct resolver *r)
{
    r->asking = false;
    if (r->channel)
        ares_destroy(r->channel);
    r->channel = NULL;
}

struct resolver *resolver_free(struct resolver *r)
{
    if (!r)
        return NULL;
    give_up(r);
    free(r);
    ares_library_cleanup();
    return NULL;
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = data;

    r->hooks.watch(r->hooks.data, fd, readable, writable);
}

static int on_socket(ares_socket_t fd, int type, void *data)
{
    struct resolver *r = data;

    (void)type;
    return r->hooks.protect ? r->hooks.protect(r->hooks.data, fd) : 0;
}

static void answer(struct resolver *r, int status, const struct endpoint *addresses, size_t n,
                   const char *reason)
{
    r->asking = false;
    r->hooks.answer(r->hooks.data, status, addresses, n, reason);
}

static size_t collect(const struct resolver *r, const struct ares_addrinfo *found,
                      struct endpoint *out)
{
    size_t n = 0;

    for (const struct ares_addrinfo_node *a = found->nodes; a && n < ADDRESSES_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen > sizeof(out[n].in6) ||
            (a->ai_family != AF_INET && a->ai_family != AF_INET6))
            continue;
        out[n] = (struct endpoint){ .len = a->ai_addrlen };
        memcpy(&out[n].sa, a->ai_addr, a->ai_addrlen);
        /* both have it at the same place */
        out[n++].in.sin_port = htons(r->port);
    }
    return n;
}

static void on_addrinfo(void *data, int status, int timeouts, struct ares_addrinfo *found)
{
    struct resolver *r = data;
    struct endpoint addresses[ADDRESSES_MAX];
    size_t n = 0;

    (void)timeouts;
    if (status == ARES_SUCCESS)
        n = collect(r, found, addresses);
    if (found)
        ares_freeaddrinfo(found);
    if (!r->asking)
        return;
    if (n > 0)
        answer(r, 0, addresses, n, "");
    else
        answer(r, -EHOSTUNREACH, NULL, 0,
               status == ARES_SUCCESS ? "it has no addresses" : ares_strerror(status));
}

static int open_channel(struct resolver *r)
{
    struct ares_options options = {
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };

    if (ares_init_options(&r->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
        ARES_SUCCESS) {
        r->channel = NULL;
        return -ENOMEM;
    }
    /* not ares_set_socket_callback(): that one comes when the way is chosen, after connect() */
    ares_set_socket_configure_callback(r->channel, on_socket, r);
    return 0;
}

void resolver_start(struct resolver *r, const char *host, uint16_t port)
{
    static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC };
    struct endpoint literal;
    int status;

    give_up(r);
    r->port = port;
    r->asking = true;
    status = endpoint_parse(host, port, &literal);
    if (status == 0)
        answer(r, 0, &literal, 1, "");
    else if (status == -ENODEV)
        answer(r, -ENODEV, NULL, 0, "there is no such interface");
    else if (open_channel(r) < 0)
        answer(r, -ENOMEM, NULL, 0, "out of memory");
    else
        ares_getaddrinfo(r->channel, host, NULL, &hints, on_addrinfo, r);
}

void resolver_step(struct resolver *r, int fd, bool readable, bool writable)
{
    if (!r->channel)
        return;
    if (!r->asking) {
        give_up(r); /* the answer has come; it closes its sockets outside of its callback */
        return;
    }
    ares_process_fd(r->channel, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
}

usec_t resolver_timeout(const struct resolver *r)
{
    struct timeval tv, *t;

    if (!r->channel)
        return USEC_INFINITY;
    if (!r->asking)
        return 0;
    t = ares_timeout(r->channel, NULL, &tv);
    return t ? (usec_t)t->tv_sec * USEC_PER_SEC + (usec_t)t->tv_usec : USEC_INFINITY;
}
