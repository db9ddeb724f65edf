/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lines of a scene that speak of VPNs (unit/scene.h), and how VPNs are dumped. */

#include <errno.h>
#include <stdio.h>

#include "decide/edit-vpn.h"
#include "decide/vpn.h"
#include "unit/scene.h"

/* What the words behind a VPN's name give: of the administrator's half, or of the program's. */
struct options {
    struct vpn *draft;
    struct vpn_config *config;
    unsigned fields;
};

static struct vpn_config *config_of(struct options *o)
{
    if (o->draft && !o->draft->config)
        o->draft->config = vpn_config_new();
    return o->draft ? o->draft->config : o->config;
}

static int take_owner(struct options *o, const char *v, struct why *why)
{
    o->draft->has_owner = true;
    return selector_parse(v, &o->draft->owner, why);
}

/* Whom the user database has as owner. */
static int take_owner_is(struct options *o, const char *v, struct why *why)
{
    (void)why;
    o->draft->owner_resolved = scene_number(v, UID_MAX);
    return 0;
}

static int take_app(struct options *o, const char *v, struct why *why)
{
    return selector_list_add(&o->draft->allowed, v, why);
}

static int take_except(struct options *o, const char *v, struct why *why)
{
    return selector_list_add(&o->draft->disallowed, v, why);
}

static int take_exempt(struct options *o, const char *v, struct why *why)
{
    return selector_list_add(&o->draft->exempt, v, why);
}

static int take_engine(struct options *o, const char *v, struct why *why)
{
    (void)why;
    o->draft->engine = rstr_new(v);
    return 0;
}

static int take_interface(struct options *o, const char *v, struct why *why)
{
    return vpn_add_interface(o->draft, v, why);
}

static int take_origin(struct options *o, const char *v, struct why *why)
{
    (void)why;
    o->draft->origin = (enum origin)origin_from_string(v);
    if (o->draft->origin == ORIGIN_CONFIG)
        o->draft->source = rstr_new("waymark.conf");
    return 0;
}

static int take_lan(struct options *o, const char *v, struct why *why)
{
    struct vpn *d = o->draft;
    struct vpn_config *c = o->config;

    return d ? vpn_lan_add(&d->lan, &d->lan_prefixes, &d->n_lan_prefixes, v, why)
             : vpn_lan_add(&c->lan, &c->lan_prefixes, &c->n_lan_prefixes, v, why);
}

static const struct {
    const char *word;
    unsigned field;
    int (*take)(struct options *o, const char *v, struct why *why);
} profile_words[] = {
    { "owner", VPN_FIELD_OWNER, take_owner },
    { "owner-is", VPN_FIELD_OWNER, take_owner_is },
    { "app", VPN_FIELD_APPS, take_app },
    { "except", VPN_FIELD_APPS, take_except },
    { "exempt", VPN_FIELD_EXEMPT, take_exempt },
    { "engine", VPN_FIELD_ENGINE, take_engine },
    { "interface", VPN_FIELD_INTERFACES, take_interface },
    { "origin", 0, take_origin },
};

static int take_mtu(struct vpn_config *c, const char *v, struct why *why)
{
    return vpn_config_set_mtu(c, scene_number(v, UINT32_MAX), why);
}

static const struct {
    const char *word;
    int (*take)(struct vpn_config *c, const char *v, struct why *why);
} config_words[] = {
    { "address", vpn_config_add_address },
    { "route", vpn_config_add_route },
    { "exclude", vpn_config_exclude_route },
    { "dns", vpn_config_add_dns },
    { "domain", vpn_config_add_domain },
    { "allow", vpn_config_allow },
    { "disallow", vpn_config_disallow },
    { "family", vpn_config_allow_family },
    { "mtu", take_mtu },
    { "session", vpn_config_set_session },
    { "underlying", vpn_config_add_underlying },
};

static const struct {
    const char *word;
    unsigned field;
    size_t offset;
} flags[] = {
    { "everyone", VPN_FIELD_EVERYONE, offsetof(struct vpn, everyone) },
    { "lockdown", VPN_FIELD_LOCKDOWN, offsetof(struct vpn, lockdown) },
    { "always-on", VPN_FIELD_ALWAYS_ON, offsetof(struct vpn, always_on) },
    { "bypass", VPN_FIELD_BYPASS, offsetof(struct vpn, bypass) },
    { "fall-through", VPN_FIELD_FALL_THROUGH, offsetof(struct vpn, fall_through) },
    { "forward", VPN_FIELD_FORWARD, offsetof(struct vpn, forward) },
};

