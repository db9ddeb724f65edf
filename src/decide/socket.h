/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which mark a socket gets.
 *
 * The one decision that Waymark makes for sockets, whoever asks: fwmarkd for a program that talks to
 * it, the BPF programs at the cgroup for everybody else. Both compile this very header, so it has
 * nothing in it that a BPF program could not have: no libc, no loops, no pointers but the two it is
 * given. Facts come in (struct socket_question), a mark or an errno comes out, with the reason.
 *
 * It is Android's truth table (android.md §1.5 commands, §1.6 permission and selection), extended by
 * assignments:
 *
 *   require, none   The socket is *held*: explicitly on its network (`none`, and a network that is
 *                   not there: on 52, which has no way out), whatever it asks for and whatever
 *                   permission that network demands. Choosing another network is refused; the
 *                   process's choice gives way. Only a *protectable* program (one that is a VPN:
 *                   not root as such) gets a protected socket out of a VPN that it requires.
 *   prefer          The app's own default: stands where Android has the per-app default network,
 *                   behind a VPN that captures the uid, before the system's default. May be
 *                   bypassed by selecting another network.
 *
 * The numbers of the steps are those of socket_decide() and of tests/unit/test-socket.c:
 *
 *    1  any command   held, not exempt: on the assigned network. Refused: selecting another, or for
 *                     another user; protecting, but on a network that is no VPN
 *    2  CREATE        the process chose a network: as SELECT of that
 *    3  CREATE        a VPN captures the uid, or nothing is preferred: the mark stays
 *    4  CREATE        the preferred network
 *    5  ACCEPT        permission added, the rest is the incoming packet's
 *    6  CONNECT       explicit: permission renewed, the rest stays
 *    7  CONNECT       to a link-local address of an interface: the network of that interface
 *    8  CONNECT       protected, on a VPN: stays (a proxy that acts for a VPN's user)
 *    9  CONNECT       protected: the default network
 *   10  CONNECT       bypassable VPN of the uid, else preferred network, else the default
 *   11  SELECT 0      everything reset
 *   12  SELECT        access refused: socket_access() says why
 *   13  SELECT        explicit, protected where the app may protect
 *   14  PROTECT       not allowed to
 *   15  PROTECT       on a VPN implicitly, or by step 1: the default network, protected
 *   16  PROTECT       protected
 *   17  FOR_USER      caller lacks SYSTEM
 *   18  FOR_USER      the network of that user, protected
 *
 * Bits of the mark that are not ours, and billing, are passed through in every step.
 *
 * QUERY_USER_ACCESS is the error of a SELECT by that uid (netId 0: socket_access()).
 */

#include <asm/errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/mark.h"

enum socket_command {
    SOCKET_CREATE,  /* socket() */
    SOCKET_ACCEPT,  /* accept(): the mark is the incoming packet's */
    SOCKET_CONNECT, /* connect(), or the first sendto() */
    SOCKET_SELECT,  /* a network for this socket, by API */
    SOCKET_PROTECT, /* exempt from VPNs, by API */
    SOCKET_SELECT_FOR_USER,
    SOCKET_COMMAND_MAX,
};

enum socket_strength { SOCKET_UNASSIGNED, SOCKET_PREFER, SOCKET_REQUIRE, SOCKET_NONE };

enum socket_network_flag {
    SOCKET_NETWORK_VPN = 1 << 0,
    SOCKET_NETWORK_SECURE = 1 << 1,      /* a VPN whose users cannot bypass it */
    SOCKET_NETWORK_UNREACHABLE = 1 << 2, /* netId 52 and its like */
    SOCKET_NETWORK_USABLE = 1 << 3,      /* traffic can be sent to it now */
    SOCKET_NETWORK_HAS_USER = 1 << 4,    /* the uid is among its users, or assigned to it */
};

/* A network, as far as a decision needs it. netid 0 = there is none. */
struct socket_network {
    uint32_t netid;
    uint32_t flags;      /* enum socket_network_flag */
    uint32_t permission; /* enum permission: what it demands */
};

struct socket_question {
    uint32_t command;     /* enum socket_command */
    uint32_t uid;         /* whose socket it is; UINT32_MAX = could not be told */
    uint32_t permission;  /* enum permission: what that uid has */
    uint32_t protectable; /* it is among those who may protect sockets; SYSTEM may in any case */
    uint32_t mark;        /* present SO_MARK */

    uint32_t strength;              /* enum socket_strength: of the assignment that holds */
    struct socket_network assigned; /* PREFER, REQUIRE: the network, if it is there */

    struct socket_network present;  /* the network that `mark` names */
    struct socket_network vpn;      /* the first VPN that captures the uid */
    struct socket_network selected; /* SELECT: the argument; CREATE: the process's choice */
    uint32_t select_netid;          /* the same as a number, also when there is no such network */
    uint32_t default_netid;         /* 0 = `system`, or not there */
    uint32_t scoped;                /* CONNECT: IPv6 link-local with a scope id… */
    uint32_t scope_netid;           /* …and the network of that interface; 0 = of none */
    uint32_t user_netid;            /* FOR_USER: socket_network_for_user() of the argument */
};

enum socket_reason {
    SOCKET_REASON_HELD,         /* 1  the assigned network */
    SOCKET_REASON_BLOCKED,      /* 1  `none`, or the required network is not there */
    SOCKET_REASON_HELD_SELECT,  /* 1  refused: another network was selected */
    SOCKET_REASON_HELD_PROTECT, /* 1  refused: to be outside of the network */
    SOCKET_REASON_CHOSEN,       /* 2  the process's choice */
    SOCKET_REASON_UNMARKED,     /* 3 */
    SOCKET_REASON_PREFERRED,    /* 4, 10 */
    SOCKET_REASON_INCOMING,     /* 5 */
    SOCKET_REASON_EXPLICIT,     /* 6 */
    SOCKET_REASON_SCOPE,        /* 7 */
    SOCKET_REASON_PROXY,        /* 8 */
    SOCKET_REASON_PROTECTED,    /* 9, 15, 16 */
    SOCKET_REASON_VPN,          /* 10 */
    SOCKET_REASON_DEFAULT,      /* 10 */
    SOCKET_REASON_RESET,        /* 11 */
    SOCKET_REASON_NO_ACCESS,    /* 2, 12 */
    SOCKET_REASON_SELECTED,     /* 13 */
    SOCKET_REASON_NO_PROTECT,   /* 14 */
    SOCKET_REASON_NO_SYSTEM,    /* 17 */
    SOCKET_REASON_FOR_USER,     /* 18 */
    SOCKET_REASON_UNKNOWN,      /* no such command */
    SOCKET_REASON_MAX,
};

struct socket_answer {
    int32_t error; /* 0 or a negative errno: then the mark is to stay as it is */
    uint32_t mark;
    uint32_t reason; /* enum socket_reason */
};

static inline bool socket_network_is(const struct socket_network *n, uint32_t flags)
{
    return n->netid != NETID_UNSET && (n->flags & flags) == flags;
}

/* §1.6 canProtect */
static inline bool socket_can_protect(const struct socket_question *q)
{
    return q->protectable || (q->permission & PERMISSION_SYSTEM) == PERMISSION_SYSTEM;
}

/*
 * May the uid use this network? (android.md §1.6 checkUserNetworkAccess, rows in its order; rows 6
 * and 7 are Android 12's.) 0, -ENONET, -EREMOTEIO, -EPERM, -EACCES.
 */
static inline int socket_access(const struct socket_question *q, const struct socket_network *n)
{
    if (n->netid == NETID_UNSET)
        return -ENONET; /* 1 */
    if (q->uid == UINT32_MAX)
        return -EREMOTEIO; /* 2 */
    if ((q->permission & PERMISSION_SYSTEM) == PERMISSION_SYSTEM)
        return 0; /* 3 */
    if (n->flags & SOCKET_NETWORK_VPN)
        return n->flags & SOCKET_NETWORK_HAS_USER ? 0 : -EPERM; /* 4 */
    if (socket_network_is(&q->vpn, SOCKET_NETWORK_SECURE) && !socket_can_protect(q))
        return -EPERM; /* 5 */
    if (n->flags & SOCKET_NETWORK_HAS_USER)
        return 0; /* 6, 7 */
    if (n->flags & SOCKET_NETWORK_UNREACHABLE)
        return -EPERM;                                                     /* 7 */
    return (q->permission & n->permission) == n->permission ? 0 : -EACCES; /* 9 */
}

/* The network for what `vpn` and an assignment say of a user (§1.6 getNetworkForUser). */
static inline uint32_t socket_network_for_user(const struct socket_network *vpn, uint32_t strength,
                                               const struct socket_network *assigned,
                                               uint32_t default_netid)
{
    if (strength == SOCKET_NONE)
        return NETID_UNREACHABLE;
    if (strength == SOCKET_REQUIRE)
        return assigned->netid != NETID_UNSET ? assigned->netid : (uint32_t)NETID_UNREACHABLE;
    if (vpn->netid != NETID_UNSET)
        return vpn->netid;
    if (strength == SOCKET_PREFER && socket_network_is(assigned, SOCKET_NETWORK_USABLE))
        return assigned->netid;
    return default_netid;
}

static inline uint32_t socket_permission_bits(uint32_t permission)
{
    return (permission << 18) & MARK_PERMISSION_MASK;
}

/* What of the present mark is nobody's to decide here. */
static inline uint32_t socket_mark_kept(const struct socket_question *q)
{
    return q->mark &
           ~(uint32_t)(MARK_NETID_MASK | MARK_EXPLICIT | MARK_PROTECTED | MARK_PERMISSION_MASK);
}

static inline struct socket_answer socket_refuse(const struct socket_question *q, int error,
                                                 uint32_t reason)
{
    return (struct socket_answer){ .error = error, .mark = q->mark, .reason = reason };
}

/* `flags`: MARK_EXPLICIT, MARK_PROTECTED. The permission becomes the app's. */
static inline struct socket_answer socket_put(const struct socket_question *q, uint32_t netid,
                                              uint32_t flags, uint32_t reason)
{
    return (struct socket_answer){
        .mark = socket_mark_kept(q) | (netid & MARK_NETID_MASK) | flags |
                socket_permission_bits(q->permission),
        .reason = reason,
    };
}

static inline bool socket_is_held(const struct socket_question *q)
{
    if (q->strength != SOCKET_REQUIRE && q->strength != SOCKET_NONE)
        return false;
    if (q->strength == SOCKET_NONE || !q->protectable ||
        !socket_network_is(&q->assigned, SOCKET_NETWORK_VPN))
        return true;
    /*
     * The VPN's own transport, once it is protected. Of others the bit says nothing: accepted
     * sockets have it from the packet that came in. A reset takes the bit away, and so the exemption.
     */
    if (q->command == SOCKET_SELECT && q->select_netid == NETID_UNSET)
        return true;
    return !(q->mark & MARK_PROTECTED) && q->command != SOCKET_PROTECT;
}

/* SOCKET_REASON_HELD, or why a held socket cannot have what it asks for. */
static inline enum socket_reason socket_hold_refuses(const struct socket_question *q,
                                                     uint32_t netid)
{
    if (q->command == SOCKET_SELECT_FOR_USER)
        return SOCKET_REASON_HELD_SELECT;
    if (q->command == SOCKET_SELECT && q->select_netid != NETID_UNSET && q->select_netid != netid)
        return SOCKET_REASON_HELD_SELECT;
    if (q->command != SOCKET_PROTECT)
        return SOCKET_REASON_HELD;
    if (!socket_can_protect(q))
        return SOCKET_REASON_NO_PROTECT;
    /* it would believe that it is out of the VPN */
    return netid == NETID_UNREACHABLE || q->assigned.flags & SOCKET_NETWORK_VPN
               ? SOCKET_REASON_HELD_PROTECT
               : SOCKET_REASON_HELD;
}

static inline struct socket_answer socket_hold(const struct socket_question *q)
{
    bool there = q->strength == SOCKET_REQUIRE && q->assigned.netid != NETID_UNSET;
    uint32_t netid = there ? q->assigned.netid : (uint32_t)NETID_UNREACHABLE;
    enum socket_reason refused = socket_hold_refuses(q, netid);

    if (refused != SOCKET_REASON_HELD)
        return socket_refuse(q, -EPERM, refused);
    return socket_put(q, netid, MARK_EXPLICIT, there ? SOCKET_REASON_HELD : SOCKET_REASON_BLOCKED);
}

static inline struct socket_answer socket_select(const struct socket_question *q, uint32_t reason)
{
    int r = socket_access(q, &q->selected);

    if (r < 0)
        return socket_refuse(q, r, SOCKET_REASON_NO_ACCESS); /* 12 */
    return socket_put(q, q->selected.netid,
                      MARK_EXPLICIT | (socket_can_protect(q) ? MARK_PROTECTED : 0U),
                      reason); /* 13 */
}

static inline bool socket_prefers(const struct socket_question *q)
{
    return q->strength == SOCKET_PREFER && socket_network_is(&q->assigned, SOCKET_NETWORK_USABLE);
}

/*
 * Is nothing said of this socket? Then its mark may be left as it is, others' bits or none, where not
 * every socket is to be marked. Who prefers a network that cannot be used is as good as unassigned.
 */
static inline bool socket_is_idle(const struct socket_question *q)
{
    return (q->strength == SOCKET_UNASSIGNED ||
            (q->strength == SOCKET_PREFER && !socket_prefers(q))) &&
           q->vpn.netid == NETID_UNSET && q->default_netid == NETID_UNSET &&
           !(q->mark & (MARK_NETID_MASK | MARK_PROTECTED));
}

static inline struct socket_answer socket_create(const struct socket_question *q)
{
    if (q->select_netid != NETID_UNSET)
        return socket_select(q, SOCKET_REASON_CHOSEN); /* 2 */
    if (q->vpn.netid != NETID_UNSET || !socket_prefers(q))
        return (struct socket_answer){ .mark = q->mark, .reason = SOCKET_REASON_UNMARKED }; /* 3 */
    return socket_put(q, q->assigned.netid, 0, SOCKET_REASON_PREFERRED);                    /* 4 */
}

static inline struct socket_answer socket_connect(const struct socket_question *q)
{
    uint32_t protect = q->mark & MARK_PROTECTED, netid = q->mark & MARK_NETID_MASK;

    if (q->mark & MARK_EXPLICIT)
        return socket_put(q, netid, MARK_EXPLICIT | protect, SOCKET_REASON_EXPLICIT); /* 6 */
    if (q->scoped)
        return socket_put(q, q->scope_netid, protect, SOCKET_REASON_SCOPE); /* 7 */
    if (protect && socket_network_is(&q->present, SOCKET_NETWORK_VPN))
        return socket_put(q, netid, protect, SOCKET_REASON_PROXY); /* 8 */
    if (protect)
        return socket_put(q, q->default_netid, protect, SOCKET_REASON_PROTECTED); /* 9 */
    if (socket_network_is(&q->vpn, 0) && !(q->vpn.flags & SOCKET_NETWORK_SECURE))
        return socket_put(q, q->vpn.netid, 0, SOCKET_REASON_VPN); /* 10 */
    if (socket_prefers(q))
        return socket_put(q, q->assigned.netid, 0, SOCKET_REASON_PREFERRED);
    return socket_put(q, q->default_netid, 0, SOCKET_REASON_DEFAULT);
}

/* Has step 1 put it where it is? Then it has not chosen that: only held sockets require. */
static inline bool socket_was_held(const struct socket_question *q)
{
    return q->strength == SOCKET_REQUIRE && (q->mark & MARK_NETID_MASK) == q->assigned.netid;
}

static inline struct socket_answer socket_protect(const struct socket_question *q)
{
    uint32_t mark = q->mark | MARK_PROTECTED | socket_permission_bits(q->permission);
    bool implicit = !(q->mark & MARK_EXPLICIT) || socket_was_held(q);

    if (!socket_can_protect(q))
        return socket_refuse(q, -EPERM, SOCKET_REASON_NO_PROTECT); /* 14 */
    if (implicit && socket_network_is(&q->present, SOCKET_NETWORK_VPN)) {
        mark &= ~(uint32_t)(MARK_NETID_MASK | MARK_EXPLICIT); /* 15 */
        mark |= q->default_netid & MARK_NETID_MASK;
    }
    return (struct socket_answer){ .mark = mark, .reason = SOCKET_REASON_PROTECTED }; /* 16 */
}

static inline struct socket_answer socket_select_for_user(const struct socket_question *q)
{
    if ((q->permission & PERMISSION_SYSTEM) != PERMISSION_SYSTEM)
        return socket_refuse(q, -EPERM, SOCKET_REASON_NO_SYSTEM); /* 17 */
    return socket_put(q, q->user_netid, (q->mark & MARK_EXPLICIT) | MARK_PROTECTED,
                      SOCKET_REASON_FOR_USER); /* 18 */
}

/* The decision. error is 0, or -ENONET, -EREMOTEIO, -EPERM, -EACCES, -EPROTO (no such command). */
static inline struct socket_answer socket_decide(const struct socket_question *q)
{
    if (q->command >= SOCKET_COMMAND_MAX)
        return socket_refuse(q, -EPROTO, SOCKET_REASON_UNKNOWN);
    if (socket_is_held(q))
        return socket_hold(q); /* 1 */

    switch (q->command) {
    case SOCKET_CREATE:
        return socket_create(q);
    case SOCKET_ACCEPT:
        return (struct socket_answer){ .mark = q->mark | socket_permission_bits(q->permission),
                                       .reason = SOCKET_REASON_INCOMING }; /* 5 */
    case SOCKET_CONNECT:
        return socket_connect(q);
    case SOCKET_SELECT:
        if (q->select_netid == NETID_UNSET)
            return (struct socket_answer){ .mark = socket_mark_kept(q),
                                           .reason = SOCKET_REASON_RESET }; /* 11 */
        return socket_select(q, SOCKET_REASON_SELECTED);
    case SOCKET_PROTECT:
        return socket_protect(q);
    case SOCKET_SELECT_FOR_USER:
        return socket_select_for_user(q);
    default:
        return socket_refuse(q, -EPROTO, SOCKET_REASON_UNKNOWN);
    }
}
