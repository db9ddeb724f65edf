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
        { "0.0.0.0/0", "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "224.0.0.0/24",
          "255.255.255.255/32" },
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
        const struct rtnl_route *routes;
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

/* An address that a socket could have as its source and that lies in the prefix. */
static bool source_in(const struct kernel *k, const struct ip_prefix *p, struct ip_addr *ret)
{
    for (size_t i = 0; i < k->n_addrs; i++)
        if (ip_prefix_contains(p, &k->addrs[i].local)) {
            *ret = k->addrs[i].local;
            return true;
        }
    *ret = p->addr;
    return p->addr.family == AF_INET6; /* IPV6_FREEBIND */
}

static int add_source(struct addr_classes *c, const struct kernel *k, const struct ip_prefix *p)
{
    struct ip_addr addr;

    if (p->addr.family == AF_UNSPEC || !source_in(k, p, &addr))
        return 0;
    return ARRAY_PUSH(c->items, c->n, c->cap, addr);
}

int classes_of_sources(const struct kernel *k, int family, const struct rtnl_rule *rules, size_t n,
                       struct addr_classes *ret)
{
    struct addr_classes c = { 0 };
    int r = ARRAY_PUSH(c.items, c.n, c.cap, ((struct ip_addr){ 0 }));

    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct rtnl_route *routes;
        size_t n_routes = 0;

        r = add_source(&c, k, &rules[i].extra.src);
        if (rules[i].action == FR_ACT_TO_TBL)
            n_routes = kernel_table(k, family, rules[i].table, &routes);
        for (size_t j = 0; r == 0 && j < n_routes; j++)
            r = add_source(&c, k, &routes[j].src);
    }
    if (r < 0) {
        free(c.items);
        return r;
    }
    sort_addrs(&c);
    *ret = c;
    return 0;
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

        /*
         * a rule whose mark has bits outside its mask never matches; one without mask always does
         */
        if (test.mask == 0 || test.value != rules[i].fwmark)
            continue;
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

    return x->tos || x->ip_proto || x->sport[1] || x->dport[1] || x->l3mdev || x->other;
}

/* The rule as it is for a packet that it does match. */
static struct rtnl_rule matching(const struct rtnl_rule *rule)
{
    struct rtnl_rule r = *rule;

    r.extra.tos = 0;
    r.extra.ip_proto = 0;
    memset(r.extra.sport, 0, sizeof(r.extra.sport));
    memset(r.extra.dport, 0, sizeof(r.extra.dport));
    r.extra.l3mdev = false;
    r.extra.other = false;
    if (r.flags & FIB_RULE_INVERT) {
        /* `not (a and b)` matches when either fails: assume it does */
        struct rtnl_rule all = rtnl_rule_empty(r.family);

        all.action = r.action;
        all.priority = r.priority;
        all.table = r.table;
        all.extra.target = r.extra.target;
        all.extra.suppress_prefix_len = r.extra.suppress_prefix_len;
        return all;
    }
    return r;
}

/* The rules with only number `which` of those that may match; n = none of them. */
static int add_variant(const struct rtnl_rule *rules, size_t n, size_t which,
                       struct rule_variants *v)
{
    struct rule_variant variant = { .rules = reallocarray(NULL, n + 1, sizeof(*rules)) };
    int r;

    if (!variant.rules)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!may_match(&rules[i]))
            variant.rules[variant.n++] = rules[i];
        else if (i == which)
            variant.rules[variant.n++] = matching(&rules[i]);
    r = ARRAY_PUSH(v->items, v->n, v->cap, variant);
    if (r < 0)
        free(variant.rules);
    return r;
}

int variants_build(const struct rtnl_rule *rules, size_t n, struct rule_variants *ret)
{
    struct rule_variants v = { 0 };
    int r = add_variant(rules, n, n, &v);

    for (size_t i = 0; r == 0 && i < n; i++)
        if (may_match(&rules[i]))
            r = add_variant(rules, n, i, &v);
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
