/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lines of a scene that speak of the kernel (unit/scene.h). */

#include "unit/scene.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>

#include "basic/parse.h"

/* ICMPV6_ROUTER_PREF_*: linux/icmpv6.h and netinet/icmp6.h cannot be had together. */
enum { PREF_HIGH = 1, PREF_LOW = 3 };

static struct ip_prefix prefix_of(const char *word)
{
    struct ip_prefix p = { 0 };

    if (ip_prefix_parse(word, &p) < 0)
        scene_bad("prefix", word);
    return p;
}

static struct ip_addr addr_of(const char *word)
{
    struct ip_addr a = { 0 };

    if (ip_addr_parse(word, &a) < 0)
        scene_bad("address", word);
    return a;
}

/* "A-B" or "A". */
static void range_of(const char *word, uint32_t *lo, uint32_t *hi)
{
    struct uid_range r;

    if (uid_range_parse(word, 10, &r) < 0)
        scene_bad("range", word);
    *lo = r.lo;
    *hi = r.hi;
}

/* A word that has a value behind it. */
static const char *value_of(scene_words w, size_t n, size_t *i)
{
    if (*i + 1 >= n)
        scene_bad("value behind", w[*i]);
    return w[++*i];
}

static uint32_t number_hex(const char *word)
{
    uint32_t v;

    if (parse_u32_hex(word, UINT32_MAX, &v) < 0)
        scene_bad("number", word);
    return v;
}

static int do_link(struct scene *s, scene_words w, size_t n)
{
    struct rtnl_link link = { .flags = IFF_UP | IFF_RUNNING, .arphrd = ARPHRD_ETHER, .mtu = 1500 };

    link.ifindex = (int)scene_number(w[1], INT32_MAX);
    if (!str_set(link.name, sizeof(link.name), w[2]))
        scene_bad("interface name", w[2]);
    for (size_t i = 3; i < n; i++) {
        if (streq(w[i], "down"))
            link.flags = 0;
        else if (streq(w[i], "nocarrier"))
            link.flags = IFF_UP;
        else if (streq(w[i], "kind"))
            (void)str_set(link.kind, sizeof(link.kind), value_of(w, n, &i));
        else if (streq(w[i], "arphrd"))
            link.arphrd = (uint16_t)scene_number(value_of(w, n, &i), UINT16_MAX);
        else if (streq(w[i], "master"))
            link.master = (int)scene_number(value_of(w, n, &i), INT32_MAX);
        else
            scene_bad("word of a link", w[i]);
    }
    return kernel_add_link(&s->k, &link) < 0 ? -ENOMEM : kernel_sort(&s->k);
}

static void add_kernel_route(struct scene *s, uint8_t type, uint8_t scope, uint32_t table,
                             struct ip_prefix dst, int oif)
{
    struct rtnl_route route = {
        .family = dst.addr.family,
        .type = type,
        .scope = dst.addr.family == AF_INET ? scope : RT_SCOPE_UNIVERSE,
        .protocol = RTPROT_KERNEL,
        .table = table,
        .dst = dst,
        .oif = oif,
        .priority = dst.addr.family == AF_INET6 && type != RTN_LOCAL ? 256 : 0,
    };

    if (kernel_add_route(&s->k, &route) < 0 || kernel_sort(&s->k) < 0)
        abort();
}

/* fib_add_ifaddr(), addrconf_prefix_route() and what goes with them. */
static void add_addr_routes(struct scene *s, const struct rtnl_addr *a)
{
    struct ip_prefix host = ip_prefix_make(&a->local, ip_family_bits(a->local.family));
    struct ip_prefix subnet = ip_prefix_make(&a->local, a->prefix_len);
    struct ip_addr last = ip_prefix_last(&subnet);

    add_kernel_route(s, RTN_LOCAL, RT_SCOPE_HOST, RT_TABLE_LOCAL, host, a->ifindex);
    if (subnet.len < host.len)
        add_kernel_route(s, RTN_UNICAST, RT_SCOPE_LINK, RT_TABLE_MAIN, subnet, a->ifindex);
    if (a->local.family == AF_INET && subnet.len < 31)
        add_kernel_route(s, RTN_BROADCAST, RT_SCOPE_LINK, RT_TABLE_LOCAL, ip_prefix_make(&last, 32),
                         a->ifindex);
    if (a->local.family == AF_INET6)
        add_kernel_route(s, RTN_MULTICAST, 0, RT_TABLE_LOCAL, prefix_of("ff00::/8"), a->ifindex);
}

