/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a program can find out about a socket and the process behind it ("parse").
 *
 * The three kinds of programs get a socket in three forms, and not one of them gives the members that
 * we want. All are the address of the kernel's struct sock: facts_address() makes a number of it, and
 * members are read from there by probing.
 */

#include "bpf/maps.bpf.h"

#include <bpf/bpf_core_read.h>

enum { FACTS_INET = 2, FACTS_INET6 = 10, FACTS_TCP = 6, FACTS_MPTCP = 262, FACTS_LOOPBACK = 1 };

/* Where addresses are in the headers of RFC 791 and RFC 8200. */
enum {
    FACTS_IP_SOURCE = 12,
    FACTS_IP_DESTINATION = 16,
    FACTS_IP6_SOURCE = 8,
    FACTS_IP6_DESTINATION = 24,
};

/*
 * The pointer lies on the stack, and the bytes there are read as what they are. (The verifier
 * forbids any arithmetic on such pointers, CO-RE's, too.)
 */
static __always_inline struct sock *facts_address(void *socket)
{
    struct sock *address = NULL;

    (void)bpf_probe_read_kernel(&address, sizeof(address), &socket);
    return address;
}

static __always_inline struct bpf_sock_addr_kern *facts_context(struct bpf_sock_addr *ctx)
{
    struct bpf_sock_addr_kern *address = NULL;

    (void)bpf_probe_read_kernel(&address, sizeof(address), &ctx);
    return address;
}

static __always_inline __u64 facts_netns(struct sock *sk)
{
    return BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
}

/* As the kernel's routing rules see it: the one of fib rules and of nftables' skuid. */
static __always_inline __u32 facts_uid(struct sock *sk)
{
    return BPF_CORE_READ(sk, sk_uid.val);
}

static __always_inline struct cgroup *facts_cgroup(struct sock *sk)
{
    return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
}

/*
 * A socket of the kernel's own: of a tunnel, of NFS, that answers for others. The parts of an MPTCP
 * connection are the kernel's too, but carry an app's bytes.
 */
static __always_inline bool facts_is_kernel(struct sock *sk)
{
    if (!BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
        return false;
    return !bpf_core_field_exists(struct tcp_sock, is_mptcp) ||
           BPF_CORE_READ(sk, sk_protocol) != FACTS_TCP ||
           !BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp);
}

/* Who makes a socket now: its uid will be this one. */
static __always_inline __u32 facts_current_uid(void)
{
    return bpf_get_current_task_btf()->cred->fsuid.val;
}

/* The file that the task runs; zeros for a kernel thread. Follows no path: nothing to race with. */
static __always_inline void facts_executable(struct task_struct *task, struct map_executable *ret)
{
    struct mm_struct *mm = task->mm;
    struct file *file = mm ? mm->exe_file : NULL;
    struct inode *inode = file ? file->f_inode : NULL;

    *ret = (struct map_executable){ 0 };
    if (inode && inode->i_sb) {
        ret->dev = inode->i_sb->s_dev;
        ret->ino = inode->i_ino;
    }
}

/*
 * Where that file is, or was when somebody took its place: a file that is unlinked, or that another one
 * is renamed over, keeps its directory and its name. Zeros where there is none.
 */
static __always_inline struct dentry *facts_place(struct task_struct *task, struct map_place *ret)
{
    struct mm_struct *mm = task->mm;
    struct file *file = mm ? mm->exe_file : NULL;
    struct dentry *dentry = file ? file->f_path.dentry : NULL;
    struct dentry *parent = dentry ? dentry->d_parent : NULL;
    struct inode *directory = parent ? parent->d_inode : NULL;

    *ret = (struct map_place){ 0 };
    if (!directory || !directory->i_sb)
        return NULL;
    ret->dev = directory->i_sb->s_dev;
    ret->directory = directory->i_ino;
    return dentry;
}

static __always_inline struct cgroup *facts_current_cgroup(void)
{
    struct cgroup *cgroup = bpf_get_current_task_btf()->cgroups->dfl_cgrp, *address = NULL;

    (void)bpf_probe_read_kernel(&address, sizeof(address), &cgroup);
    return address;
}

/* The id of an ancestor, and where its name is; no names before 6.1. */
static __always_inline __u64 facts_ancestor(struct cgroup *cgroup, int level, __u64 *name)
{
    void *at;
    __u64 id = 0;

    if (!bpf_core_field_exists(struct cgroup, ancestors)) {
        at = (void *)cgroup + bpf_core_field_offset(struct cgroup___ids, ancestor_ids);
        (void)bpf_probe_read_kernel(&id, sizeof(id), at + level * sizeof(id));
        return id;
    }

    struct cgroup *ancestor = NULL;
    at = (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors);
    (void)bpf_probe_read_kernel(&ancestor, sizeof(ancestor), at + level * sizeof(ancestor));
    *name = (__u64)BPF_CORE_READ(ancestor, kn, name);
    return BPF_CORE_READ(ancestor, kn, id);
}

/* Where a connect() or sendto() goes, as the program gave it: the context has no scope id. */
static __always_inline __u32 facts_scope_id(struct bpf_sock_addr *ctx)
{
    struct bpf_sock_addr_kern *kernel = facts_context(ctx);
    struct sockaddr_in6 *to = BPF_CORE_READ(kernel, uaddr);

    return BPF_CORE_READ(to, sin6_scope_id);
}
