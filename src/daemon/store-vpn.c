/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/store-vpn.h"

#include <errno.h>
#include <stdio.h>

#include "basic/parse.h"
#include "wire/words.h"

/*
 * Of a VPN of the configuration only how it is stands here: a stub, which config_apply() finds and makes
 * whole. One that is as it was when the machine came up has none.
 */

/* Bits of the `flags` and `config` values: a file may be read by a later version. */
enum {
    FLAG_EVERYONE = 1 << 0,
    FLAG_LOCKDOWN = 1 << 1,
    FLAG_ALWAYS_ON = 1 << 2,
    FLAG_BYPASS = 1 << 3,
    FLAG_FALL_THROUGH = 1 << 4,
    FLAG_DOWN = 1 << 5,
    FLAG_ESTABLISHED = 1 << 6,
    FLAG_FORWARD = 1 << 7,
    FLAGS_STATE = FLAG_DOWN | FLAG_ESTABLISHED,
    FLAGS_ALL = (1 << 8) - 1,
};

enum {
    CONFIG_BYPASSABLE = 1 << 0,
    CONFIG_BLOCKING = 1 << 1,
    CONFIG_OFFLOADS = 1 << 2,
    CONFIG_UNDERLYING = 1 << 3,
    CONFIG_ALL = (1 << 4) - 1,
};

/* Is there something to be said of it? */
static bool is_stored(const struct vpn *v)
{
    return v->origin != ORIGIN_CONFIG || v->down || v->established || v->owner_uid != UID_INVALID ||
           (v->kind == VPN_SERVICE && (v->n_interfaces > 0 || v->config)) ||
           (v->has_owner && v->owner.kind == SELECTOR_USER && v->owner_resolved != UID_INVALID);
}

/* Reading. */

static int bad(struct why *why, const char *what, const char *word)
{
    return why_set(why, -EINVAL, "'%.60s' is no %s", word, what);
}

/* What is too much for a setter is damage here. */
static int damage(int r)
{
    return r == -ENOMEM || r == 0 ? r : -EINVAL;
}

static int parse_uid(const char *word, uint32_t *ret, struct why *why)
{
    return parse_u32(word, UID_MAX, ret) < 0 ? bad(why, "uid", word) : 0;
}

static int set_owner(struct vpn *v, const char *word, struct why *why)
{
    struct selector owner;
    int r = selector_parse(word, &owner, why);

    if (r < 0)
        return r;
    selector_done(&v->owner);
    v->owner = owner;
    v->has_owner = true;
    return 0;
}

static int set_owner_is(struct vpn *v, const char *word, struct why *why)
{
    return parse_uid(word, &v->owner_resolved, why);
}

static int set_uid(struct vpn *v, const char *word, struct why *why)
{
    return parse_uid(word, &v->owner_uid, why);
}

static int set_flags(struct vpn *v, const char *word, struct why *why)
{
    uint32_t flags;

    if (parse_u32(word, FLAGS_ALL, &flags) < 0 ||
        (v->origin == ORIGIN_CONFIG && flags & ~(unsigned)FLAGS_STATE))
        return bad(why, "set of flags", word);
    v->everyone = flags & FLAG_EVERYONE;
    v->lockdown = flags & FLAG_LOCKDOWN;
    v->always_on = flags & FLAG_ALWAYS_ON;
    v->bypass = flags & FLAG_BYPASS;
    v->fall_through = flags & FLAG_FALL_THROUGH;
    v->forward = flags & FLAG_FORWARD;
    v->down = flags & FLAG_DOWN;
    v->established = flags & FLAG_ESTABLISHED;
    return 0;
}

static int set_app(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->allowed, word, why);
}

static int set_not_app(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->disallowed, word, why);
}

static int set_exempt(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->exempt, word, why);
}

static int set_lan(struct vpn *v, const char *word, struct why *why)
{
    return vpn_lan_add(&v->lan, &v->lan_prefixes, &v->n_lan_prefixes, word, why);
}

