/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/applier.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "apply/maps.h"
#include "apply/nft.h"
#include "basic/fd.h"
#include "observe/facts.h"

enum { REQUEST_SIZE = 512, PROBE_TRIES = 3, SIBLINGS_MAX = 64 };

static int sysctl_path(enum plan_sysctl which, char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "/proc/sys/%s", plan_sysctl_path(which)) < size
               ? 0
               : -ENAMETOOLONG;
}

/* Does the kernel know all that the guard needs? One failure for want of memory says nothing. */
static int probe_nft(struct nlsock *s, bool arp)
{
    int r = -ENOBUFS;

    for (int i = 0; i < PROBE_TRIES && (r == -ENOBUFS || r == -ENOMEM); i++)
        r = nft_probe(s, arp);
    return r;
}

/* With tables of ARP, or else without. */
static int open_nft(struct applier *a)
{
    int r = nlsock_open(&a->nft, NETLINK_NETFILTER);

    if (r < 0)
        return r;
    r = probe_nft(&a->nft, true);
    a->has_arp = r == 0;
    return r == 0 || r == -EPERM ? r : probe_nft(&a->nft, false);
}

int applier_open(struct applier *a)
{
    int r = nlsock_open(&a->rtnl, NETLINK_ROUTE);

    if (r < 0)
        return r;
    r = open_nft(a);
    if (r == -EPERM) {
        applier_close(a);
        return r;
    }
    a->has_guard = r == 0;
    if (!a->has_guard)
        nlsock_close(&a->nft);
    for (int i = 0; i < SYSCTL_MAX; i++)
        a->has_sysctl[i] = facts_sysctl(plan_sysctl_path((enum plan_sysctl)i)) >= 0;
    return 0;
}

/* Programs and maps of ours for this network namespace: see apply/bpf.h. */
static int open_bpf(struct applier *a, struct why *why)
{
    return a->bpf ? 0 : bpf_open(a->cgroup, a->bpffs, &a->bpf, why);
}

int applier_open_maps(struct applier *a, const char *cgroup, const char *bpffs, struct why *why)
{
    int r;

    if (!str_set(a->cgroup, sizeof(a->cgroup), cgroup))
        return why_set(why, -ENAMETOOLONG, "%s: the path is too long", cgroup);
    a->bpffs = bpffs;
    r = bpf_mount_fs(bpffs, why);
    if (r == 0)
        r = open_bpf(a, why);
    a->has_maps = r == 0;
    return r;
}

int applier_probe_maps(struct applier *a, const char *cgroup, const char *bpffs, struct why *why)
{
    int r = a->maps_missing.error;

    if (!a->maps_probed)
        r = bpf_probe(cgroup, bpffs, &a->maps_missing);
    a->maps_probed = true;
    return r < 0 ? why_set(why, r, "%s", why_text(&a->maps_missing, r)) : 0;
}

int applier_read_maps(struct applier *a, struct guard **ret, struct why *why)
{
    return a->bpf ? maps_read_guard(a->bpf, ret, why) : -ENODATA;
}

bool applier_has_left_maps(const char *bpffs)
{
    uint64_t netns;
    char path[256];

    return bpf_netns_cookie(&netns) == 0 &&
           (size_t)snprintf(path, sizeof(path), "%s/waymark/%" PRIu64, bpffs, netns) <
               sizeof(path) &&
           facts_exists(path);
}

int applier_remove_maps(struct applier *a, struct why *why)
{
    uint64_t netns;
    int r = bpf_netns_cookie(&netns);

    bpf_close(TAKE_PTR(a->bpf));
    if (r < 0)
        return r == -ENOPROTOOPT ? 0 : r; /* a kernel that has no cookies has no programs of ours */
    return bpf_remove(a->bpffs, netns, why);
}

void applier_close(struct applier *a)
{
    bpf_close(TAKE_PTR(a->bpf));
    nlsock_close(&a->rtnl);
    nlsock_close(&a->nft);
}

void applier_read_sysctls(struct applier *a, int ret[static SYSCTL_MAX])
{
    for (int i = 0; i < SYSCTL_MAX; i++)
        ret[i] = a->has_sysctl[i] ? facts_sysctl(plan_sysctl_path((enum plan_sysctl)i)) : -1;
}

static int take_deleted(void *data, const struct nlmsghdr *nlh)
{
    return nlh->nlmsg_type == RTM_DELRULE ? rtnl_rule_parse(nlh, data) : 0;
}

/* `ret_deleted` (may be NULL): the rule that was deleted; family AF_UNSPEC when that is not told. */
static int request_rule(struct applier *a, uint16_t type, uint16_t flags,
                        const struct rtnl_rule *rule, struct rtnl_rule *ret_deleted,
                        struct why *why)
{
    char buf[REQUEST_SIZE];
    int r = rtnl_rule_build(buf, sizeof(buf), type, flags, rule);

    return r < 0 ? r
                 : nlsock_request(&a->rtnl, (void *)buf, ret_deleted ? take_deleted : NULL,
                                  ret_deleted, why);
}

/* What is to be there may be there: a dump that others' changes tear apart leaves rules out. */
static int add_rule(struct applier *a, const struct rtnl_rule *rule, struct why *why)
{
    int r = request_rule(a, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule, NULL, why);

    return r == -EEXIST ? 1 : r;
}

/*
 * The kernel deletes the first rule that has all that is said of it, which may be one with more to
 * it: a mark where ours has none. So it has to tell which one it was (NLM_F_ECHO); another one is
 * put back, behind ours, which meanwhile holds for all that it did. When the same one comes again,
 * ours is not there.
 */