static int do_addr(struct scene *s, scene_words w, size_t n)
{
    struct rtnl_addr a = { .ifindex = scene_link(s, w[1])->ifindex };
    char text[IP_TEXT_MAX];
    bool bare = false;
    char *slash;

    if (!str_set(text, sizeof(text), w[2]) || !(slash = strchr(text, '/')))
        scene_bad("address/length", w[2]);
    *slash = '\0';
    a.local = addr_of(text);
    a.prefix_len = (uint8_t)scene_number(slash + 1, 128);
    for (size_t i = 3; i < n; i++) {
        if (streq(w[i], "scope"))
            a.scope = streq(value_of(w, n, &i), "link") ? RT_SCOPE_LINK : RT_SCOPE_HOST;
        else if (streq(w[i], "tentative"))
            a.flags |= IFA_F_TENTATIVE;
        else if (streq(w[i], "dadfailed"))
            a.flags |= IFA_F_DADFAILED;
        else if (streq(w[i], "secondary"))
            a.flags |= IFA_F_SECONDARY;
        else if (streq(w[i], "bare"))
            bare = true;
        else
            scene_bad("word of an address", w[i]);
    }
    if (!bare)
        add_addr_routes(s, &a);
    return kernel_add_addr(&s->k, &a);
}

/* Keeps what belongs to other interfaces. */
static int do_unlink(struct scene *s, scene_words w, size_t n)
{
    int gone = scene_link(s, w[1])->ifindex;
    size_t out = 0;

    (void)n;
    for (size_t i = 0; i < s->k.n_links; i++)
        if (s->k.links[i].ifindex != gone)
            s->k.links[out++] = s->k.links[i];
    s->k.n_links = out;
    out = 0;
    for (size_t i = 0; i < s->k.n_addrs; i++)
        if (s->k.addrs[i].ifindex != gone)
            s->k.addrs[out++] = s->k.addrs[i];
    s->k.n_addrs = out;
    for (unsigned f = 0; f < 2; f++) {
        out = 0;
        for (size_t i = 0; i < s->k.n_routes[f]; i++)
            if (s->k.routes[f][i].oif != gone)
                s->k.routes[f][out++] = s->k.routes[f][i];
        s->k.n_routes[f] = out;
    }
    return 0;
}

static uint32_t table_of(const char *word)
{
    return streq(word, "main")      ? RT_TABLE_MAIN
           : streq(word, "local")   ? RT_TABLE_LOCAL
           : streq(word, "default") ? RT_TABLE_DEFAULT
                                    : scene_number(word, UINT32_MAX);
}

/* An option of a route that has a value. */
static void route_option(struct scene *s, struct rtnl_route *r, const char *option, const char *v)
{
    if (streq(option, "from"))
        r->src = prefix_of(v);
    else if (streq(option, "via"))
        r->gateway = addr_of(v);
    else if (streq(option, "dev"))
        r->oif = scene_link(s, v)->ifindex;
    else if (streq(option, "table"))
        r->table = table_of(v);
    else if (streq(option, "metric"))
        r->priority = scene_number(v, UINT32_MAX);
    else if (streq(option, "src"))
        r->prefsrc = addr_of(v);
    else if (streq(option, "tos"))
        r->tos = (uint8_t)number_hex(v);
    else if (streq(option, "mtu"))
        r->mtu = scene_number(v, UINT32_MAX);
    else if (streq(option, "scope"))
        r->scope = streq(v, "link") ? RT_SCOPE_LINK : RT_SCOPE_HOST;
    else if (streq(option, "pref"))
        r->pref = streq(v, "low") ? PREF_LOW : PREF_HIGH;
    else if (streq(option, "proto"))
        r->protocol = (uint8_t)scene_number(v, 255);
    else if (streq(option, "nexthop"))
        r->nh_index = (uint8_t)scene_number(v, 255);
    else
        scene_bad("word of a route", option);
}

