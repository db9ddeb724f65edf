/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/store-records.h"

#include <errno.h>
#include <stdio.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "daemon/store-vpn.h"
#include "wire/words.h"

/* What commands made: the configuration and the interfaces are read anew at each start. */
static bool is_stored(enum origin origin)
{
    return origin == ORIGIN_COMMAND || origin == ORIGIN_RUNTIME;
}

/* Reading. */

static int bad(struct why *why, const char *what, const char *word)
{
    return why_set(why, -EINVAL, "'%.60s' is no %s", word, what);
}

static int parse_origin(const char *word, enum origin *ret, struct why *why)
{
    int origin = origin_from_string(word);

    if (origin < 0 || !is_stored((enum origin)origin))
        return bad(why, "origin of what stands in this file", word);
    *ret = (enum origin)origin;
    return 0;
}

static int parse_netid(const char *word, uint32_t *ret, struct why *why)
{
    return parse_u32(word, NETID_MAX, ret) < 0 || *ret == 0 ? bad(why, "netId", word) : 0;
}

static int apply_known(struct model *m, const char *const *w, size_t n, struct why *why)
{
    uint32_t netid;

    (void)n;
    if (network_name_check(w[1], why) < 0 || parse_netid(w[2], &netid, why) < 0)
        return -EINVAL;
    return model_know_netid(m, w[1], netid);
}

static int set_dns(struct network *n, const char *word, struct why *why)
{
    struct ip_addr addr;
    int r;

    if (ip_addr_parse(word, &addr) < 0)
        return bad(why, "address", word);
    r = network_add_dns(n, &addr);
    return r == -E2BIG ? bad(why, "server that there is room for", word) : r;
}

static int set_domain(struct network *n, const char *word, struct why *why)
{
    int r = network_domain_check(word, why);

    if (r == 0)
        r = network_add_domain(n, word);
    return r == -E2BIG ? bad(why, "domain that there is room for", word) : r;
}

static int set_outside(struct network *n, const char *word, struct why *why)
{
    return network_read_outside(n, word, why);
}

static int set_interface(struct network *n, const char *word, struct why *why)
{
    int r = network_add_interface(n, word);

    return r == -ENAMETOOLONG || r == -EEXIST ? bad(why, "interface", word) : r;
}

static int set_permission(struct network *n, const char *word, struct why *why)
{
    int permission = permission_from_string(word);

    if (permission < 0)
        return bad(why, "permission", word);
    n->permission = (enum permission)permission;
    return 0;
}

static int set_flags(struct network *n, const char *word, struct why *why)
{
    uint32_t flags;

    if (parse_u32(word, 31, &flags) < 0)
        return bad(why, "set of flags", word);
    n->secure = flags & 1;
    n->has_dns = flags & 2;
    n->exclude_local = flags & 4;
    n->fall_through = flags & 8;
    n->lockdown = flags & 16;
    return 0;
}

static int set_resolver(struct network *n, const char *word, struct why *why)
{
    enum { PARTS = 4 };
    uint32_t v[PARTS];
    char text[64], *part = text;

    if (!str_set(text, sizeof(text), word))
        return bad(why, "resolver setting", word);
    for (size_t i = 0; i < PARTS; i++) {
        char *comma = strchr(part, ',');

        if ((comma != NULL) != (i + 1 < PARTS))
            return bad(why, "resolver setting", word);
        if (comma)
            *comma = '\0';
        if (parse_u32(part, i == 0 ? UINT16_MAX : UINT8_MAX, &v[i]) < 0)
            return bad(why, "resolver setting", word);
        part = comma ? comma + 1 : part;
    }
    n->resolver =
        (struct resolver_params){ (uint16_t)v[0], (uint8_t)v[1], (uint8_t)v[2], (uint8_t)v[3] };
    return 0;
}

static const struct {
    const char *word;
    int (*set)(struct network *n, const char *word, struct why *why);
} properties[] = {
    { "interface", set_interface },   { "dns", set_dns },     { "domain", set_domain },
    { "permission", set_permission }, { "flags", set_flags }, { "resolver", set_resolver },
    { "outside", set_outside },
};

static int apply_network(struct model *m, const char *const *w, size_t n, struct why *why)
{
    _cleanup_(network_unrefp) struct network *network = network_new();
    int type = network_type_from_string(w[3]);

    (void)n;
    if (!network)
        return -ENOMEM;
    if (type < 0)
        return bad(why, "network's type", w[3]);
    if (parse_origin(w[4], &network->origin, why) < 0)
        return -EINVAL;
    if (parse_netid(w[1], &network->netid, why) < 0 || network_name_check(w[2], why) < 0)
        return -EINVAL;
    (void)str_set(network->name, sizeof(network->name), w[2]);
    network->type = (enum network_type)type;
    return model_put_network(m, TAKE_PTR(network));
}