static int delete_rule(struct applier *a, const struct plan_rule *rule, struct why *why)
{
    int family = rule->families == 1 ? AF_INET : AF_INET6;
    struct rtnl_rule wire = plan_rule_to_rtnl(rule, family), first = { 0 };

    for (int i = 0; i < SIBLINGS_MAX; i++) {
        struct rtnl_rule deleted = { 0 };
        struct plan_rule hit;
        int r = request_rule(a, RTM_DELRULE, NLM_F_ECHO, &wire, &deleted, why);

        if (r < 0)
            return r == -ENOENT ? 1 : r;
        hit = plan_rule_from_rtnl(&deleted);
        if (deleted.family == AF_UNSPEC || plan_rule_compare(&hit, rule) == 0)
            return 0;
        r = add_rule(a, &deleted, why);
        if (r < 0)
            return r;
        if (i == 0)
            first = deleted;
        else if (memcmp(&first, &deleted, sizeof(first)) == 0)
            return 1;
    }
    return -EBUSY;
}

static int apply_rule(struct applier *a, const struct plan_rule *rule, bool add, struct why *why)
{
    struct rtnl_rule wire = plan_rule_to_rtnl(rule, rule->families == 1 ? AF_INET : AF_INET6);

    return add ? add_rule(a, &wire, why) : delete_rule(a, rule, why);
}

static int apply_route(struct applier *a, const struct rtnl_route *route, uint16_t type,
                       uint16_t flags, struct why *why)
{
    struct rtnl_route wire = *route;
    char buf[REQUEST_SIZE];
    int r;

    wire.protocol = RTPROT_WAYMARK;
    r = rtnl_route_build(buf, sizeof(buf), type, flags, &wire);
    if (r == 0)
        r = nlsock_request(&a->rtnl, (void *)buf, NULL, NULL, why);
    /* a route goes with its interface: the interface may be gone, too */
    return type == RTM_DELROUTE && (r == -ESRCH || r == -ENODEV) ? 1 : r;
}

/* When our table is not what we took it for, somebody changed it this very moment: made anew. */
static int change_guard(struct applier *a, const struct guard *from, const struct guard *to,
                        unsigned *commits, struct why *why)
{
    int r = nft_apply_guard(&a->nft, from, to, a->has_arp, commits, why);

    if (from && (r == -ENOENT || r == -EEXIST))
        r = nft_apply_guard(&a->nft, NULL, to, a->has_arp, commits, why);
    return r;
}

/* Every commit of anybody's counts up, and leaves out 0. */
static uint32_t generation_after(uint32_t generation, unsigned commits)
{
    uint32_t after = generation + commits;

    return after < generation ? after + 1 : after;
}

static int apply_guard(struct applier *a, const struct guard *from, const struct guard *to,
                       struct why *why)
{
    uint32_t before = 0, after = 0;
    unsigned commits = 0;
    bool alone;
    int r;

    if (!a->has_guard)
        return 1;
    if (nft_generation(&a->nft, &before) < 0)
        before = 0;
    /* made anew, or onto what nobody has touched since */
    alone = before != 0 && (!from || before == a->nft_generation);
    r = change_guard(a, from, to, &commits, why);
    if (r < 0)
        return r;
    if (nft_generation(&a->nft, &after) < 0 || after != generation_after(before, commits))
        alone = false;
    a->nft_generation = alone ? after : 0;
    return 0;
}

static int apply_maps(struct applier *a, const struct guard *from, const struct guard *to,
                      struct why *why)
{
    bool fresh = !a->bpf;
    int r;

    if (!to)
        return applier_remove_maps(a, why);
    r = open_bpf(a, why);
    if (r == 0)
        r = maps_apply_guard(a->bpf, fresh ? NULL : from, to, why);
    /* sockets that were there before the programs are judged, too: by the programs that hold them */
    return r == 0 && !from ? bpf_fill(a->bpf, why) : r;
}

static int apply_sysctl(enum plan_sysctl which, int value)
{
    char path[128], text[16];
    int n, r;

    if (value < 0)
        return 1;
    r = sysctl_path(which, path, sizeof(path));
    if (r < 0)
        return r;
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = snprintf(text, sizeof(text), "%d\n", value);
    return fd_write_all(fd, text, (size_t)n);
}

static int apply(struct applier *a, const struct op *op, struct why *why)
{
    switch (op->kind) {
    case OP_RULE_ADD:
    case OP_RULE_DELETE:
        return apply_rule(a, &op->rule, op->kind == OP_RULE_ADD, why);
    case OP_ROUTE_ADD:
        return apply_route(a, &op->route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, why);
    case OP_ROUTE_DELETE:
        return apply_route(a, &op->route, RTM_DELROUTE, 0, why);
    case OP_ROUTE_REPLACE:
        return apply_route(a, &op->replace.to, RTM_NEWROUTE, NLM_F_REPLACE, why);
    case OP_GUARD:
        return op->guard.maps ? apply_maps(a, op->guard.from, op->guard.to, why)
                              : apply_guard(a, op->guard.from, op->guard.to, why);
    case OP_SYSCTL:
        return apply_sysctl(op->sysctl.which, op->sysctl.to);
    case OP_KIND_MAX:
        break;
    }
    return -EINVAL;
}

int applier_apply(void *data, const struct op *op, struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct why kernel = { 0 };
    int r = apply(data, op, &kernel);

    if (r < 0) {
        op_print(op, ((const struct applier *)data)->names, &text);
        return why_set(why, r, "the kernel refused \"%s\": %s", strbuf_text(&text),
                       why_text(&kernel, r));
    }
    return r;
}