static int set_engine(struct vpn *v, const char *word, struct why *why)
{
    struct rstr *engine = rstr_new(word);

    (void)why;
    if (!engine)
        return -ENOMEM;
    rstr_unref(v->engine);
    v->engine = engine;
    return 0;
}

static int begin_config(struct vpn *v, const char *word, struct why *why)
{
    uint32_t flags;

    if (parse_u32(word, CONFIG_ALL, &flags) < 0)
        return bad(why, "set of flags", word);
    vpn_config_unref(v->config);
    v->config = vpn_config_new();
    if (!v->config)
        return -ENOMEM;
    v->config->bypassable = flags & CONFIG_BYPASSABLE;
    v->config->blocking = flags & CONFIG_BLOCKING;
    v->config->offloads = flags & CONFIG_OFFLOADS;
    v->config->underlying_set = flags & CONFIG_UNDERLYING;
    return 0;
}

/* Which VPNs of the configuration have a word, too; all others have it in any case. */
enum { STUB_NONE, STUB_SERVICE, STUB_ALL };

static const struct {
    const char *word;
    int stub;
    int (*set)(struct vpn *v, const char *word, struct why *why);
} profile_words[] = {
    { "owner", STUB_ALL, set_owner },
    { "owner-is", STUB_ALL, set_owner_is },
    { "uid", STUB_ALL, set_uid },
    { "flags", STUB_ALL, set_flags },
    { "app", STUB_NONE, set_app },
    { "not-app", STUB_NONE, set_not_app },
    { "exempt", STUB_NONE, set_exempt },
    { "lan", STUB_NONE, set_lan },
    { "engine", STUB_NONE, set_engine },
    { "interface", STUB_SERVICE, vpn_add_interface },
    { "config", STUB_SERVICE, begin_config },
};

static int set_mtu(struct vpn_config *c, const char *word, struct why *why)
{
    uint32_t mtu;

    return parse_u32(word, VPN_MTU_MAX, &mtu) < 0 ? bad(why, "MTU", word)
                                                  : vpn_config_set_mtu(c, mtu, why);
}

static int set_queues(struct vpn_config *c, const char *word, struct why *why)
{
    uint32_t queues;

    return parse_u32(word, VPN_QUEUES_MAX, &queues) < 0 ? bad(why, "number of queues", word)
                                                        : vpn_config_set_queues(c, queues, why);
}

static int set_metered(struct vpn_config *c, const char *word, struct why *why)
{
    uint32_t metered;

    if (parse_u32(word, VPN_METERED_NO, &metered) < 0)
        return bad(why, "choice of metered", word);
    c->metered = (enum vpn_metered)metered;
    return 0;
}

static int set_config_lan(struct vpn_config *c, const char *word, struct why *why)
{
    return vpn_lan_add(&c->lan, &c->lan_prefixes, &c->n_lan_prefixes, word, why);
}

static const struct {
    const char *word;
    int (*set)(struct vpn_config *c, const char *word, struct why *why);
} config_words[] = {
    { "session", vpn_config_set_session },
    { "mtu", set_mtu },
    { "address", vpn_config_add_address },
    { "dns", vpn_config_add_dns },
    { "domain", vpn_config_add_domain },
    { "allowed", vpn_config_allow },
    { "disallowed", vpn_config_disallow },
    { "family", vpn_config_allow_family },
    { "queues", set_queues },
    { "metered", set_metered },
    { "underlying", vpn_config_add_underlying },
    { "http-proxy", vpn_config_set_http_proxy },
    { "config-lan", set_config_lan },
};

int store_apply_vpn(struct model *m, const char *const *w, size_t n, struct why *why)
{
    _cleanup_(vpn_unrefp) struct vpn *v = vpn_new();
    int kind = vpn_kind_from_string(w[2]), origin = origin_from_string(w[3]);

    (void)n;
    if (!v)
        return -ENOMEM;
    if (network_name_check(w[1], why) < 0)
        return -EINVAL;
    if (kind < 0)
        return bad(why, "kind of VPN", w[2]);
    if (origin != ORIGIN_CONFIG && origin != ORIGIN_COMMAND && origin != ORIGIN_RUNTIME)
        return bad(why, "origin of a VPN", w[3]);
    (void)str_set(v->name, sizeof(v->name), w[1]);
    v->kind = (enum vpn_kind)kind;
    v->origin = (enum origin)origin;
    return model_put_vpn(m, TAKE_PTR(v));
}