/* A word without a value, "no-" in front of one that is to be no longer. */
static bool take_flag(struct options *o, const char *word)
{
    bool no = startswith(word, "no-");

    for (size_t i = 0; o->draft && i < ELEMENTSOF(flags); i++)
        if (streq(flags[i].word, word + (no ? 3 : 0))) {
            *(bool *)((char *)o->draft + flags[i].offset) = !no;
            o->fields |= flags[i].field;
            return true;
        }
    if (o->draft || !streq(word, "bypass"))
        return false;
    o->config->bypassable = true;
    return true;
}

static int take_value(struct options *o, const char *word, const char *v, struct why *why)
{
    for (size_t i = 0; o->draft && i < ELEMENTSOF(profile_words); i++)
        if (streq(profile_words[i].word, word)) {
            o->fields |= profile_words[i].field;
            return profile_words[i].take(o, v, why);
        }
    for (size_t i = 0; i < ELEMENTSOF(config_words); i++)
        if (streq(config_words[i].word, word)) {
            o->fields |= VPN_FIELD_CONFIG;
            return config_words[i].take(config_of(o), v, why);
        }
    if (!streq(word, "lan"))
        scene_bad("option of a VPN", word);
    o->fields |= VPN_FIELD_LAN;
    return take_lan(o, v, why);
}

static int take_options(struct options *o, scene_words w, size_t n, struct why *why)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        if (take_flag(o, w[i]))
            continue;
        if (i + 1 == n)
            scene_bad("value behind", w[i]);
        r = take_value(o, w[i], w[i + 1], why);
        i++;
    }
    return r;
}

static int do_vpn(struct scene *s, scene_words w, size_t n, struct why *why)
{
    bool add = streq(w[0], "vpn");
    _cleanup_(vpn_unrefp) struct vpn *draft = vpn_new();
    struct options o = { .draft = draft };
    int r;

    (void)str_set(draft->name, sizeof(draft->name), w[1]);
    draft->origin = ORIGIN_COMMAND;
    if (add)
        draft->kind = (enum vpn_kind)vpn_kind_from_string(w[2]);
    r = take_options(&o, w + (add ? 3 : 2), n - (add ? 3 : 2), why);
    if (r < 0)
        return r;
    return add ? edit_add_vpn(s->m, draft, why) : edit_set_vpn(s->m, w[1], draft, o.fields, why);
}

static int do_establish(struct scene *s, scene_words w, size_t n, struct why *why)
{
    bool everyone = n > 4 && streq(w[4], "everyone");
    _cleanup_(vpn_config_unrefp) struct vpn_config *c = vpn_config_new();
    struct options o = { .config = c };
    int r = take_options(&o, w + (everyone ? 5 : 4), n - (everyone ? 5 : 4), why);

    return r < 0 ? r
                 : edit_establish_vpn(s->m, w[1], scene_number(w[2], UID_MAX), everyone, c, w[3],
                                      why);
}

static int do_configure(struct scene *s, scene_words w, size_t n, struct why *why)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *c = vpn_config_new();
    struct options o = { .config = c };
    int r = take_options(&o, w + 2, n - 2, why);

    return r < 0 ? r : edit_configure_vpn(s->m, w[1], c, why);
}

static int do_prepare(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    return edit_prepare_vpn(s->m, w[1], scene_number(w[2], UID_MAX), why);
}

static int do_simple(struct scene *s, scene_words w, size_t n, struct why *why)
{
    static const struct {
        const char *verb;
        int (*edit)(struct model *m, const char *name, struct why *why);
    } edits[] = { { "vpn-remove", edit_remove_vpn },
                  { "vpn-down", edit_down_vpn },
                  { "vpn-up", edit_up_vpn },
                  { "vpn-lost", edit_lost_vpn } };
    size_t i = 0;

    (void)n;
    while (!streq(edits[i].verb, w[0]))
        i++;
    return edits[i].edit(s->m, w[1], why);
}

static int do_update(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)w;
    (void)n;
    (void)why;
    return vpn_update(s->m);
}

static int do_consent(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct selector who;
    int r = selector_parse(w[1], &who, why);

    if (r < 0)
        return r;
    r = streq(w[0], "consent") ? edit_consent(s->m, &who, n > 2 && streq(w[2], "everyone"), why)
                               : edit_revoke_consent(s->m, &who, why);
    selector_done(&who);
    return r;
}

static const struct {
    const char *verb;
    size_t min; /* words */
    int (*run)(struct scene *s, scene_words w, size_t n, struct why *why);
} verbs[] = {
    { "vpn", 3, do_vpn },
    { "vpn-set", 2, do_vpn },
    { "establish", 4, do_establish },
    { "configure", 2, do_configure },
    { "vpn-prepare", 3, do_prepare },
    { "vpn-remove", 2, do_simple },
    { "vpn-down", 2, do_simple },
    { "vpn-up", 2, do_simple },
    { "vpn-lost", 2, do_simple },
    { "vpn-update", 1, do_update },
    { "consent", 2, do_consent },
    { "consent-revoke", 2, do_consent },
};