static int do_iproute(struct scene *s, scene_words w, size_t n)
{
    static const char *const types[] = {
        [RTN_UNICAST] = "unicast",     [RTN_LOCAL] = "local",         [RTN_BROADCAST] = "broadcast",
        [RTN_ANYCAST] = "anycast",     [RTN_MULTICAST] = "multicast", [RTN_BLACKHOLE] = "blackhole",
        [RTN_UNREACHABLE] = "unreach", [RTN_PROHIBIT] = "prohibit",   [RTN_THROW] = "throw",
    };
    struct rtnl_route r = { .type = RTN_UNICAST, .table = RT_TABLE_MAIN, .protocol = RTPROT_BOOT };
    int type = parse_word(types, ELEMENTSOF(types), w[1]);
    size_t i = 1;

    if (type >= 0) {
        r.type = (uint8_t)type;
        i++;
    }
    if (i >= n)
        scene_bad("route", w[0]);
    r.dst = prefix_of(w[i++]);
    r.family = r.dst.addr.family;
    for (; i < n; i++) {
        if (streq(w[i], "dead"))
            r.nh_flags |= RTNH_F_DEAD;
        else if (streq(w[i], "onlink"))
            r.nh_flags |= RTNH_F_ONLINK;
        else if (streq(w[i], "cloned"))
            r.flags |= RTM_F_CLONED;
        else if (streq(w[i], "incomplete"))
            r.flags |= RTNL_ROUTE_INCOMPLETE;
        else {
            const char *option = w[i];
            route_option(s, &r, option, value_of(w, n, &i));
        }
    }
    if (r.family == AF_INET6 && r.priority == 0)
        r.priority = 1024;
    return kernel_add_route(&s->k, &r) < 0 ? -ENOMEM : kernel_sort(&s->k);
}

static void rule_mark(struct rtnl_rule *r, const char *v)
{
    char text[32];
    char *slash;

    if (!str_set(text, sizeof(text), v))
        scene_bad("mark", v);
    slash = strchr(text, '/');
    if (slash)
        *slash++ = '\0';
    r->fwmark = number_hex(text);
    r->fwmask = slash ? number_hex(slash) : UINT32_MAX;
}

static void rule_ports(uint16_t range[static 2], const char *v)
{
    uint32_t lo, hi;

    range_of(v, &lo, &hi);
    range[0] = (uint16_t)lo;
    range[1] = (uint16_t)hi;
}

/* An option of a rule that has a value. */
static void rule_option(struct rtnl_rule *r, const char *option, const char *v)
{
    if (streq(option, "from"))
        r->extra.src = prefix_of(v);
    else if (streq(option, "to"))
        r->extra.dst = prefix_of(v);
    else if (streq(option, "fwmark"))
        rule_mark(r, v);
    else if (streq(option, "iif"))
        (void)str_set(r->iif, IFNAMSIZ, v);
    else if (streq(option, "oif"))
        (void)str_set(r->oif, IFNAMSIZ, v);
    else if (streq(option, "uidrange")) {
        range_of(v, &r->uid.lo, &r->uid.hi);
        r->has_uid = true;
    } else if (streq(option, "ipproto"))
        r->extra.ip_proto = (uint8_t)scene_number(v, 255);
    else if (streq(option, "sport"))
        rule_ports(r->extra.sport, v);
    else if (streq(option, "dport"))
        rule_ports(r->extra.dport, v);
    else if (streq(option, "tos"))
        r->extra.tos = (uint8_t)number_hex(v);
    else if (streq(option, "suppress"))
        r->extra.suppress_prefix_len = scene_number(v, 128);
    else if (streq(option, "suppress-group"))
        r->extra.suppress_ifgroup = scene_number(v, UINT32_MAX - 1);
    else if (streq(option, "proto"))
        r->protocol = (uint8_t)scene_number(v, 255);
    else if (streq(option, "lookup")) {
        r->action = FR_ACT_TO_TBL;
        r->table = table_of(v);
    } else if (streq(option, "goto")) {
        r->action = FR_ACT_GOTO;
        r->extra.target = scene_number(v, UINT32_MAX);
    } else
        scene_bad("word of a rule", option);
}

/* Words of a rule that stand alone. */
static bool rule_word(struct rtnl_rule *r, const char *word)
{
    static const char *const actions[] = {
        [FR_ACT_NOP] = "nop",
        [FR_ACT_BLACKHOLE] = "blackhole",
        [FR_ACT_UNREACHABLE] = "unreachable",
        [FR_ACT_PROHIBIT] = "prohibit",
    };
    int action = parse_word(actions, ELEMENTSOF(actions), word);

    if (action >= 0)
        r->action = (uint8_t)action;
    else if (streq(word, "not"))
        r->flags |= FIB_RULE_INVERT;
    else if (streq(word, "l3mdev"))
        r->extra.l3mdev = true;
    else if (streq(word, "other"))
        r->extra.other = true;
    else
        return false;
    return true;
}

