// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The programs at the cgroup: sockets get their marks, packets are held at the door.
 *
 *   create        at socket(): the record, the mark
 *   connect4, …6  at connect(): the mark, before the route is looked up
 *   sendmsg4, …6  at sendto() of an unconnected UDP socket: the mark of the next datagram
 *   egress        each packet that leaves: the guard
 *   ingress       each packet that a socket gets: counted; the guard under lockdown
 *   fill          when executables are assigned that were not (bpf_fill()): records of the sockets
 *                 that processes hold
 *   own_files     on demand (bpf_identify()): how the kernel calls the files of who asks
 *   records       on demand (bpf_read_sockets()): the executables of sockets that have a record
 *
 * Thin entries, over a stack of headers, each of which needs only those below it:
 *
 *   door.h, question.h   what the decision wants to know → decide/door.h, decide/socket.h
 *   resolve.h            which policy holds, kept in the socket's record → decide/selectors.h
 *   chain.h              what the cgroups above a socket say
 *   place.h              names in the kernel's memory → decide/place.h
 *   facts.h              what there is to read of sockets, processes, cgroups
 *   maps.bpf.h, maps.h   the maps; maps.h is the daemon's, too
 *   kernel.h             the kernel's structs, as far as they are read
 *
 * Nothing is decided here but in decide/, which the daemon compiles as well; that both come to the
 * same is checked by tests/property/test-decide-bpf.c with random questions. Headers below the
 * entries are inlined, but for what the verifier is to walk through only once (`noinline`): such
 * functions take no pointers but to what they fill, addresses go in as numbers.
 *
 * Of sockets of other network namespaces nothing is changed. Where something cannot be had (memory
 * for a record, a name), the socket goes by what is left; only a new one of an executable that is
 * assigned is refused, for nothing else would tell later whose it is.
 *
 * docs/bpf.md has what follows for users: whose a socket is, what is dropped, what outlives whom.
 */
#include "bpf/question.h"

#include <bpf/bpf_endian.h>

#include "bpf/door.h"

/*
 * The kernel gives CO-RE's helpers to GPL programs only. The LGPL allows to distribute a copy under
 * the GPL (LGPL 2.1 §3): what is loaded is such a copy.
 */
char LICENSE[] SEC("license") = "GPL";

enum { REFUSE, PASS };

enum { SOL_SOCKET_LEVEL = 1, SO_MARK_OPTION = 36 };

/* A refusal with an errno of its own; where the kernel cannot (before 5.18) it is EPERM. */
static __always_inline int refuse(int error)
{
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
        (void)bpf_set_retval(error);
    return REFUSE;
}

/*
 * Keeps a record. Without memory for it a socket goes by its cgroup and uid: no leak, but for those that
 * are assigned by executable.
 */
#define KEEP(socket, record) \
    bpf_sk_storage_get(&sockets, socket, record, BPF_SK_STORAGE_GET_F_CREATE)

SEC("cgroup/sock_create")
int create(struct bpf_sock *ctx)
{
    const struct map_config *c = resolve_config();
    struct map_record r = { .flags = MAP_RECORD_BORN };
    struct socket_question q;

    if (!c || bpf_get_netns_cookie(ctx) != c->netns)
        return PASS;
    r.uid = facts_current_uid();
    resolve_current(&r, c, NULL);

    question_ask(&q, c, &r, SOCKET_CREATE, ctx->mark);
    struct socket_answer a = socket_decide(&q);
    if (a.error)
        return refuse(a.error);
    /* Its parts are sockets that the kernel makes, unseen; programs fall back to TCP. */
    if (ctx->protocol == FACTS_MPTCP && socket_is_held(&q))
        return refuse(-EPROTONOSUPPORT);
    if (a.mark != ctx->mark)
        ctx->mark = a.mark;
    r.reason = a.reason;
    if (resolve_keeps(&r) && !KEEP(ctx, &r) && r.selector == SOCKET_SELECTOR_EXECUTABLE)
        return refuse(-ENOMEM);
    return PASS;
}

/* The record of a socket that a process uses now; *spare where none is kept. */
static __always_inline struct map_record *record_in_use(struct bpf_sock *socket,
                                                        const struct map_config *c,
                                                        struct map_record *spare)
{
    struct map_record *r = bpf_sk_storage_get(&sockets, socket, NULL, 0);