int scene_vpn_line(struct scene *s, scene_words w, size_t n, struct why *why)
{
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
        if (!streq(verbs[i].verb, w[0]))
            continue;
        if (n < verbs[i].min)
            scene_bad("complete line", w[0]);
        return verbs[i].run(s, w, n, why);
    }
    return SCENE_NO_SUCH_VERB;
}

static void dump_list(const char *what, const struct selector_list *list, struct strbuf *b)
{
    for (size_t i = 0; i < list->n; i++) {
        strbuf_add(b, "  %s ", what);
        selector_print(&list->items[i], b);
        strbuf_add(b, "\n");
    }
}

static void dump_lan(enum vpn_lan lan, const struct ip_prefix *prefixes, size_t n, struct strbuf *b)
{
    char text[IP_TEXT_MAX];

    if (lan != VPN_LAN_NONE)
        strbuf_add(b, "  lan %s\n", vpn_lan_to_string(lan));
    for (size_t i = 0; i < n; i++)
        strbuf_add(b, "  lan %s\n", ip_prefix_format(&prefixes[i], text));
}

static void dump_config(const struct vpn_config *c, struct strbuf *b)
{
    char text[IP_TEXT_MAX];

    strbuf_add(b, "  config '%s' mtu %u families %u queues %u metered %u proxy '%s'%s%s%s%s\n",
               rstr_text(c->session), c->mtu, c->families, c->queues, c->metered,
               rstr_text(c->http_proxy), c->bypassable ? " bypass" : "",
               c->blocking ? " blocking" : "", c->offloads ? " offloads" : "",
               c->underlying_set ? " underlying" : "");
    for (size_t i = 0; i < c->n_addresses; i++)
        strbuf_add(b, "  address %s/%u\n", ip_addr_format(&c->addresses[i].addr, text),
                   c->addresses[i].len);
    for (size_t i = 0; i < c->n_routes; i++) {
        strbuf_add(b, "  route ");
        route_spec_print(&c->routes[i], b);
        strbuf_add(b, "\n");
    }
    for (size_t i = 0; i < c->n_dns; i++)
        strbuf_add(b, "  dns %s\n", ip_addr_format(&c->dns[i], text));
    for (size_t i = 0; i < c->n_domains; i++)
        strbuf_add(b, "  domain %s\n", c->domains[i]->s);
    for (size_t i = 0; i < c->n_underlying; i++)
        strbuf_add(b, "  underlying %s\n", c->underlying[i]->s);
    dump_list("allowed", &c->allowed, b);
    dump_list("disallowed", &c->disallowed, b);
    dump_lan(c->lan, c->lan_prefixes, c->n_lan_prefixes, b);
}

static void dump_vpn(const struct vpn *v, struct strbuf *b)
{
    strbuf_add(b, "vpn '%s' %s %s owner '", v->name, vpn_kind_to_string(v->kind),
               origin_to_string(v->origin));
    if (v->has_owner)
        selector_print(&v->owner, b);
    strbuf_add(b, "' is %d uid %d engine '%s'", (int)v->owner_resolved, (int)v->owner_uid,
               rstr_text(v->engine));
    for (size_t i = 0; i < ELEMENTSOF(flags); i++)
        if (*(const bool *)((const char *)v + flags[i].offset))
            strbuf_add(b, " %s", flags[i].word);
    strbuf_add(b, "%s%s\n", v->down ? " down" : "", v->established ? " established" : "");
    for (size_t i = 0; i < v->n_interfaces; i++)
        strbuf_add(b, "  interface '%s'\n", v->interfaces[i]);
    dump_list("app", &v->allowed, b);
    dump_list("except", &v->disallowed, b);
    dump_list("exempt", &v->exempt, b);
    dump_lan(v->lan, v->lan_prefixes, v->n_lan_prefixes, b);
    if (v->config)
        dump_config(v->config, b);
}

void dump_vpns(const struct model *m, struct strbuf *b)
{
    for (size_t i = 0; i < m->n_vpns; i++)
        dump_vpn(m->vpns[i], b);
    for (size_t i = 0; i < m->n_consents; i++) {
        strbuf_add(b, "consent ");
        selector_print(&m->consents[i].who, b);
        strbuf_add(b, " %s\n", m->consents[i].everyone ? "everyone" : "own");
    }
}

void scene_follow(struct scene *s, const char *text, struct strbuf *b)
{
    scene_init(s);
    scene_run(s, "link 2 eth0\naddr eth0 10.9.0.2/24\nlink 3 wg0 kind wireguard arphrd 65534\n"
                 "addr wg0 10.8.0.2/32\nmaps\n");
    scene_run(s, text);
    if (vpn_update(s->m) < 0)
        scene_bad("memory for", "what follows");
    dump_model(s->m, b);
}