/* The VPN of a record's second word, which the same commit has just made: nobody else has it yet. */
static int own_vpn(struct model *m, const char *word, struct vpn **ret, struct why *why)
{
    *ret = model_vpn(m, word);
    return *ret ? 0 : bad(why, "VPN in this file", word);
}

static bool has_word(const struct vpn *v, int stub)
{
    return v->origin != ORIGIN_CONFIG || stub == STUB_ALL ||
           (stub == STUB_SERVICE && v->kind == VPN_SERVICE);
}

int store_apply_vpn_set(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct vpn *v;
    int r = own_vpn(m, w[1], &v, why);

    (void)n;
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(profile_words); i++)
        if (streq(profile_words[i].word, w[2]) && has_word(v, profile_words[i].stub))
            return damage(profile_words[i].set(v, w[3], why));
    for (size_t i = 0; i < ELEMENTSOF(config_words); i++) {
        if (!streq(config_words[i].word, w[2]))
            continue;
        return v->config ? damage(config_words[i].set(v->config, w[3], why))
                         : bad(why, "property of a VPN without a configuration", w[2]);
    }
    return bad(why, "property of a VPN", w[2]);
}

int store_apply_vpn_route(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct vpn *v;
    int r = own_vpn(m, w[1], &v, why);

    if (r < 0)
        return r;
    if (!v->config)
        return bad(why, "VPN with a configuration", w[1]);
    if (n == 4 && !streq(w[3], "throw"))
        return bad(why, "kind of route", w[3]);
    return damage(n == 4 ? vpn_config_exclude_route(v->config, w[2], why)
                         : vpn_config_add_route(v->config, w[2], why));
}

int store_apply_vpn_remove(struct model *m, const char *const *w, size_t n, struct why *why)
{
    (void)n;
    (void)why;
    model_drop_vpn(m, w[1]);
    return 0;
}

int store_apply_vpn_consent(struct model *m, const char *const *w, size_t n, struct why *why)
{
    struct vpn_consent consent = { .everyone = streq(w[2], "everyone"), .uid = UID_INVALID };
    int r = selector_parse(w[1], &consent.who, why);
    size_t i;

    (void)n;
    if (r < 0)
        return r;
    if (consent.everyone || streq(w[2], "own"))
        return model_put_consent(m, &consent);
    i = model_find_consent(m, &consent.who);
    if (!streq(w[2], "none"))
        r = bad(why, "consent", w[2]);
    else if (i < m->n_consents && selector_compare(&m->consents[i].who, &consent.who) == 0)
        model_drop_consent(m, i);
    selector_done(&consent.who);
    return r;
}

void store_finish_vpns(struct model *m)
{
    for (size_t i = m->n_vpns; i-- > 0;)
        if (!is_stored(m->vpns[i]))
            model_drop_vpn(m, m->vpns[i]->name);
}

static int settle_after_boot(struct model *m, const struct vpn *v)
{
    struct vpn *c = vpn_copy(v);

    if (!c)
        return -ENOMEM;
    c->down = false;
    if (c->kind == VPN_SERVICE) {
        c->established = false;
        c->owner_uid = UID_INVALID;
        vpn_clear_interfaces(c);
        vpn_config_unref(TAKE_PTR(c->config));
    }
    return model_put_vpn(m, c);
}

int store_drop_runtime_vpns(struct model *m)
{
    int r = 0;

    for (size_t i = m->n_vpns; r == 0 && i-- > 0;) {
        if (m->vpns[i]->origin == ORIGIN_RUNTIME || m->vpns[i]->origin == ORIGIN_CONFIG)
            model_drop_vpn(m, m->vpns[i]->name);
        else
            r = settle_after_boot(m, m->vpns[i]);
    }
    return r;
}

