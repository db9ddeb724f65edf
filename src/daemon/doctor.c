/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/doctor.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>

#include "apply/nft.h"
#include "apply/sockets.h"
#include "basic/array.h"
#include "daemon/backend.h"
#include "observe/facts.h"
#include "plan/explain.h"
#include "plan/rules.h"

/* What the checks look at. */
struct patient {
    const struct manager_options *options;
    const struct manager *m; /* NULL: no daemon */
    struct applier *a;
    struct kernel k; /* a fresh snapshot */
    struct findings *findings;
    const char *check; /* the name of the one that runs */
    bool failed;       /* out of memory */
};

const char *finding_level_to_string(enum finding_level level)
{
    static const char *const names[FINDING_LEVEL_MAX] = {
        [FINDING_OK] = "ok",
        [FINDING_INFO] = "info",
        [FINDING_WARNING] = "warning",
        [FINDING_ERROR] = "error",
    };

    return names[level];
}

void findings_done(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].text);
        free(f->items[i].remedy);
    }
    free(f->items);
    *f = (struct findings){ 0 };
}

/* Text and remedy, with a '\n' between them when there is a remedy. */
_printf_(3, 4) static void find(struct patient *p, enum finding_level level, const char *format,
                                ...)
{
    struct finding finding = { .check = p->check, .level = level };
    char text[1024], *newline;
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    newline = strchr(text, '\n');
    if (newline)
        *newline++ = '\0';
    finding.text = strdup(text);
    finding.remedy = strdup(newline ? newline : "");
    if (!finding.text || !finding.remedy ||
        ARRAY_PUSH(p->findings->items, p->findings->n, p->findings->cap, finding) < 0) {
        free(finding.text);
        free(finding.remedy);
        p->failed = true;
    }
}

static void check_kernel(struct patient *p)
{
    struct utsname name;

    if (uname(&name) == 0)
        find(p, FINDING_OK, "Linux %s", name.release);
    if (p->a->has_guard)
        find(p, FINDING_OK, "nftables: apps are guarded at the interface, too");
    else
        find(p, FINDING_ERROR,
             "the kernel has no nftables (or lacks maps, meta skuid or counters): by broadcast and "
             "multicast, and in IPv4 with SO_BINDTODEVICE or IP_PKTINFO, an app can leave its "
             "network; and answers may not leave by the network of the question\n"
             "use a kernel with CONFIG_NF_TABLES_INET, or `modprobe nf_tables`");
    if (p->a->has_guard && !p->a->has_arp)
        find(p, FINDING_WARNING,
             "nftables has no tables of ARP: who is next to the machine can find out the addresses "
             "of its VPNs\nuse a kernel with CONFIG_NF_TABLES_ARP");
}

static void check_old_sockets(struct patient *p)
{
    struct sockets s = SOCKETS_INIT;
    int r = sockets_open(&s);

    if (r == 0 && s.can_destroy)
        find(p, FINDING_OK, "old connections of apps whose network changes are destroyed");
    else
        find(p, FINDING_WARNING,
             "the kernel cannot destroy sockets%s%s: connections that are open when an assignment "
             "changes hang until they time out\n"
             "use a kernel with CONFIG_INET_DIAG_DESTROY, or restart the programs",
             r < 0 ? ", or list them: " : "", r < 0 ? strerror(-r) : "");
    sockets_close(&s);
}

static void check_backend(struct patient *p)
{
    enum finding_level level = p->options->backend == BACKEND_MAPS ? FINDING_WARNING : FINDING_INFO;
    struct backend_root root;
    struct why why = { 0 };
    const char *cgroup;
    int r;

    if (p->a->has_maps) {
        find(p, FINDING_OK, "back-end for assignments: maps (programs at %s, kept in %s)",
             p->a->cgroup, p->a->bpffs);
        return;
    }
    find(p, FINDING_INFO, "back-end for assignments: rules (uid ranges as policy rules)");
    r = backend_find_cgroup(p->options, &root, &cgroup, &why);
    if (r == 0)
        r = applier_probe_maps(p->a, cgroup, p->options->bpffs, &why);
    if (r < 0)
        find(p, level,
             "the maps back-end cannot be had, so programs, cgroups and units cannot be assigned: "
             "%s\n"
             "mend that, then restart waymarkd",
             why_text(&why, r));
    else
        find(p, level, "the maps back-end can be had: restart waymarkd%s",
             p->options->backend == BACKEND_RULES ? " without --backend rules" : "");
}

