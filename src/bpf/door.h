/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The guard: what decide/door.h wants to know of a packet, and what follows from its verdict. */

#include "bpf/question.h"

/*
 * The record of the socket that a packet belongs to, or NULL: of another namespace. There is no
 * process here to tell an executable: sockets without a record go by cgroup and uid.
 */
static __always_inline struct map_record *door_record(struct bpf_sock *socket,
                                                      const struct map_config *c,
                                                      struct map_record *spare)
{
    struct map_record *r = bpf_sk_storage_get(&sockets, socket, NULL, 0);
    struct sock *sk;

    if (r)
        return resolve_again(r, c, socket, spare);
    sk = facts_address(socket);
    if (facts_netns(sk) != c->netns)
        return NULL;
    if (facts_is_kernel(sk))
        spare->flags = MAP_RECORD_KERNEL;
    else {
        spare->uid = facts_uid(sk);
        resolve_policy(spare, c, resolve_generation(c), facts_cgroup(sk));
    }
    r = bpf_sk_storage_get(&sockets, socket, spare, BPF_SK_STORAGE_GET_F_CREATE);
    return r ?: spare;
}

/* Is where the packet goes, or comes from, outside of the network? Headers begin with data here. */
static __always_inline bool door_outside(const struct __sk_buff *skb, __u32 netid, bool incoming)
{
    struct map_outside key = { .length = MAP_OUTSIDE_LENGTH, .netid = netid };
    const __u32 *found;
    __u8 version = 0;

    if (bpf_skb_load_bytes(skb, 0, &version, 1) < 0)
        return false;
    if (version >> 4 == 4) {
        key.length += 32;
        key.family = FACTS_INET;
        if (bpf_skb_load_bytes(skb, incoming ? FACTS_IP_SOURCE : FACTS_IP_DESTINATION, key.addr,
                               4) < 0)
            return false;
    } else {
        key.length += 128;
        key.family = FACTS_INET6;
        if (bpf_skb_load_bytes(skb, incoming ? FACTS_IP6_SOURCE : FACTS_IP6_DESTINATION, key.addr,
                               16) < 0)
            return false;
    }
    found = bpf_map_lookup_elem(&outside, &key);
    return found && *found;
}

static __always_inline enum door_verdict door_verdict(const struct __sk_buff *skb,
                                                      const struct map_config *c,
                                                      const struct map_record *r, __u32 ifindex,
                                                      __u32 mark, bool incoming)
{
    struct map_port port = { .netid = r->policy.netid, .ifindex = ifindex };
    struct door_question q = { .policy = &r->policy, .mark = mark, .incoming = incoming };

    /* it decides nothing else: door_judge(), step 3 */
    if (!incoming || r->policy.flags & SOCKET_POLICY_LOCKDOWN)
        q.port = bpf_map_lookup_elem(&ports, &port) != NULL;
    if (mark & MARK_PROTECTED) {
        const struct map_user *user = question_user(c, r->uid);
        const struct map_network *n = bpf_map_lookup_elem(&networks, &port.netid);

        q.protectable = r->policy.flags & SOCKET_POLICY_PROTECTABLE || (user && user->protectable);
        q.on_vpn = n && n->flags & SOCKET_NETWORK_VPN;
    }
    enum door_verdict verdict = door_judge(&q);
    if (!door_drops(verdict) || !(c->flags & MAP_CONFIG_OUTSIDE))
        return verdict;
    q.outside = door_outside(skb, port.netid, incoming);
    return q.outside ? door_judge(&q) : verdict;
}

/* Whose interface it is. One that lets the app pass is its network's. */
static __always_inline __u32 door_netid(const struct map_record *r, __u32 ifindex,
                                        enum door_verdict verdict)
{
    const __u32 *netid;

    if (verdict == DOOR_PORT)
        return r->policy.netid;
    netid = bpf_map_lookup_elem(&interfaces, &ifindex);
    return netid ? *netid : NETID_UNSET;
}

static __always_inline void door_count(__u64 app, __u32 netid, __u32 bytes, bool incoming,
                                       enum door_verdict verdict)
{
    struct map_stats_key key = { .app = app, .netid = netid };
    struct map_stats *s = bpf_map_lookup_elem(&stats, &key);
    const struct map_stats none = { 0 };

    if (!s) {
        (void)bpf_map_update_elem(&stats, &key, &none, BPF_NOEXIST);
        s = bpf_map_lookup_elem(&stats, &key);
    }
    if (!s)
        return;
    /* per processor, but an interrupt may come between read and write */
    if (door_drops(verdict))
        __sync_fetch_and_add(&s->drops[verdict - DOOR_DROP_NONE], 1);
    else if (incoming) {
        __sync_fetch_and_add(&s->packets_in, 1);
        __sync_fetch_and_add(&s->bytes_in, bytes);
    } else {
        __sync_fetch_and_add(&s->packets_out, 1);
        __sync_fetch_and_add(&s->bytes_out, bytes);
    }
}

static __always_inline bool door_pass(struct __sk_buff *skb, bool incoming)
{
    const struct map_config *c = resolve_config();
    struct bpf_sock *socket = skb->sk;
    struct map_record spare = { 0 }, *r;
    __u32 ifindex = skb->ifindex;

    if (!c || !socket || ifindex == FACTS_LOOPBACK)
        return true;
    socket = bpf_sk_fullsock(socket);
    if (!socket)
        return true;
    r = door_record(socket, c, &spare);
    if (!r || r->flags & MAP_RECORD_KERNEL || r->selector == SOCKET_SELECTOR_NONE)
        return true;

    enum door_verdict verdict =
        door_verdict(skb, c, r, ifindex, incoming ? socket->mark : skb->mark, incoming);
    if (r->policy.app)
        door_count(r->policy.app, door_netid(r, ifindex, verdict), skb->len, incoming, verdict);
    return !door_drops(verdict);
}