/* Writing. */

static void add_value(struct strbuf *b, const struct vpn *v, const char *word, const char *value)
{
    words_add(b, "vpn-set");
    words_add(b, v->name);
    words_add(b, word);
    words_add(b, value);
    strbuf_add_char(b, '\n');
}

static void add_number(struct strbuf *b, const struct vpn *v, const char *word, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    add_value(b, v, word, text);
}

static void add_selector(struct strbuf *b, const struct vpn *v, const char *word,
                         const struct selector *selector)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

    selector_print(selector, &text);
    b->failed |= text.failed;
    add_value(b, v, word, strbuf_text(&text));
}

static void add_selectors(struct strbuf *b, const struct vpn *v, const char *word,
                          const struct selector_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        add_selector(b, v, word, &list->items[i]);
}

static void add_lan(struct strbuf *b, const struct vpn *v, const char *word, enum vpn_lan lan,
                    const struct ip_prefix *prefixes, size_t n)
{
    char text[IP_TEXT_MAX];

    if (lan == VPN_LAN_LINK_LOCAL)
        add_value(b, v, word, vpn_lan_to_string(lan));
    for (size_t i = 0; i < n; i++)
        add_value(b, v, word, ip_prefix_format(&prefixes[i], text));
}

static void add_addresses(struct strbuf *b, const struct vpn *v)
{
    const struct vpn_config *c = v->config;
    char text[IP_TEXT_MAX], full[IP_TEXT_MAX + 4];

    for (size_t i = 0; i < c->n_addresses; i++) {
        snprintf(full, sizeof(full), "%s/%u", ip_addr_format(&c->addresses[i].addr, text),
                 c->addresses[i].len);
        add_value(b, v, "address", full);
    }
    for (size_t i = 0; i < c->n_dns; i++)
        add_value(b, v, "dns", ip_addr_format(&c->dns[i], text));
}

static void add_config_routes(struct strbuf *b, const struct vpn *v)
{
    char text[IP_TEXT_MAX];

    for (size_t i = 0; i < v->config->n_routes; i++) {
        words_add(b, "vpn-route");
        words_add(b, v->name);
        words_add(b, ip_prefix_format(&v->config->routes[i].dst, text));
        if (v->config->routes[i].kind == ROUTE_THROW)
            words_add(b, "throw");
        strbuf_add_char(b, '\n');
    }
}

static void add_config(struct strbuf *b, const struct vpn *v)
{
    static const char *const families[] = { "inet", "inet6" };
    const struct vpn_config *c = v->config;

    add_number(b, v, "config",
               (c->bypassable ? CONFIG_BYPASSABLE : 0U) | (c->blocking ? CONFIG_BLOCKING : 0U) |
                   (c->offloads ? CONFIG_OFFLOADS : 0U) |
                   (c->underlying_set ? CONFIG_UNDERLYING : 0U));
    if (c->session)
        add_value(b, v, "session", c->session->s);
    if (c->mtu)
        add_number(b, v, "mtu", c->mtu);
    if (c->queues != 1)
        add_number(b, v, "queues", c->queues);
    if (c->metered)
        add_number(b, v, "metered", c->metered);
    if (c->http_proxy)
        add_value(b, v, "http-proxy", c->http_proxy->s);
    add_addresses(b, v);
    for (size_t i = 0; i < c->n_domains; i++)
        add_value(b, v, "domain", c->domains[i]->s);
    for (size_t i = 0; i < c->n_underlying; i++)
        add_value(b, v, "underlying", c->underlying[i]->s);
    for (size_t i = 0; i < ELEMENTSOF(families); i++)
        if (c->families & 1U << i)
            add_value(b, v, "family", families[i]);
    add_selectors(b, v, "allowed", &c->allowed);
    add_selectors(b, v, "disallowed", &c->disallowed);
    add_lan(b, v, "config-lan", c->lan, c->lan_prefixes, c->n_lan_prefixes);
    add_config_routes(b, v);
}

