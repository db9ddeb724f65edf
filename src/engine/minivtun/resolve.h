/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Names to addresses, without waiting: c-ares, whose sockets are in the engine's own epoll. Not getaddrinfo(3)
 * in a thread: the questions themselves must not go through the tunnel they are to lead to, so each
 * of their sockets is protected when it is made; and hosts file and servers are read anew each time,
 * for the network may be another one.
 */

#include "basic/clock.h"
#include "engine/minivtun/udp.h"

struct resolver;

struct resolver_hooks {
    /* A socket of ours is to be watched; neither to read nor to write: not any more. */
    void (*watch)(void *data, int fd, bool read, bool write);
    /* A socket before it is used; < 0: it may not be. NULL: nothing is to be done with them. */
    int (*protect)(void *data, int fd);
    /*
     * The answer: status 0 and n > 0 addresses, best first; or -errno, and the reason in words. May
     * come while resolver_start() runs. The resolver may not be freed in it.
     */
    void (*answer)(void *data, int status, const struct endpoint *addresses, size_t n,
                   const char *reason);
    void *data;
};

int resolver_new(const struct resolver_hooks *hooks, struct resolver **ret);
struct resolver *resolver_free(struct resolver *r);
DEFINE_CLEANUP(struct resolver *, resolver_free)

/* Asks; an older question is given up. */
void resolver_start(struct resolver *r, const char *host, uint16_t port);

/* A socket of the resolver's is ready; or time has passed: fd -1. */
void resolver_step(struct resolver *r, int fd, bool readable, bool writable);

/* How long it may sleep. USEC_INFINITY: until a socket is ready. */
usec_t resolver_timeout(const struct resolver *r);