/* The network of a record's second word, which the same commit has just made. */
static int own_network(struct model *m, const char *word, struct network **ret, struct why *why)
{
    uint32_t netid;

    if (parse_netid(word, &netid, why) < 0)
        return -EINVAL;
    *ret = model_network(m, netid);
    return *ret ? 0 : bad(why, "network in this file", word);
}

static int apply_property(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct network *network;
    int r = own_network(m, w[1], &network, why);

    (void)n;
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(properties); i++)
        if (streq(properties[i].word, w[2]))
            return properties[i].set(network, w[3], why);
    return bad(why, "property of a network", w[2]);
}

static int apply_route(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct route_spec route;
    struct network *network;
    int r = own_network(m, w[1], &network, why);

    if (r == 0)
        r = route_spec_parse(w + 2, n - 2, &route, why);
    if (r < 0)
        return r;
    r = network_add_route(network, &route);
    return r == -EEXIST ? bad(why, "route that is not there already", w[2]) : r;
}

static int apply_users(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct uid_range range;
    struct network *network;
    int r = own_network(m, w[1], &network, why);

    (void)n;
    if (r == 0 && uid_range_parse(w[2], 10, &range) < 0)
        r = bad(why, "range of uids", w[2]);
    return r < 0 ? r : network_add_user(network, range);
}

static int apply_network_remove(struct model *m, const char *const *w, size_t n, struct why *why)
{
    uint32_t netid;

    (void)n;
    if (parse_netid(w[1], &netid, why) < 0)
        return -EINVAL;
    model_drop_network(m, netid);
    return 0;
}

/*
 * While a journal is read, the table of assignments is not sorted: entries stand in the order of
 * their lines, `line` says which came later, and one of strength STRENGTH_MAX takes back what stands
 * before it. store_records_finish() makes a table of it. So reading n lines costs n log n.
 */
static int push_in_turn(struct assignments *table, struct assignment *a)
{
    a->line = (uint32_t)table->n;
    return assignments_push(table, a);
}

static int apply_assign(struct model *m, const char *const *w, size_t n, struct why *why)
{
    int strength = strength_from_string(w[3]);
    bool none = streq(w[2], "none");
    struct assignment a = { 0 };

    (void)n;
    if (strength < 0 || (none && strength == STRENGTH_PREFER))
        return bad(why, none ? "strength of an assignment to none" : "strength", w[3]);
    if (parse_origin(w[4], &a.origin, why) < 0 ||
        (!none && !streq(w[2], "default") && network_name_check(w[2], why) < 0) ||
        selector_parse(w[1], &a.selector, why) < 0)
        return -EINVAL;
    a.strength = (enum strength)strength;
    if (assignment_set_target(&a, w[2]) < 0) {
        assignment_done(&a);
        return -ENOMEM;
    }
    a.network = model_intern_name(m, a.network);
    return push_in_turn(m->assignments, &a);
}

static int apply_unassign(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct assignment a = { .strength = STRENGTH_MAX };

    (void)n;
    if (selector_parse(w[1], &a.selector, why) < 0)
        return -EINVAL;
    return push_in_turn(m->assignments, &a);
}

/* "3001,3005-3010". 0, -EINVAL, -ENOMEM. */
static int parse_uids(const char *word, struct uid_set **ret, struct why *why)
{
    _cleanup_free_ struct uid_range *ranges = NULL;
    _cleanup_free_ char *text = strdup(word);
    size_t n = 0, cap = 0;
    char *part, *rest = text;

    if (!text)
        return -ENOMEM;
    while ((part = strsep(&rest, ","))) {
        struct uid_range range;

        if (uid_range_parse(part, 10, &range) < 0)
            return bad(why, "list of uids", word);
        if (ARRAY_PUSH(ranges, n, cap, range) < 0)
            return -ENOMEM;
    }
    *ret = uid_set_new(ranges, n);
    return *ret ? 0 : -ENOMEM;
}

static int apply_uids(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct assignment a = { .strength = STRENGTH_MAX };
    int r = 0;

    (void)n;
    if (selector_parse(w[1], &a.selector, why) < 0)
        return -EINVAL;
    if (a.selector.kind != SELECTOR_USER && a.selector.kind != SELECTOR_GROUP)
        r = bad(why, "user or group", w[1]);
    else if (!streq(w[2], "none")) {
        a.strength = STRENGTH_REQUIRE;
        r = parse_uids(w[2], &a.uids, why);
    }
    if (r < 0) {
        assignment_done(&a);
        return r;
    }
    return push_in_turn(m->last_uids, &a);
}

