/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What old-sockets-changes.c and -apps.c find out once, and old-sockets.c asks for every socket. */

#include "plan/old-sockets.h"

/* By strictness. */
enum place_kind { PLACE_DEFAULT, PLACE_OPEN, PLACE_SECURE, PLACE_HELD };

struct place {
    enum place_kind kind;
    const char *name;              /* NULL: `none`, or the default `system` */
    const struct network *network; /* NULL: there is none */
};

/* How a uid's place after the change follows from that before. */
enum relation {
    RELATION_SAME,
    RELATION_OUT_OF_ORDER, /* the one before cannot be used now */
    RELATION_BACK,         /* the one after can be used again */
    RELATION_MOVED,
};

struct move {
    bool known;
    uint32_t uid, before, after; /* whose, as either side has it */
    enum relation relation;
    struct place from, to;
};

/*
 * What holds a socket on one side: an index of its model's assignments; or, where only the guard is
 * known that stood at the cgroup, what that has for a netId.
 */
#define SIDE_NOBODY UINT32_MAX

/* Over these uids, this holds. */
struct holder {
    struct uid_range uid;
    uint32_t value;
};

/* For this executable or cgroup, this holds. */
struct side_app {
    enum guard_app_kind kind;
    bool run; /* decide/app.h: step 1 */
    uint64_t id, dev;
    uint32_t value;
};

struct side {
    struct model *model;
    struct targets *targets;
    struct guard *outside;  /* what is outside of its VPNs */
    bool codes;             /* values are those of a guard */
    struct holder *holders; /* of the uids that are touched, at least */
    size_t n_holders, cap_holders;
    struct side_app *apps; /* by kind, id, dev; each once */
    size_t n_apps, cap_apps;
};

struct claim {
    bool any, prefers;
    const char *name; /* NULL = `none` */
    const struct network *network;
};

/* Fill a side whose model and targets are there. 0 or -ENOMEM. */
int side_take_apps(struct side *s, const struct plan_app *apps, size_t n);
int side_take_guard(struct side *s, const struct guard *g);

/* By executable or cgroup, and by uid. SIDE_NOBODY: nothing holds. */
uint32_t side_find_app(const struct side *s, const struct old_socket_app *app);
uint32_t side_find_user(const struct side *s, uint32_t uid);

struct claim side_claim(const struct side *s, uint32_t value);

/* What a guard has for it: a netId, with GUARD_PREFER. */
uint32_t side_code(const struct side *s, uint32_t value);

/* The same executables and cgroups, whatever is said of them? */
bool old_sockets_same_apps(const struct plan_app *a, size_t n_a, const struct plan_app *b,
                           size_t n_b);

struct own_addr {
    struct ip_addr addr;
    int ifindex;
};

struct own_port {
    int ifindex;
    const struct network *network; /* of the model after the change */
};

/* A netId whose marks do not mean any more what they meant. */
struct mark_change {
    uint32_t netid;
    bool removed;
    enum permission permission; /* what is asked for now */
};

enum { MOVES_KEPT = 64 };

struct old_sockets {
    bool by_rules; /* what was in force is only known by the kernel's rules: `before` is empty */
    struct side before, after;
    struct uid_range *touched; /* coalesced: nobody else has moved */
    size_t n_touched, cap_touched;
    bool apps_touched; /* it takes more than the uid to tell who has moved: anybody may have */
    struct mark_change *marks;
    size_t n_marks, cap_marks;
    struct own_addr *own; /* by address */
    size_t n_own, cap_own;
    struct own_port *ports;
    size_t n_ports, cap_ports;
    struct move moves[MOVES_KEPT];
    bool again;          /* this is not the first look */
    uint64_t *half_open; /* cookies, as an accepted socket has that of its request; sorted later */
    size_t n_half_open, cap_half_open;
};