/* Assignments that only the maps back-end could carry, from when it was in use. */
static void check_process_selectors(struct patient *p)
{
    size_t n = p->m && !p->a->has_maps ? backend_count_unsupported(p->m->model) : 0;

    if (n > 0)
        find(p, FINDING_ERROR,
             "%zu assignments of programs, cgroups or units hold nobody: the back-end is rules\n"
             "see above why it is not maps, or remove them with waymark unassign",
             n);
}

static void check_sysctls(struct patient *p)
{
    for (int i = 0; i < SYSCTL_MAX; i++) {
        const char *path = plan_sysctl_path((enum plan_sysctl)i);
        int value = facts_sysctl(path);

        if (value < 0)
            find(p, FINDING_WARNING,
                 "the kernel has no sysctl %s: answers may not leave by the network of the "
                 "question\n"
                 "use Linux 3.16 or newer, and let waymarkd see all of /proc/sys",
                 path);
        else if (value == 0 && p->m && !p->m->off && p->a->has_guard)
            find(p, FINDING_WARNING,
                 "sysctl %s was turned off: answers may leave by the wrong network\n"
                 "sysctl -w %s=1 (or `waymark reload`)",
                 path, path);
    }
}

/* A rule that no app of ours can meet, or that everybody has. */
static bool is_harmless(const struct rtnl_rule *rule)
{
    return rule->protocol == RTPROT_WAYMARK || rule->priority == 0 ||
           rule->priority >= RULE_PRIORITY_UNREACHABLE ||
           (rule->iif[0] && !streq(rule->iif, "lo") && !(rule->flags & 2));
}

static void check_foreign_rules(struct patient *p)
{
    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < p->k.n_rules[f]; i++) {
            _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
            const struct rtnl_rule *rule = &p->k.rules[f][i];

            if (is_harmless(rule))
                continue;
            rtnl_rule_print(rule, &b);
            if (rule->priority < RULE_PRIORITY_REQUIRE_NETWORK)
                find(p, FINDING_WARNING,
                     "%s rule %u of another program comes before ours: \"%s\"\n"
                     "it decides first for the packets it matches; `waymark verify` says whether "
                     "that is a leak. To move it: ip %s rule del prio %u, and add it at 32000 or "
                     "behind",
                     f ? "IPv6" : "IPv4", rule->priority, strbuf_text(&b), f ? "-6" : "-4",
                     rule->priority);
            else
                find(p, FINDING_INFO, "%s rule %u of another program stands among ours: \"%s\"",
                     f ? "IPv6" : "IPv4", rule->priority, strbuf_text(&b));
        }
}

static void found_mark_setter(void *data, const char *where, uint32_t bits)
{
    struct patient *p = data;

    if (bits & MARK_ALL)
        find(p, FINDING_WARNING,
             "nftables table %s sets mark bits that are ours (0x%x of 0x%x): it may change which "
             "network a packet takes\n"
             "let that program use bits 21 to 31 only, with a mask",
             where, bits & MARK_ALL, MARK_ALL);
}

static void check_marks(struct patient *p)
{
    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < p->k.n_rules[f]; i++) {
            const struct rtnl_rule *rule = &p->k.rules[f][i];

            if (rule->protocol == RTPROT_WAYMARK || !(rule->fwmask & MARK_ALL))
                continue;
            find(p, FINDING_WARNING,
                 "%s rule %u of another program looks at mark bits that are ours (0x%x/0x%x)\n"
                 "packets with its marks may be taken for those of a network: let it use bits 21 "
                 "to 31, or leave the default network at `system`",
                 f ? "IPv6" : "IPv4", rule->priority, rule->fwmark, rule->fwmask);
        }
    if (p->a->has_guard)
        (void)facts_mark_setters(&p->a->nft, NFT_TABLE_NAME, found_mark_setter, p);
}