static void finish_table(struct assignments *all)
{
    size_t out = 0, twice;

    (void)assignments_sort(all, &twice);
    for (size_t i = 0; i < all->n; i++) {
        struct assignment *a = &all->items[i];
        bool last =
            i + 1 == all->n || selector_compare(&a->selector, &all->items[i + 1].selector) != 0;

        if (!last || a->strength == STRENGTH_MAX) {
            assignment_done(a);
            continue;
        }
        a->line = 0;
        all->items[out++] = *a;
    }
    all->n = out;
}

void store_records_finish(struct model *m)
{
    finish_table(m->assignments);
    finish_table(m->last_uids);
    store_finish_vpns(m);
}

static int apply_default(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct rstr *name = NULL;

    (void)n;
    if (!streq(w[1], "system")) {
        if (network_name_check(w[1], why) < 0)
            return -EINVAL;
        name = rstr_new(w[1]);
        if (!name)
            return -ENOMEM;
    }
    rstr_unref(m->default_network);
    m->default_network = name;
    return 0;
}

static int apply_permission(struct model *m, const char *const *w, size_t n, struct why *why)
{
    int permission = permission_from_string(w[2]);
    uint32_t uid;

    (void)n;
    if (permission < 0 || parse_u32(w[1], UID_MAX, &uid) < 0)
        return bad(why, "uid or permission", permission < 0 ? w[2] : w[1]);
    return model_set_user_permission(m, uid, (enum permission)permission);
}

static int parse_yes(const char *word, bool *ret, struct why *why)
{
    if (!streq(word, "yes") && !streq(word, "no"))
        return bad(why, "yes or no", word);
    *ret = word[0] == 'y';
    return 0;
}

static int apply_protect(struct model *m, const char *const *w, size_t n, struct why *why)
{
    uint32_t uid;
    bool yes;

    (void)n;
    if (parse_yes(w[2], &yes, why) < 0)
        return -EINVAL;
    if (parse_u32(w[1], UID_MAX, &uid) < 0)
        return bad(why, "uid", w[1]);
    return model_set_protectable(m, uid, yes);
}

static int apply_legacy(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct legacy_route legacy = { .system = streq(w[2], "system") };
    bool yes;
    size_t i;

    if (parse_yes(w[1], &yes, why) < 0)
        return -EINVAL;
    if (!legacy.system && !streq(w[2], "network"))
        return bad(why, "kind of legacy route", w[2]);
    if (route_spec_parse(w + 3, n - 3, &legacy.route, why) < 0)
        return -EINVAL;

    i = model_find_legacy(m, &legacy.route, legacy.system);
    if (yes == (i < m->n_legacy))
        return 0;
    if (yes)
        return ARRAY_PUSH(m->legacy, m->n_legacy, m->cap_legacy, legacy);
    m->n_legacy--;
    memmove(m->legacy + i, m->legacy + i + 1, (m->n_legacy - i) * sizeof(*m->legacy));
    return 0;
}

static const struct {
    const char *word;
    size_t min, max; /* words, the first one included */
    int (*apply)(struct model *m, const char *const *w, size_t n, struct why *why);
} records[] = {
    { "known", 3, 3, apply_known },
    { "network", 5, 5, apply_network },
    { "property", 4, 4, apply_property },
    { "route", 3, 12, apply_route },
    { "users", 3, 3, apply_users },
    { "network-remove", 2, 2, apply_network_remove },
    { "assign", 5, 5, apply_assign },
    { "unassign", 2, 2, apply_unassign },
    { "uids", 3, 3, apply_uids },
    { "default", 2, 2, apply_default },
    { "permission", 3, 3, apply_permission },
    { "protect", 3, 3, apply_protect },
    { "legacy", 4, 12, apply_legacy },
    { "vpn", 4, 4, store_apply_vpn },
    { "vpn-set", 4, 4, store_apply_vpn_set },
    { "vpn-route", 3, 4, store_apply_vpn_route },
    { "vpn-remove", 2, 2, store_apply_vpn_remove },
    { "vpn-consent", 3, 3, store_apply_vpn_consent },
};