/* What the configuration does not say of it. */
static void add_state(struct strbuf *b, const struct vpn *v)
{
    if (v->has_owner)
        add_selector(b, v, "owner", &v->owner);
    if (v->owner_resolved != UID_INVALID)
        add_number(b, v, "owner-is", v->owner_resolved);
    if (v->owner_uid != UID_INVALID)
        add_number(b, v, "uid", v->owner_uid);
    if (v->kind == VPN_SERVICE || v->origin != ORIGIN_CONFIG) {
        for (size_t i = 0; i < v->n_interfaces; i++)
            add_value(b, v, "interface", v->interfaces[i]);
        if (v->config)
            add_config(b, v);
    }
}

static unsigned flags_of(const struct vpn *v)
{
    unsigned flags = (v->down ? FLAG_DOWN : 0U) | (v->established ? FLAG_ESTABLISHED : 0U);

    if (v->origin == ORIGIN_CONFIG)
        return flags;
    return flags | (v->everyone ? FLAG_EVERYONE : 0U) | (v->lockdown ? FLAG_LOCKDOWN : 0U) |
           (v->always_on ? FLAG_ALWAYS_ON : 0U) | (v->bypass ? FLAG_BYPASS : 0U) |
           (v->fall_through ? FLAG_FALL_THROUGH : 0U) | (v->forward ? FLAG_FORWARD : 0U);
}

static void add_vpn(struct strbuf *b, const struct vpn *v)
{
    words_add(b, "vpn");
    words_add(b, v->name);
    words_add(b, vpn_kind_to_string(v->kind));
    words_add(b, origin_to_string(v->origin));
    strbuf_add_char(b, '\n');

    add_number(b, v, "flags", flags_of(v));
    add_state(b, v);
    if (v->origin == ORIGIN_CONFIG)
        return;
    add_selectors(b, v, "app", &v->allowed);
    add_selectors(b, v, "not-app", &v->disallowed);
    add_selectors(b, v, "exempt", &v->exempt);
    add_lan(b, v, "lan", v->lan, v->lan_prefixes, v->n_lan_prefixes);
    if (v->engine)
        add_value(b, v, "engine", v->engine->s);
}

static void add_consent(struct strbuf *b, const struct selector *who, const char *what)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

    selector_print(who, &text);
    b->failed |= text.failed;
    words_add(b, "vpn-consent");
    words_add(b, strbuf_text(&text));
    words_add(b, what);
    strbuf_add_char(b, '\n');
}

static const struct vpn_consent *consent_of(const struct model *m, const struct selector *who)
{
    size_t i = model_find_consent(m, who);

    return i < m->n_consents && selector_compare(&m->consents[i].who, who) == 0 ? &m->consents[i]
                                                                                : NULL;
}

static void diff_consents(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0; i < old->n_consents; i++)
        if (!consent_of(new, &old->consents[i].who))
            add_consent(b, &old->consents[i].who, "none");
    for (size_t i = 0; i < new->n_consents; i++) {
        const struct vpn_consent *n = &new->consents[i], *o = consent_of(old, &n->who);

        if (!o || o->everyone != n->everyone)
            add_consent(b, &n->who, n->everyone ? "everyone" : "own");
    }
}

void store_diff_vpns(const struct model *old, const struct model *new, struct strbuf *b)
{
    for (size_t i = 0; i < old->n_vpns; i++) {
        const struct vpn *o = old->vpns[i], *n = model_vpn(new, o->name);

        if (is_stored(o) && !(n && is_stored(n))) {
            words_add(b, "vpn-remove");
            words_add(b, o->name);
            strbuf_add_char(b, '\n');
        }
    }
    for (size_t i = 0; i < new->n_vpns; i++)
        if (is_stored(new->vpns[i]) && new->vpns[i] != model_vpn(old, new->vpns[i]->name))
            add_vpn(b, new->vpns[i]);
    diff_consents(old, new, b);
}
