/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What old-sockets-changes.c finds out once, and old-sockets.c asks for every socket. */

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
    uint32_t uid;
    enum relation relation;
    struct place from, to;
};

/* Over these uids, this assignment holds. */
struct holder {
    struct uid_range uid;
    uint32_t index;
};

struct side {
    struct model *model;
    struct targets *targets;
    struct holder *holders; /* of the uids that are touched, at least */
    size_t n_holders, cap_holders;
};

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
    bool start; /* what was in force is only known by the kernel's rules: `before` is empty */
    struct side before, after;
    struct uid_range *touched; /* coalesced: nobody else has moved */
    size_t n_touched, cap_touched;
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
