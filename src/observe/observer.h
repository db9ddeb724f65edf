/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's network state, read: dumps, live events, and single questions.
 *
 * The rule is: events say that something changed, dumps say what is. An event is parsed for those
 * who want to know (the monitor, the netd broadcasts), but the state is never patched from it: the
 * kernel leaves events out (IPv4 routes that go with their interface or address), merges them and
 * loses them (ENOBUFS). What changed is noted as a bit, and the next observer_refresh() dumps that
 * part again. Changes that we make ourselves (applier's port id) do not count.
 */

#include <stdbool.h>

#include "model/kernel.h"
#include "observe/nlsock.h"
#include "plan/explain.h"

enum observe_part {
    OBSERVE_LINKS = 1 << 0,
    OBSERVE_ADDRS = 1 << 1,
    OBSERVE_RULES = 1 << 2,
    OBSERVE_ROUTES = 1 << 3,
    OBSERVE_ALL = 15,
};

/* What an event is about; `object` says which member is set. */
struct observe_event {
    enum observe_part part;
    bool removed;
    bool own;        /* caused by one of our requests */
    uint32_t portid; /* who caused it; 0 = the kernel itself */
    union {
        struct rtnl_link link;
        struct rtnl_addr addr;
        struct rtnl_rule rule;
        struct rtnl_route route;
    };
};

struct observer {
    struct nlsock requests;
    struct nlsock events;
    uint32_t own_portid; /* of the applier; 0 = none */
    unsigned stale;      /* OBSERVE_* parts to be dumped again */
};

#define OBSERVER_INIT ((struct observer){ .requests = NLSOCK_INIT, .events = NLSOCK_INIT })

/* Opens both sockets, joins the groups; everything is stale at first. 0 or -errno. */
int observer_open(struct observer *o);
void observer_close(struct observer *o);

typedef void (*observe_handler)(void *data, const struct observe_event *event);

/*
 * Reads the events that are there and notes what became stale. Lost events make everything stale.
 * 0 or -errno.
 */
int observer_dispatch(struct observer *o, observe_handler handler, void *data);

/*
 * Dumps the parts that are stale into `k`; the guard is left alone. A dump that the kernel's
 * changes interrupt is begun again, 8 times at most; then the parts stay stale and -EBUSY is
 * returned. On any failure `k` is as before.
 */
int observer_refresh(struct observer *o, struct kernel *k);

/* Dumps everything into an empty `k`, whatever is stale. */
int observer_snapshot(struct observer *o, struct kernel *k);

/*
 * The same, for who cannot wait until nobody else changes anything: one try, and with -EINTR *k has
 * what was told, from which something may be missing. After any other error it is to be dropped.
 */
int observer_glimpse(struct observer *o, struct kernel *k);

/* Asks the kernel how it would route a flow. 0 (also when the answer is an error) or -errno. */
int observer_getroute(struct observer *o, const struct rtnl_flow *flow, struct kernel_answer *ret);