    if (r)
        return resolve_again(r, c, socket, spare);
    /* Nobody has assigned the executable that made it, or it is older: who uses it now counts. */
    struct sock *sk = facts_address(socket);
    spare->uid = facts_uid(sk);
    resolve_current(spare, c, facts_cgroup(sk));
    if (resolve_keeps(spare))
        r = KEEP(socket, spare);
    return r ?: spare;
}

/* scope: the interface of a link-local destination, else 0. */
static __always_inline int on_destination(struct bpf_sock_addr *ctx, __u32 scope)
{
    const struct map_config *c = resolve_config();
    struct bpf_sock *socket = ctx->sk;
    struct map_record spare = { 0 }, *r;
    struct socket_question q;

    if (!c || !socket || bpf_get_netns_cookie(ctx) != c->netns)
        return PASS;
    r = record_in_use(socket, c, &spare);
    question_ask(&q, c, r, SOCKET_CONNECT, socket->mark);
    if (scope) {
        const __u32 *netid = bpf_map_lookup_elem(&interfaces, &scope);

        q.scoped = 1;
        q.scope_netid = netid ? *netid : NETID_UNSET;
    }
    if (question_is_idle(c, &q))
        return PASS;

    struct socket_answer a = socket_decide(&q);
    if (a.error)
        return refuse(a.error);
    r->reason = a.reason;
    if (a.mark != q.mark)
        (void)bpf_setsockopt(ctx, SOL_SOCKET_LEVEL, SO_MARK_OPTION, &a.mark, sizeof(a.mark));
    return PASS;
}

/* The scope id of fe80::/10 (RFC 4291 §2.5.6): that was given. */
static __always_inline __u32 scope_of(struct bpf_sock_addr *ctx)
{
    if ((ctx->user_ip6[0] & bpf_htonl(0xffc00000)) != bpf_htonl(0xfe800000))
        return 0;
    return facts_scope_id(ctx);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
    return on_destination(ctx, 0);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
    return on_destination(ctx, scope_of(ctx));
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
    return on_destination(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
    return on_destination(ctx, scope_of(ctx));
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
    return door_pass(skb, false) ? PASS : REFUSE;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
    return door_pass(skb, true) ? PASS : REFUSE;
}

/*
 * A socket in several hands is recorded for the first that is found, in the order of process ids:
 * usually who made it. Nothing is printed; who reads the iterator to its end has run it.
 */
SEC("iter/task_file")
int fill(struct bpf_iter__task_file *ctx)
{
    const struct map_config *c;
    __u32 zero = 0;
    struct task_struct *task = ctx->task;
    struct file *file = ctx->file;
    struct map_record fresh = { 0 }, *r;
    struct socket *socket;
    struct sock *sk;

    c = bpf_map_lookup_elem(&config, &zero); /* also when it is off */
    socket = task && file ? bpf_sock_from_file(file) : NULL;
    sk = socket ? socket->sk : NULL;
    if (!c || !sk)
        return 0;
    if (sk->__sk_common.skc_family != FACTS_INET && sk->__sk_common.skc_family != FACTS_INET6)
        return 0;
    if (facts_netns(sk) != c->netns)
        return 0;
    resolve_task(&fresh, c, task, true);
    fresh.uid = facts_uid(sk);
    r = KEEP(sk, &fresh);
    if (r && !(r->flags & MAP_RECORD_BORN) && r->executable.ino == 0) {
        r->executable = fresh.executable;
        r->directory = fresh.directory;
        r->name = fresh.name;
        r->generation = 0;
    }
    return 0;
}

/* One struct map_socket for each record with an executable. */
SEC("iter/bpf_sk_storage_map")
int records(struct bpf_iter__bpf_sk_storage_map *ctx)
{
    const struct map_record *r = ctx->value;
    struct sock *sk = ctx->sk;
    struct map_socket out = { 0 };

    if (!sk || !r || r->executable.ino == 0)
        return 0;
    out.executable = r->executable;
    out.cookie = bpf_get_socket_cookie(sk);
    (void)bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
    return 0;
}

/* One struct map_own_file for each open file of the process that reads. */
SEC("iter/task_file")
int own_files(struct bpf_iter__task_file *ctx)
{
    struct task_struct *task = ctx->task;
    struct file *file = ctx->file;
    struct map_own_file out = { .fd = ctx->fd };

    if (!task || !file || task->tgid != bpf_get_current_task_btf()->tgid || !file->f_inode)
        return 0;
    out.executable.dev = file->f_inode->i_sb->s_dev;
    out.executable.ino = file->f_inode->i_ino;
    (void)bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
    return 0;
}
