/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a record to what decide/socket.h wants to know: look-ups in the maps, nothing decided. */

#include "bpf/resolve.h"

static __always_inline const struct map_user *question_user(const struct map_config *c, __u32 uid)
{
    return c->flags & MAP_CONFIG_USERS ? bpf_map_lookup_elem(&users, &uid) : NULL;
}

static __always_inline void question_network(__u32 netid, __u32 more_flags,
                                             struct socket_network *ret)
{
    const struct map_network *n = netid ? bpf_map_lookup_elem(&networks, &netid) : NULL;

    *ret = (struct socket_network){ 0 };
    if (n)
        *ret = (struct socket_network){ .netid = netid,
                                        .flags = n->flags | more_flags,
                                        .permission = n->permission };
}

static __always_inline void question_vpn(const struct map_config *c, __u32 uid,
                                         struct socket_network *ret)
{
    struct map_uid_prefix key = resolve_uid_key(uid);
    const struct map_vpn *vpn =
        c->flags & MAP_CONFIG_VPNS ? bpf_map_lookup_elem(&vpns, &key) : NULL;

    *ret = (struct socket_network){ 0 };
    if (vpn)
        *ret = (struct socket_network){ .netid = vpn->netid,
                                        .flags = vpn->flags | SOCKET_NETWORK_HAS_USER };
}

/* For CREATE and CONNECT; what only the others need stays zero. */
static __always_inline void question_ask(struct socket_question *q, const struct map_config *c,
                                         const struct map_record *r, __u32 command, __u32 mark)
{
    const struct map_user *user = question_user(c, r->uid);

    *q = (struct socket_question){
        .command = command,
        .uid = r->uid,
        .permission = r->uid < c->first_application_uid ? PERMISSION_SYSTEM : PERMISSION_NONE,
        .protectable = r->policy.flags & SOCKET_POLICY_PROTECTABLE,
        .mark = mark,
        .strength = socket_policy_strength(&r->policy),
        .default_netid = c->default_netid,
    };
    if (user) {
        q->protectable |= user->protectable;
        if (user->has_permission)
            q->permission = user->permission;
    }
    if (q->strength != SOCKET_UNASSIGNED)
        question_network(r->policy.netid, SOCKET_NETWORK_HAS_USER, &q->assigned);
    if (mark & MARK_PROTECTED)
        question_network(mark & MARK_NETID_MASK, 0, &q->present);
    question_vpn(c, r->uid, &q->vpn);
}

/* Nobody has said anything of this socket: then its mark is left alone, if that is wanted. */
static __always_inline bool question_is_idle(const struct map_config *c,
                                             const struct socket_question *q)
{
    return socket_is_idle(q) && !(c->flags & MAP_CONFIG_MARK_ALL);
}
