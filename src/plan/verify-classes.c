/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/verify-classes.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"

static int compare_u32(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;
    return CMP(*a, *b);
}

size_t classes_sort_u32(uint32_t *items, size_t n)
{
    size_t out = 0;

    if (n == 0)
        return 0;
    qsort(items, n, sizeof(*items), compare_u32);
    for (size_t i = 1; i < n; i++)
        if (items[i] != items[out])
            items[++out] = items[i];
    return out + 1;
}

static int compare_addrs(const void *x, const void *y)
{
    return ip_addr_compare(x, y);
}

static void sort_addrs(struct addr_classes *c)
{
    size_t out = 0;

    if (c->n == 0)
        return;
    qsort(c->items, c->n, sizeof(*c->items), compare_addrs);
    for (size_t i = 1; i < c->n; i++)
        if (!ip_addr_equal(&c->items[out], &c->items[i]))
            c->items[++out] = c->items[i];
    c->n = out + 1;
}

/* The first address of the prefix, and the one behind its last. */
static int add_bounds(struct addr_classes *c, const struct ip_prefix *p)
{
    struct ip_addr last = ip_prefix_last(p), behind;
    int r = ARRAY_PUSH(c->items, c->n, c->cap, p->addr);

    if (r == 0 && ip_addr_next(&last, &behind))
        r = ARRAY_PUSH(c->items, c->n, c->cap, behind);
    return r;
}

/* What the kernel treats apart without a rule or route. */
static int add_special_bounds(struct addr_classes *c, int family)
{
    static const char *const special[2][8] = {
        { "0.0.0.0/0", "0.0.0.0/32", "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4",
          "224.0.0.0/24", "255.255.255.255/32" },
        { "::/0", "::1/128", "fe80::/10", "ff00::/8", "ff02::/16" },
    };
    const char *const *texts = special[family_index(family)];
    struct ip_prefix p;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(special[0]) && texts[i]; i++)
        if (ip_prefix_parse(texts[i], &p) == 0)
            r = add_bounds(c, &p);
    return r;
}

int classes_of_destinations(const struct kernel *k, int family, const struct rtnl_rule *rules,
                            size_t n, struct addr_classes *ret)
{
    struct addr_classes c = { 0 };
    int r = add_special_bounds(&c, family);

    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct rtnl_route *routes = NULL;
        size_t n_routes = 0;

        if (rules[i].extra.dst.addr.family != AF_UNSPEC)
            r = add_bounds(&c, &rules[i].extra.dst);
        if (rules[i].action == FR_ACT_TO_TBL)
            n_routes = kernel_table(k, family, rules[i].table, &routes);
        for (size_t j = 0; r == 0 && j < n_routes; j++)
            r = add_bounds(&c, &routes[j].dst);
    }
    if (r < 0) {
        free(c.items);
        return r;
    }
    sort_addrs(&c);
    *ret = c;
    return 0;
}

int classes_cut_destinations(struct addr_classes *c, int family, const struct guard *outside,
                             uint32_t netid)
{
    int r = 0;

    for (size_t i = 0; r == 0 && outside && i < outside->n_outside; i++)
        if (outside->outside[i].netid == netid && outside->outside[i].prefix.addr.family == family)
            r = add_bounds(c, &outside->outside[i].prefix);
    if (r == 0)
        sort_addrs(c);
    return r;
}

/* The bounds of all source prefixes; none when nothing asks for the source. */
static int source_bounds(const struct kernel *k, int family, const struct rtnl_rule *rules,
                         size_t n, struct addr_classes *c)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct rtnl_route *routes = NULL;
        size_t n_routes = 0;

        if (rules[i].extra.src.addr.family != AF_UNSPEC)
            r = add_bounds(c, &rules[i].extra.src);
        if (rules[i].action == FR_ACT_TO_TBL)
            n_routes = kernel_table(k, family, rules[i].table, &routes);
        for (size_t j = 0; r == 0 && j < n_routes; j++)
            if (routes[j].src.addr.family != AF_UNSPEC)
                r = add_bounds(c, &routes[j].src);
    }
    if (r == 0 && c->n > 0)
        r = add_special_bounds(c, family);
    sort_addrs(c);
    return r;
}

