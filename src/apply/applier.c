/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/applier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "apply/nft.h"
#include "basic/fd.h"
#include "basic/parse.h"

enum { REQUEST_SIZE = 512 };

static int sysctl_path(enum plan_sysctl which, char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "/proc/sys/%s", plan_sysctl_path(which)) < size
               ? 0
               : -ENAMETOOLONG;
}

static int read_sysctl(enum plan_sysctl which)
{
    _cleanup_free_ char *text = NULL;
    char path[128];
    uint32_t value;

    if (sysctl_path(which, path, sizeof(path)) < 0 || fd_read_file(path, 64, &text, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return parse_u32(text, INT32_MAX, &value) < 0 ? -1 : (int)value;
}

int applier_open(struct applier *a)
{
    int r = nlsock_open(&a->rtnl, NETLINK_ROUTE);

    if (r < 0)
        return r;
    r = nlsock_open(&a->nft, NETLINK_NETFILTER);
    if (r == 0)
        r = nft_probe(&a->nft);
    if (r == -EPERM) {
        applier_close(a);
        return r;
    }
    a->has_guard = r == 0;
    if (!a->has_guard)
        nlsock_close(&a->nft);
    for (int i = 0; i < SYSCTL_MAX; i++)
        a->has_sysctl[i] = read_sysctl((enum plan_sysctl)i) >= 0;
    return 0;
}

void applier_close(struct applier *a)
{
    nlsock_close(&a->rtnl);
    nlsock_close(&a->nft);
}

void applier_read_sysctls(struct applier *a, int ret[static SYSCTL_MAX])
{
    for (int i = 0; i < SYSCTL_MAX; i++)
        ret[i] = a->has_sysctl[i] ? read_sysctl((enum plan_sysctl)i) : -1;
}

int applier_guard_exists(struct applier *a)
{
    return a->has_guard ? nft_table_exists(&a->nft) : 0;
}

static int apply_rule(struct applier *a, const struct plan_rule *rule, bool add, struct why *why)
{
    struct rtnl_rule wire = plan_rule_to_rtnl(rule, rule->families == 1 ? AF_INET : AF_INET6);
    char buf[REQUEST_SIZE];
    int r;

    r = rtnl_rule_build(buf, sizeof(buf), add ? RTM_NEWRULE : RTM_DELRULE,
                        add ? NLM_F_CREATE | NLM_F_EXCL : 0, &wire);
    if (r == 0)
        r = nlsock_request(&a->rtnl, (void *)buf, NULL, NULL, why);
    return !add && r == -ENOENT ? 1 : r;
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

static int apply_guard(struct applier *a, const struct guard *from, const struct guard *to,
                       struct why *why)
{
    int r = a->has_guard ? nft_apply_guard(&a->nft, from, to, why) : 1;

    if (r == 0 && nft_generation(&a->nft, &a->nft_generation) < 0)
        a->nft_generation = 0; /* unknown: equal to none */
    return r;
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
        return apply_guard(a, op->guard.from, op->guard.to, why);
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