static bool is_our_table(const struct kernel *k, uint32_t table)
{
    if (table > TABLE_FENCE_FROM_NETID)
        return table <= TABLE_FENCE_FROM_NETID + (uint32_t)NETID_MAX;
    if (table > TABLE_LOCAL_FROM_IFINDEX)
        return kernel_link(k, (int)(table - TABLE_LOCAL_FROM_IFINDEX)) != NULL;
    return table > TABLE_FROM_IFINDEX && kernel_link(k, (int)(table - TABLE_FROM_IFINDEX)) != NULL;
}

static void check_tables(struct patient *p)
{
    uint32_t last = 0;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < p->k.n_routes[f]; i++) {
            const struct rtnl_route *route = &p->k.routes[f][i];

            if (route->protocol == RTPROT_WAYMARK || route->table == last ||
                !is_our_table(&p->k, route->table))
                continue;
            last = route->table;
            find(p, FINDING_WARNING,
                 "another program has routes in table %u, which is that of one of our networks\n"
                 "let that program use a table below 1000: see them with ip %s route show table %u",
                 last, f ? "-6" : "-4", last);
        }
}

static void check_rp_filter(struct patient *p)
{
    const struct model *m = p->m ? p->m->model : NULL;

    for (size_t i = 0; i < p->k.n_links; i++) {
        const char *name = p->k.links[i].name;

        if (!(p->k.links[i].flags & IFF_UP) || (p->k.links[i].flags & IFF_LOOPBACK) ||
            (m && !model_network_of(m, name)))
            continue;
        if (facts_rp_filter(name) == 1)
            find(p, FINDING_WARNING,
                 "strict rp_filter on %s: answers to apps that were sent there are dropped unless "
                 "the main table leads there, too\n"
                 "sysctl -w net.ipv4.conf.%s.rp_filter=2",
                 name, name);
    }
}

static void check_networkd(struct patient *p)
{
    struct facts_networkd facts;

    facts_networkd(&facts);
    if (!facts.running)
        return;
    if (facts.deletes_rules)
        find(p, FINDING_WARNING,
             "systemd-networkd deletes rules of other programs when it starts or reconfigures "
             "(we put ours back, but there is a moment without)\n"
             "in /etc/systemd/networkd.conf.d/waymark.conf: [Network] "
             "ManageForeignRoutingPolicyRules=no, then `systemctl restart systemd-networkd`");
    else
        find(p, FINDING_OK, "systemd-networkd leaves our rules alone (%s)", facts.file);
}

static void check_networkmanager(struct patient *p)
{
    for (size_t i = 0; i < p->k.n_links; i++) {
        const struct rtnl_link *link = &p->k.links[i];

        if (network_type_of_link(link) == NETWORK_VPN && facts_nm_adopted(link->ifindex))
            find(p, FINDING_WARNING,
                 "NetworkManager manages %s, which it did not make: it may change its addresses "
                 "and DNS\n"
                 "in /etc/NetworkManager/conf.d/waymark.conf: [keyfile] "
                 "unmanaged-devices=interface-name:%s, then `nmcli general reload`",
                 link->name, link->name);
    }
}

/* Is in the kernel what should be there? */
static void check_state(struct patient *p)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL;
    _cleanup_ops_ struct ops ops = { 0 };

    if (!p->m) {
        find(p, FINDING_INFO, "waymarkd does not run here: only the machine was examined");
        return;
    }
    if (p->m->off) {
        find(p, FINDING_WARNING, "panic-off: nothing of ours is in the kernel\nwaymark reload");
        return;
    }
    if (p->m->degraded)
        find(p, FINDING_ERROR,
             "what is wanted could not be applied: %s\n"
             "mend that; it is tried again every few seconds, or at once by waymark reload",
             p->m->degraded_why.text);
    manager_add_guards(p->m, &p->k);
    if (!p->m->stands || plan_from_kernel(&p->k, unknown, &stands, NULL) < 0 ||
        plan_diff(stands, p->m->stands, NULL, &ops) < 0)
        return;
    for (size_t i = 0; i < ops.n; i++)
        if (ops.items[i].kind != OP_SYSCTL) {
            _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

            op_print(&ops.items[i], &p->k, &b);
            find(p, FINDING_ERROR, "the kernel is not as it should be, missing: %s\nwaymark reload",
                 strbuf_text(&b));
            return;
        }
    find(p, FINDING_OK, "%zu rules and %zu routes are in place", plan_count_rules(p->m->stands),
         p->m->stands->routes->n);
}