/* Behind all others of its priority, as the kernel does it. */
static int insert_rule(struct kernel *k, const struct rtnl_rule *rule)
{
    unsigned f = family_index(rule->family);
    size_t i = 0;
    int r = kernel_add_rule(k, rule);

    if (r < 0)
        return r;
    while (i < k->n_rules[f] - 1 && k->rules[f][i].priority <= rule->priority)
        i++;
    memmove(&k->rules[f][i + 1], &k->rules[f][i], (k->n_rules[f] - 1 - i) * sizeof(*rule));
    k->rules[f][i] = *rule;
    return 0;
}

static int do_iprule(struct scene *s, scene_words w, size_t n)
{
    int r = 0;

    for (unsigned f = 0; r == 0 && f < 2; f++) {
        struct rtnl_rule rule = rtnl_rule_empty(family_at(f));

        if ((streq(w[0], "iprule4") && f == 1) || (streq(w[0], "iprule6") && f == 0))
            continue;
        rule.protocol = RTPROT_BOOT;
        rule.priority = scene_number(w[1], UINT32_MAX);
        for (size_t i = 2; i < n; i++)
            if (!rule_word(&rule, w[i])) {
                const char *option = w[i];
                rule_option(&rule, option, value_of(w, n, &i));
            }
        r = insert_rule(&s->k, &rule);
    }
    return r;
}

/* All rules of that priority. */
static int do_del_rule(struct scene *s, scene_words w, size_t n)
{
    uint32_t priority = scene_number(w[1], UINT32_MAX);
    size_t deleted = 0;

    (void)n;
    for (unsigned f = 0; f < 2; f++) {
        size_t out = 0;

        if ((streq(w[0], "del-rule4") && f == 1) || (streq(w[0], "del-rule6") && f == 0))
            continue;
        for (size_t i = 0; i < s->k.n_rules[f]; i++)
            if (s->k.rules[f][i].priority != priority)
                s->k.rules[f][out++] = s->k.rules[f][i];
        deleted += s->k.n_rules[f] - out;
        s->k.n_rules[f] = out;
    }
    if (deleted == 0)
        scene_bad("priority of a rule", w[1]);
    return 0;
}

static int do_guard(struct scene *s, scene_words w, size_t n)
{
    struct uid_range range;
    struct guard *g;
    int r;

    if (streq(w[1], "none")) {
        guard_unref(s->k.guard);
        s->k.guard = NULL;
        return 0;
    }
    g = s->k.guard ? s->k.guard : guard_new();
    s->k.guard = g;
    if (n < 3 || !g)
        scene_bad("guard line", w[1]);
    if (streq(w[1], "entry") && n == 4) {
        range_of(w[2], &range.lo, &range.hi);
        r = guard_add_entry(g, range, scene_number(w[3], UINT32_MAX));
    } else if (streq(w[1], "chain"))
        r = guard_add_chain(g, scene_number(w[2], UINT32_MAX), n > 3);
    else if (streq(w[1], "port") && n == 4)
        r = guard_add_port(g, scene_number(w[2], UINT32_MAX), scene_link(s, w[3])->ifindex);
    else if (streq(w[1], "incoming") && n == 4)
        r = guard_add_incoming(g, scene_link(s, w[2])->ifindex, number_hex(w[3]));
    else
        scene_bad("guard line", w[1]);
    guard_sort(g);
    return r;
}

static const struct {
    const char *verb;
    size_t min; /* words */
    int (*run)(struct scene *s, scene_words w, size_t n);
} verbs[] = {
    { "link", 3, do_link },          { "addr", 3, do_addr },
    { "unlink", 2, do_unlink },      { "iproute", 2, do_iproute },
    { "iprule", 3, do_iprule },      { "iprule4", 3, do_iprule },
    { "iprule6", 3, do_iprule },     { "guard", 2, do_guard },
    { "del-rule", 2, do_del_rule },  { "del-rule4", 2, do_del_rule },
    { "del-rule6", 2, do_del_rule },
};

int scene_kernel_line(struct scene *s, scene_words w, size_t n)
{
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
        if (!streq(verbs[i].verb, w[0]))
            continue;
        if (n < verbs[i].min)
            scene_bad("complete line", w[0]);
        return verbs[i].run(s, w, n);
    }
    return SCENE_NO_SUCH_VERB;
}