int store_record_apply(struct model *m, const char *const *words, size_t n, struct why *why)
{
    for (size_t i = 0; i < ELEMENTSOF(records); i++) {
        if (!streq(records[i].word, words[0]))
            continue;
        if (n < records[i].min || n > records[i].max)
            return why_set(why, -EINVAL, "a '%s' line has %zu to %zu words", words[0],
                           records[i].min, records[i].max);
        return records[i].apply(m, words, n, why);
    }
    return bad(why, "kind of line", words[0]);
}

/* Writing. */

static void end_line(struct strbuf *b)
{
    strbuf_add_char(b, '\n');
}

static void add_number(struct strbuf *b, uint32_t number)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", number);
    words_add(b, text);
}

static void add_pair(struct strbuf *b, const char *word, const char *value)
{
    words_add(b, word);
    words_add(b, value);
}

/* Word by word: an interface's name may hold anything. */
static void add_route(struct strbuf *b, const struct route_spec *route)
{
    char text[IP_TEXT_MAX];

    words_add(b, ip_prefix_format(&route->dst, text));
    if (route->kind != ROUTE_UNICAST)
        words_add(b, route->kind == ROUTE_THROW ? "throw" : "unreachable");
    if (ip_addr_is_set(&route->gateway))
        add_pair(b, "via", ip_addr_format(&route->gateway, text));
    if (route->interface[0])
        add_pair(b, "dev", route->interface);
    if (route->mtu) {
        words_add(b, "mtu");
        add_number(b, route->mtu);
    }
    end_line(b);
}

static void add_property(struct strbuf *b, const struct network *n, const char *word,
                         const char *value)
{
    words_add(b, "property");
    add_number(b, n->netid);
    add_pair(b, word, value);
    end_line(b);
}

static void add_properties(struct strbuf *b, const struct network *n)
{
    static const struct resolver_params defaults = { 0 };
    unsigned flags = (n->secure ? 1U : 0) | (n->has_dns ? 2U : 0) | (n->exclude_local ? 4U : 0) |
                     (n->fall_through ? 8U : 0) | (n->lockdown ? 16U : 0);
    char text[IP_TEXT_MAX];

    if (n->permission)
        add_property(b, n, "permission", permission_to_string(n->permission));
    if (flags) {
        snprintf(text, sizeof(text), "%u", flags);
        add_property(b, n, "flags", text);
    }
    for (size_t i = 0; i < n->n_interfaces; i++)
        add_property(b, n, "interface", n->interfaces[i]);
    for (size_t i = 0; i < n->n_outside; i++)
        add_property(b, n, "outside", ip_prefix_format(&n->outside[i], text));
    for (size_t i = 0; i < n->n_dns; i++)
        add_property(b, n, "dns", ip_addr_format(&n->dns[i], text));
    for (size_t i = 0; i < n->n_domains; i++)
        add_property(b, n, "domain", n->domains[i]->s);
    if (memcmp(&n->resolver, &defaults, sizeof(defaults)) != 0) {
        snprintf(text, sizeof(text), "%u,%u,%u,%u", n->resolver.sample_validity,
                 n->resolver.success_threshold, n->resolver.min_samples, n->resolver.max_samples);
        add_property(b, n, "resolver", text);
    }
}

static void add_network(struct strbuf *b, const struct network *n)
{
    words_add(b, "network");
    add_number(b, n->netid);
    words_add(b, n->name);
    add_pair(b, network_type_to_string(n->type), origin_to_string(n->origin));
    end_line(b);

    add_properties(b, n);
    for (size_t i = 0; i < n->n_routes; i++) {
        words_add(b, "route");
        add_number(b, n->netid);
        add_route(b, &n->routes[i]);
    }
    for (size_t i = 0; i < n->n_users; i++) {
        strbuf_add(b, "users %u %u-%u\n", n->netid, n->users[i].lo, n->users[i].hi);
    }
}

static void diff_networks(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0; i < old->n_networks; i++) {
        const struct network *o = old->networks[i], *n = model_network(new, o->netid);

        if (is_stored(o->origin) && !(n && is_stored(n->origin)))
            strbuf_add(b, "network-remove %u\n", o->netid);
    }
    for (size_t i = 0; i < new->n_networks; i++) {
        const struct network *n = new->networks[i], *o = model_network(old, n->netid);

        if (is_stored(n->origin) && n != o)
            add_network(b, n);
    }
}

static void add_assignment(struct strbuf *b, const struct assignment *a, bool put)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;

    selector_print(&a->selector, &selector);
    add_pair(b, put ? "assign" : "unassign", strbuf_text(&selector));
    if (put) {
        words_add(b, assignment_target(a));
        add_pair(b, strength_to_string(a->strength), origin_to_string(a->origin));
    }
    end_line(b);
}