static void check_assignments(struct patient *p)
{
    const struct assignments *all = p->m ? p->m->model->assignments : NULL;

    for (size_t i = 0; all && i < all->n; i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const struct assignment *a = &all->items[i];

        if ((a->selector.kind != SELECTOR_USER && a->selector.kind != SELECTOR_GROUP) ||
            (a->uids && !a->uids_old))
            continue;
        selector_print(&a->selector, &b);
        if (a->uids_old) {
            find(p, FINDING_WARNING,
                 "%s: the user database cannot be asked, %s\n"
                 "mend it (try `getent passwd`): it is asked again every minute, or at once by "
                 "waymark reload",
                 strbuf_text(&b),
                 a->uids ? "the uids of last time hold" : "nobody is bound until it can");
            continue;
        }
        find(p, FINDING_WARNING,
             "%s is assigned, but there is no such user or group now: nobody is bound by it\n"
             "create it, or waymark unassign %s",
             strbuf_text(&b), strbuf_text(&b));
    }
}

/* Routes that wait for something. */
static void check_routes(struct patient *p)
{
    enum { SHOWN_MAX = 10 };
    const struct refusals *r = p->m ? &p->m->refusals : NULL;

    for (size_t i = 0; r && i < MIN(r->n, (size_t)SHOWN_MAX); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        plan_route_print(&r->items[i].route, &p->k, &b);
        find(p, FINDING_WARNING,
             "route \"%s\" waits, the kernel refuses it: %s\n"
             "see that its gateway can be reached by its interface; it is tried again when "
             "something changes there",
             strbuf_text(&b), strerror(-r->items[i].error));
    }
    if (r && r->n > SHOWN_MAX)
        find(p, FINDING_WARNING, "%zu routes more wait: the kernel refuses them", r->n - SHOWN_MAX);
}

static const struct {
    const char *name;
    void (*run)(struct patient *p);
} checks[] = {
    { "state", check_state },
    { "kernel", check_kernel },
    { "sockets", check_old_sockets },
    { "backend", check_backend },
    { "selectors", check_process_selectors },
    { "sysctls", check_sysctls },
    { "rules", check_foreign_rules },
    { "marks", check_marks },
    { "tables", check_tables },
    { "rp_filter", check_rp_filter },
    { "networkd", check_networkd },
    { "NetworkManager", check_networkmanager },
    { "assignments", check_assignments },
    { "routes", check_routes },
};

int doctor_run(const struct manager_options *options, const struct manager *m, struct observer *o,
               struct applier *a, struct findings *ret)
{
    struct patient p = { .options = options, .m = m, .a = a, .findings = ret };
    int r = observer_snapshot(o, &p.k);

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(checks); i++) {
        p.check = checks[i].name;
        checks[i].run(&p);
    }
    kernel_done(&p.k);
    return r < 0 ? r : p.failed ? -ENOMEM : 0;
}

int doctor_main(const struct manager_options *options)
{
    _cleanup_findings_ struct findings f = { 0 };
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    bool bad = false;
    int r;

    r = observer_open(&o);
    if (r == 0)
        r = applier_open(&a);
    if (r == 0)
        r = doctor_run(options, NULL, &o, &a, &f);
    applier_close(&a);
    observer_close(&o);
    if (r < 0) {
        fprintf(stderr, "waymarkd: cannot examine this machine: %s%s\n", strerror(-r),
                r == -EPERM ? ": run it as root" : "");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < f.n; i++) {
        printf("%-8s %-15s %s\n", finding_level_to_string(f.items[i].level), f.items[i].check,
               f.items[i].text);
        if (f.items[i].remedy[0])
            printf("%-8s %-15s   -> %s\n", "", "", f.items[i].remedy);
        bad |= f.items[i].level == FINDING_ERROR;
    }
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
