/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The few structs of the kernel that the programs look into, with the few members that they read.
 *
 * Offsets are put in when a program is loaded, from the running kernel's BTF (CO-RE): order and
 * neighbours do not matter here, names and types do. Names as in the kernel 6.1.
 */

#include <linux/bpf.h>
#include <linux/types.h>

/*
 * A BPF function cannot return a struct, so what decide/ has must be inlined. Plain `inline` there is
 * a wish only.
 */
#define inline inline __attribute__((always_inline))

/* clang's; the loader resolves what it marks */
#define KERNEL_STRUCT __attribute__((preserve_access_index))

struct kernfs_node {
    __u64 id;
    const char *name;
} KERNEL_STRUCT;

struct cgroup {
    int level; /* 0 = root */
    struct kernfs_node *kn;
    struct cgroup *ancestors[]; /* [level] is itself; since 6.1 */
} KERNEL_STRUCT;

/* Until 6.0. */
struct cgroup___ids {
    int level;
    __u64 ancestor_ids[];
} KERNEL_STRUCT;

struct sock_cgroup_data {
    struct cgroup *cgroup;
} KERNEL_STRUCT;

struct net {
    __u64 net_cookie;
} KERNEL_STRUCT;

typedef struct {
    struct net *net;
} KERNEL_STRUCT possible_net_t;

struct sock_common {
    unsigned short skc_family;
    possible_net_t skc_net;
} KERNEL_STRUCT;

typedef struct {
    unsigned int val;
} KERNEL_STRUCT kuid_t;

struct sock {
    struct sock_common __sk_common;
    __u8 sk_kern_sock : 1;
    __u16 sk_protocol;
    kuid_t sk_uid;
    struct sock_cgroup_data sk_cgrp_data;
} KERNEL_STRUCT;

struct tcp_sock {
    _Bool is_mptcp;
} KERNEL_STRUCT;

struct sk_buff {
    struct sock *sk;
} KERNEL_STRUCT;

struct sockaddr_in6 {
    __u32 sin6_scope_id;
} KERNEL_STRUCT;

struct bpf_sock_addr_kern {
    struct sockaddr_in6 *uaddr; /* to the kernel a struct sockaddr */
} KERNEL_STRUCT;

struct super_block {
    __u32 s_dev;
} KERNEL_STRUCT;

struct inode {
    struct super_block *i_sb;
    unsigned long i_ino;
} KERNEL_STRUCT;

struct qstr {
    const unsigned char *name;
} KERNEL_STRUCT;

struct dentry {
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
} KERNEL_STRUCT;

struct path {
    struct dentry *dentry;
} KERNEL_STRUCT;

struct file {
    struct inode *f_inode;
    struct path f_path;
} KERNEL_STRUCT;

struct mm_struct {
    struct file *exe_file;
} KERNEL_STRUCT;

struct css_set {
    struct cgroup *dfl_cgrp; /* of cgroup2 */
} KERNEL_STRUCT;

struct cred {
    kuid_t fsuid;
} KERNEL_STRUCT;

struct task_struct {
    struct mm_struct *mm;
    struct css_set *cgroups;
    const struct cred *cred;
    int tgid;
} KERNEL_STRUCT;

struct socket {
    struct sock *sk;
} KERNEL_STRUCT;

struct seq_file;

struct bpf_iter_meta {
    struct seq_file *seq;
} KERNEL_STRUCT;

struct bpf_map;

struct bpf_iter__bpf_sk_storage_map {
    struct bpf_iter_meta *meta;
    struct bpf_map *map;
    struct sock *sk;
    void *value;
} KERNEL_STRUCT;

struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    __u32 fd;
    struct file *file;
} KERNEL_STRUCT;