/* The last bound that is not behind the address: two addresses with the same one are alike. */
static size_t cell_of(const struct addr_classes *bounds, const struct ip_addr *addr)
{
    size_t lo = 0, hi = bounds->n;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (ip_addr_compare(&bounds->items[mid], addr) <= 0)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Adds an address unless there is one like it. */
static int add_source(struct addr_classes *c, const struct addr_classes *bounds, bool *seen,
                      const struct ip_addr *addr)
{
    size_t cell = cell_of(bounds, addr);

    if (seen[cell])
        return 0;
    seen[cell] = true;
    return ARRAY_PUSH(c->items, c->n, c->cap, *addr);
}

/* IPv4: addresses of this machine, also those in the middle of a local prefix. */
static int add_own_sources(struct addr_classes *c, const struct addr_classes *bounds, bool *seen,
                           const struct kernel *k)
{
    const struct rtnl_route *routes;
    size_t n = kernel_table(k, AF_INET, RT_TABLE_LOCAL, &routes);
    int r = 0;

    for (size_t i = 0; r == 0 && i < k->n_addrs; i++)
        if (k->addrs[i].local.family == AF_INET)
            r = add_source(c, bounds, seen, &k->addrs[i].local);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (routes[i].type != RTN_LOCAL)
            continue;
        r = add_source(c, bounds, seen, &routes[i].dst.addr);
        for (size_t j = 0; r == 0 && j < bounds->n; j++)
            if (ip_prefix_contains(&routes[i].dst, &bounds->items[j]))
                r = add_source(c, bounds, seen, &bounds->items[j]);
    }
    return r;
}

/* IPv6: any address but multicast ones (IPV6_FREEBIND). */
static int add_free_sources(struct addr_classes *c, const struct addr_classes *bounds, bool *seen)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < bounds->n; i++)
        if (!ip_addr_is_any(&bounds->items[i]) && !ip_addr_is_multicast(&bounds->items[i]))
            r = add_source(c, bounds, seen, &bounds->items[i]);
    return r;
}

int classes_of_sources(const struct kernel *k, int family, const struct rtnl_rule *rules, size_t n,
                       struct addr_classes *ret)
{
    struct addr_classes c = { 0 }, bounds = { 0 };
    _cleanup_free_ bool *seen = NULL;
    int r = ARRAY_PUSH(c.items, c.n, c.cap, ((struct ip_addr){ 0 }));

    if (r == 0)
        r = source_bounds(k, family, rules, n, &bounds);
    if (r == 0 && bounds.n > 0) {
        seen = calloc(bounds.n, sizeof(*seen));
        r = !seen                ? -ENOMEM
            : family == AF_INET6 ? add_free_sources(&c, &bounds, seen)
                                 : add_own_sources(&c, &bounds, seen, k);
    }
    free(bounds.items);
    if (r < 0) {
        free(c.items);
        return r;
    }
    sort_addrs(&c);
    *ret = c;
    return 0;
}

void classes_of_tos(const struct kernel *k, int family, const struct rtnl_rule *rules, size_t n,
                    struct tos_classes *ret)
{
    bool seen[256] = { [0] = true };

    for (size_t i = 0; family == AF_INET && i < n; i++) {
        const struct rtnl_route *routes = NULL;
        size_t n_routes = 0;

        if (rules[i].action == FR_ACT_TO_TBL)
            n_routes = kernel_table(k, family, rules[i].table, &routes);
        for (size_t j = 0; j < n_routes; j++)
            seen[routes[j].tos] = true;
    }
    ret->n = 0;
    for (unsigned tos = 0; tos < ELEMENTSOF(seen); tos++)
        if (seen[tos])
            ret->items[ret->n++] = (uint8_t)tos;
}

struct mark_test {
    uint32_t value, mask;
};

/*
 * A partial choice: bits in `fixed` have the values of `value`; the tests before `next` are
 * settled, those in `avoid` not to match.
 */
struct mark_search {
    const struct mark_test *tests;
    size_t n_tests;
    struct mark_test avoid[64];
    size_t n_avoid;
    struct mark_classes *out;
};

/* Finds a mark with the fixed bits that matches none of avoid[i …]. Bits not decided are 0. */
static bool satisfy(const struct mark_search *s, uint32_t value, uint32_t fixed, uint32_t *ret)
{
    size_t i = 0;

    while (i < s->n_avoid && (value & s->avoid[i].mask) != s->avoid[i].value)
        i++;
    if (i == s->n_avoid) {
        *ret = value;
        return true;
    }
    /* some bit of the test must differ: try each that is still free */
    for (uint32_t free_bits = s->avoid[i].mask & ~fixed; free_bits; free_bits &= free_bits - 1) {
        uint32_t bit = free_bits & -free_bits;

        if (satisfy(s, (value & ~bit) | (~s->avoid[i].value & bit), fixed | bit, ret))
            return true;
    }
    return false;
}

/* Settles test `i` both ways. */
static int search_marks(struct mark_search *s, size_t i, uint32_t value, uint32_t fixed)
{
    uint32_t mark;
    int r = 0;

    if (!satisfy(s, value, fixed, &mark))
        return 0; /* no mark is like that */
    if (i == s->n_tests) {
        if (s->out->n == MARK_CLASSES_MAX)
            return -E2BIG;
        return ARRAY_PUSH(s->out->items, s->out->n, s->out->cap, mark);
    }

    const struct mark_test *test = &s->tests[i];
    if (((value ^ test->value) & fixed & test->mask) == 0)
        r = search_marks(s, i + 1, (value & ~test->mask) | test->value, fixed | test->mask);
    if (r < 0)
        return r;
    s->avoid[s->n_avoid++] = *test;
    r = search_marks(s, i + 1, value, fixed);
    s->n_avoid--;
    return r;
}