/* Both tables are sorted by selector: one pass. */
static void diff_assignments(const struct assignments *old, const struct assignments *new,
                             struct strbuf *b)
{
    struct assignments_walk w = { .a = old, .b = new };
    const struct assignment *o, *n;

    while (old != new &&assignments_next(&w, &o, &n)) {
        bool o_stored = o && is_stored(o->origin);
        bool n_stored = n && is_stored(n->origin);

        if (o_stored && !n_stored)
            add_assignment(b, o, false);
        if (n_stored && !(o_stored && o->network == n->network && o->strength == n->strength &&
                          o->origin == n->origin))
            add_assignment(b, n, true);
    }
}

/* `uids` NULL: none any more. */
static void add_uids(struct strbuf *b, const struct selector *selector, const struct uid_set *uids)
{
    _cleanup_strbuf_ struct strbuf name = STRBUF_INIT;
    char text[UID_RANGE_TEXT_MAX];

    selector_print(selector, &name);
    add_pair(b, "uids", strbuf_text(&name));
    strbuf_add(b, "%s", uids ? "" : " none");
    for (size_t i = 0; uids && i < uids->n; i++)
        strbuf_add(b, "%c%s", i ? ',' : ' ', uid_range_format(&uids->ranges[i], text));
    end_line(b);
}

static void diff_last_uids(const struct assignments *old, const struct assignments *new,
                           struct strbuf *b)
{
    struct assignments_walk w = { .a = old, .b = new };
    const struct assignment *o, *n;

    while (old != new &&assignments_next(&w, &o, &n)) {
        if (!n)
            add_uids(b, &o->selector, NULL);
        else if (!o || !uid_set_equal(o->uids, n->uids))
            add_uids(b, &n->selector, n->uids);
    }
}

static void diff_users(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0; i < new->n_permissions; i++) {
        enum permission before;

        if (model_user_permission(old, new->permissions[i].uid, &before) < 0 ||
            before != new->permissions[i].permission)
            strbuf_add(b, "permission %u %s\n", new->permissions[i].uid,
                       permission_to_string(new->permissions[i].permission));
    }
    for (size_t i = 0; i < new->n_protectable; i++)
        if (!model_is_protectable(old, new->protectable[i]))
            strbuf_add(b, "protect %u yes\n", new->protectable[i]);
    for (size_t i = 0; i < old->n_protectable; i++)
        if (!model_is_protectable(new, old->protectable[i]))
            strbuf_add(b, "protect %u no\n", old->protectable[i]);
}

static void add_legacy(struct strbuf *b, const struct legacy_route *legacy, bool yes)
{
    strbuf_add(b, "legacy %s %s", yes ? "yes" : "no", legacy->system ? "system" : "network");
    add_route(b, &legacy->route);
}

static void diff_legacy(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0; i < old->n_legacy; i++)
        if (model_find_legacy(new, &old->legacy[i].route, old->legacy[i].system) == new->n_legacy)
            add_legacy(b, &old->legacy[i], false);
    for (size_t i = 0; i < new->n_legacy; i++)
        if (model_find_legacy(old, &new->legacy[i].route, new->legacy[i].system) == old->n_legacy)
            add_legacy(b, &new->legacy[i], true);
}

/* Names are only added, and both lists are sorted by name. */
static void diff_known(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0, j = 0; j < new->n_known; j++) {
        const struct known_netid *n = &new->known[j];

        while (i < old->n_known && strcmp(old->known[i].name->s, n->name->s) < 0)
            i++;
        if (i < old->n_known && streq(old->known[i].name->s, n->name->s) &&
            old->known[i].netid == n->netid)
            continue;
        add_pair(b, "known", n->name->s);
        add_number(b, n->netid);
        end_line(b);
    }
}

void store_records_diff(const struct model *old, const struct model *new, struct strbuf *b)
{
    const char *old_default = old->default_source ? NULL : rstr_text(old->default_network);
    const char *new_default = new->default_source ? NULL : rstr_text(new->default_network);

    diff_known(old, new, b);
    diff_networks(old, new, b);
    diff_assignments(old->assignments, new->assignments, b);
    diff_last_uids(old->last_uids, new->last_uids, b);
    if (new_default && (!old_default || !streq(old_default, new_default)))
        strbuf_add(b, "default %s\n", *new_default ? new_default : "system");
    diff_users(old, new, b);
    diff_legacy(old, new, b);
    store_diff_vpns(old, new, b);
}