int classes_of_marks(const struct rtnl_rule *rules, size_t n, uint32_t never,
                     struct mark_classes *ret)
{
    struct mark_classes out = { 0 };
    struct mark_test tests[64];
    struct mark_search s = { .tests = tests, .out = &out };
    int r;

    for (size_t i = 0; i < n; i++) {
        struct mark_test test = { rules[i].fwmark & rules[i].fwmask, rules[i].fwmask };
        size_t j = 0;

        if (test.mask == 0)
            continue; /* asks for none */
        while (j < s.n_tests && (tests[j].value != test.value || tests[j].mask != test.mask))
            j++;
        if (j < s.n_tests)
            continue;
        if (s.n_tests == ELEMENTSOF(tests))
            return -E2BIG;
        tests[s.n_tests++] = test;
    }
    r = search_marks(&s, 0, 0, never);
    if (r < 0) {
        free(out.items);
        return r;
    }
    *ret = out;
    return 0;
}

/* Does the rule look at something that no class covers? */
static bool may_match(const struct rtnl_rule *rule)
{
    const struct rtnl_rule_extra *x = &rule->extra;

    return x->tos || x->ip_proto || x->sport[1] || x->dport[1] || x->l3mdev || x->other ||
           x->suppress_ifgroup != UINT32_MAX;
}

struct rtnl_rule classes_unconditional_rule(const struct rtnl_rule *rule)
{
    struct rtnl_rule all = rtnl_rule_empty(rule->family);

    all.action = rule->action;
    all.priority = rule->priority;
    all.table = rule->table;
    all.extra.target = rule->extra.target;
    all.extra.suppress_prefix_len = rule->extra.suppress_prefix_len;
    all.extra.suppress_ifgroup = rule->extra.suppress_ifgroup;
    return all;
}

struct rtnl_rule classes_idle_rule(const struct rtnl_rule *rule)
{
    struct rtnl_rule idle = rtnl_rule_empty(rule->family);

    idle.action = FR_ACT_NOP;
    idle.priority = rule->priority;
    return idle;
}

/* The rule as it is for a packet that it does match. */
static struct rtnl_rule matching(const struct rtnl_rule *rule)
{
    struct rtnl_rule r = *rule;

    if (r.flags & FIB_RULE_INVERT) /* `not (a and b)` matches when either fails: assume it does */
        r = classes_unconditional_rule(rule);
    r.extra.tos = 0;
    r.extra.ip_proto = 0;
    memset(r.extra.sport, 0, sizeof(r.extra.sport));
    memset(r.extra.dport, 0, sizeof(r.extra.dport));
    r.extra.l3mdev = false;
    r.extra.other = false;
    r.extra.suppress_ifgroup = UINT32_MAX;
    return r;
}

/*
 * The rules with those of the list `gotos` that are set in `taken`, and number `which`, matching;
 * the others that may match do not. They stay as places that a goto can lead to.
 */
static int add_variant(const struct rtnl_rule *rules, size_t n, const size_t *gotos, unsigned taken,
                       size_t which, struct rule_variants *v)
{
    struct rule_variant variant = { .n = n };
    int r;

    variant.rules = reallocarray(NULL, n + 1, sizeof(*rules));
    if (!variant.rules)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        variant.rules[i] = !may_match(&rules[i]) ? rules[i]
                           : i == which          ? matching(&rules[i])
                                                 : classes_idle_rule(&rules[i]);
    for (size_t i = 0; taken >> i; i++)
        if (taken >> i & 1)
            variant.rules[gotos[i]] = matching(&rules[gotos[i]]);
    r = ARRAY_PUSH(v->items, v->n, v->cap, variant);
    if (r < 0)
        free(variant.rules);
    return r;
}

int variants_build(const struct rtnl_rule *rules, size_t n, struct rule_variants *ret)
{
    struct rule_variants v = { 0 };
    size_t gotos[VARIANT_GOTOS_MAX], n_gotos = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        if (!may_match(&rules[i]) || rules[i].action != FR_ACT_GOTO)
            continue;
        if (n_gotos == ELEMENTSOF(gotos))
            return -E2BIG;
        gotos[n_gotos++] = i;
    }
    for (unsigned taken = 0; taken < 1U << n_gotos; taken++) {
        r = r == 0 ? add_variant(rules, n, gotos, taken, n, &v) : r;
        for (size_t i = 0; r == 0 && i < n; i++)
            if (may_match(&rules[i]) && rules[i].action != FR_ACT_GOTO)
                r = add_variant(rules, n, gotos, taken, i, &v);
    }
    if (r < 0) {
        variants_done(&v);
        return r;
    }
    *ret = v;
    return 0;
}

void variants_done(struct rule_variants *v)
{
    for (size_t i = 0; i < v->n; i++)
        free(v->items[i].rules);
    free(v->items);
    *v = (struct rule_variants){ 0 };
}
