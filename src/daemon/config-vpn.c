/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config-vpn.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/log.h"
#include "daemon/engines.h"
#include "decide/edit-vpn.h"
#include "decide/vpn-conflict.h"

void config_vpn_done(struct config_vpn *cv)
{
    vpn_unref(cv->draft);
    rstr_unref(cv->file);
}

int config_open_vpn(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct config *c = r->config;
    struct config_vpn cv = { .line = line->line };
    int e;

    if (network_name_check(line->argument, why) < 0)
        return -EINVAL;
    cv.draft = vpn_new();
    if (!cv.draft)
        return -ENOMEM;
    (void)str_set(cv.draft->name, sizeof(cv.draft->name), line->argument);
    cv.draft->origin = ORIGIN_CONFIG;
    cv.draft->source = rstr_ref(r->file);
    cv.file = rstr_ref(r->file);
    e = ARRAY_PUSH(c->vpns, c->n_vpns, c->cap_vpns, cv);
    if (e < 0) {
        config_vpn_done(&cv);
        return e;
    }
    r->vpn = &c->vpns[c->n_vpns - 1];
    return 0;
}

static int add_app(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->allowed, word, why);
}

static int add_except(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->disallowed, word, why);
}

static int add_exempt(struct vpn *v, const char *word, struct why *why)
{
    return selector_list_add(&v->exempt, word, why);
}

static int add_lan(struct vpn *v, const char *word, struct why *why)
{
    return vpn_lan_add(&v->lan, &v->lan_prefixes, &v->n_lan_prefixes, word, why);
}

/* Of an adopted VPN, what a program would say; it is made when the first such key comes. */
static int say(struct vpn *v, const char *word, struct why *why,
               int (*set)(struct vpn_config *c, const char *word, struct why *why))
{
    if (!v->config)
        v->config = vpn_config_new();
    return v->config ? set(v->config, word, why) : -ENOMEM;
}

static int add_address(struct vpn *v, const char *word, struct why *why)
{
    return say(v, word, why, vpn_config_add_address);
}

static int add_route(struct vpn *v, const char *word, struct why *why)
{
    return say(v, word, why, vpn_config_add_route);
}

static int add_exclude(struct vpn *v, const char *word, struct why *why)
{
    return say(v, word, why, vpn_config_exclude_route);
}

static int add_dns(struct vpn *v, const char *word, struct why *why)
{
    return say(v, word, why, vpn_config_add_dns);
}

static int add_domain(struct vpn *v, const char *word, struct why *why)
{
    return say(v, word, why, vpn_config_add_domain);
}

static int set_owner(struct vpn *v, const char *value, struct why *why)
{
    struct selector owner;
    int r = selector_parse(value, &owner, why);

    if (r < 0)
        return r;
    selector_done(&v->owner);
    v->owner = owner;
    v->has_owner = true;
    v->owner_resolved = owner.kind == SELECTOR_UID ? owner.uid.lo : UID_INVALID;
    return 0;
}

static int set_engine(struct vpn *v, const char *value, struct why *why)
{
    struct rstr *engine;
    int r = engine_check(value, why);

    if (r < 0)
        return r;
    engine = rstr_new(value);
    if (!engine)
        return -ENOMEM;
    rstr_unref(v->engine);
    v->engine = engine;
    return 0;
}

/* The table: a value, a list of words that grows, or yes and no. */
typedef int (*vpn_setter)(struct vpn *v, const char *value, struct why *why);

static const struct {
    const char *key;
    vpn_setter value, word;
    size_t flag; /* offset of the bool in struct vpn */
} keys[] = {
    { "owner", set_owner, NULL, 0 },
    { "engine", set_engine, NULL, 0 },
    { "apps", NULL, add_app, 0 },
    { "except", NULL, add_except, 0 },
    { "exempt", NULL, add_exempt, 0 },
    { "interface", NULL, vpn_add_interface, 0 },
    { "address", NULL, add_address, 0 },
    { "route", NULL, add_route, 0 },
    { "exclude", NULL, add_exclude, 0 },
    { "dns", NULL, add_dns, 0 },
    { "domain", NULL, add_domain, 0 },
    { "lan", NULL, add_lan, 0 },
    { "everyone", NULL, NULL, offsetof(struct vpn, everyone) },
    { "lockdown", NULL, NULL, offsetof(struct vpn, lockdown) },
    { "always-on", NULL, NULL, offsetof(struct vpn, always_on) },
    { "bypass", NULL, NULL, offsetof(struct vpn, bypass) },
    { "fall-through", NULL, NULL, offsetof(struct vpn, fall_through) },
    { "forward", NULL, NULL, offsetof(struct vpn, forward) },
};

struct vpn_words {
    struct vpn *vpn;
    vpn_setter set;
};

static int set_word(void *data, const char *word, struct why *why)
{
    const struct vpn_words *words = data;

    return words->set(words->vpn, word, why);
}

int config_set_vpn(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct vpn *v = r->vpn->draft;

    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        struct vpn_words words = { .vpn = v, .set = keys[i].word };

        if (!streq(keys[i].key, line->key))
            continue;
        if (keys[i].value)
            return keys[i].value(v, line->value, why);
        if (keys[i].word)
            return config_for_each_word(line->value, &words, set_word, why);
        return config_parse_bool(line->value, (bool *)((char *)v + keys[i].flag), why);
    }
    return -ENOENT;
}

static int settle(struct config_vpn *cv, struct why *why)
{
    struct vpn *v = cv->draft;

    if (v->n_interfaces > 0)
        v->kind = VPN_ADOPTED;
    else if (v->has_owner || v->engine)
        v->kind = VPN_SERVICE;
    else
        return why_set(
            why, -EINVAL,
            "VPN '%s': say `interface =` if somebody else makes its interface, `owner =` "
            "if its program asks us for one",
            v->name);
    return vpn_check_profile(v, why);
}

int config_settle_vpn(struct config_vpn *cv, struct why *why)
{
    int r = settle(cv, why);

    if (r < 0)
        (void)why_prefix(why, "%s:%u", rstr_text(cv->file), cv->line);
    return r;
}

static int find_twice(const struct config *c, size_t i, struct why *why)
{
    const struct config_vpn *b = &c->vpns[i];

    for (size_t j = 0; j < i; j++)
        if (streq(b->draft->name, c->vpns[j].draft->name))
            return why_set(why, -EEXIST, "%s:%u: VPN '%s' stands already in %s:%u",
                           rstr_text(b->file), b->line, b->draft->name, rstr_text(c->vpns[j].file),
                           c->vpns[j].line);
    for (size_t j = 0; j < c->n_networks; j++)
        if (streq(b->draft->name, c->networks[j].draft->name))
            return why_set(why, -EEXIST,
                           "%s:%u: network '%s' stands already in %s:%u: a VPN has one of its name",
                           rstr_text(b->file), b->line, b->draft->name,
                           rstr_text(c->networks[j].file), c->networks[j].line);
    return 0;
}

static int check_interfaces(const struct config *c, size_t i, struct why *why)
{
    const struct config_vpn *b = &c->vpns[i];
    const struct vpn *v = b->draft;

    for (size_t k = 0; k < v->n_interfaces; k++) {
        const char *interface = v->interfaces[k], *other = NULL;

        for (size_t j = 0; j < i && !other; j++)
            other = vpn_has_interface(c->vpns[j].draft, interface) ? c->vpns[j].draft->name : NULL;
        for (size_t j = 0; j < c->n_networks && !other; j++)
            other = network_has_interface(c->networks[j].draft, interface)
                        ? c->networks[j].draft->name
                        : NULL;
        if (other)
            return why_set(why, -EBUSY, "%s:%u: interface '%s' is in '%s' already",
                           rstr_text(b->file), b->line, interface, other);
    }
    return 0;
}

/* In a model of their own, where nothing else is in the way. */
static int check_apps(const struct config *c, struct why *why)
{
    _cleanup_(model_freep) struct model *m = model_new();
    int r = m ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < c->n_vpns; i++) {
        const char *other;

        r = vpn_check_apps(m, c->vpns[i].draft, &other, why);
        if (r == -EBUSY && other)
            return why_set(why, r, "%s:%u: VPN '%s' and VPN '%s' are to have the same apps",
                           rstr_text(c->vpns[i].file), c->vpns[i].line, c->vpns[i].draft->name,
                           other);
        if (r == 0)
            r = model_put_vpn(m, vpn_ref(c->vpns[i].draft));
    }
    return r;
}

int config_check_vpns(const struct config *c, struct why *why)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n_vpns; i++) {
        r = find_twice(c, i, why);
        if (r == 0)
            r = check_interfaces(c, i, why);
    }
    return r < 0 ? r : check_apps(c, why);
}

static bool is_configured(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_vpns; i++)
        if (streq(c->vpns[i].draft->name, name))
            return true;
    return false;
}

static bool has_network(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_networks; i++)
        if (streq(c->networks[i].draft->name, name))
            return true;
    return false;
}

/* VPNs of the old configuration, and those whose names are networks in the new one. */
static void drop_old(const struct config *c, struct model *m)
{
    for (size_t i = m->n_vpns; i-- > 0;) {
        const char *name = m->vpns[i]->name;
        bool network = has_network(c, name);

        if (network && m->vpns[i]->origin != ORIGIN_CONFIG)
            log_notice("network '%s' of the configuration takes the place of a VPN", name);
        if (network || (m->vpns[i]->origin == ORIGIN_CONFIG && !is_configured(c, name)))
            model_drop_vpn(m, name);
    }
}

/* May who established it go on? An exe: owner is looked at when he asks the next time. */
static bool may_go_on(const struct vpn *v, const struct vpn *old)
{
    if (v->kind != old->kind)
        return false;
    /* what a user's program made is nothing but its name in common, unless he is the owner by his number */
    if (old->origin == ORIGIN_RUNTIME)
        return v->has_owner && v->owner.kind == SELECTOR_UID && v->owner.uid.lo == old->owner_uid;
    if (!v->has_owner || v->owner.kind == SELECTOR_EXE || old->owner_uid == UID_INVALID)
        return true;
    if (v->owner.kind == SELECTOR_USER)
        return old->has_owner && selector_compare(&v->owner, &old->owner) == 0;
    return v->owner.uid.lo == old->owner_uid || old->owner_uid == 0;
}

/* How it is. */
static int keep_state(struct vpn *v, const struct vpn *old, struct why *why)
{
    int r = 0;

    if (v->has_owner && old->has_owner && selector_compare(&v->owner, &old->owner) == 0) {
        v->owner_resolved = old->owner_resolved;
        v->owner_old = old->owner_old;
    }
    if (!may_go_on(v, old))
        return 0;
    v->down = old->down;
    if (v->kind != VPN_SERVICE)
        return 0;
    v->established = old->established;
    v->owner_uid = old->owner_uid;
    v->config = vpn_config_ref(old->config);
    for (size_t i = 0; r == 0 && i < old->n_interfaces; i++)
        r = vpn_add_interface(v, old->interfaces[i], why);
    return r;
}

static int apply_vpn(const struct config_vpn *cv, struct model *m, const struct model *before,
                     struct why *why)
{
    const struct vpn *old = model_vpn(before, cv->draft->name);
    const struct network *n = model_network_by_name(m, cv->draft->name);
    _cleanup_(vpn_unrefp) struct vpn *v = vpn_copy(cv->draft);
    int r = v ? 0 : -ENOMEM;

    if (r == 0)
        v->down = vpn_begins_down(v);
    if (r == 0 && old)
        r = keep_state(v, old, why);
    if (r < 0)
        return r;
    if (n && n->origin != ORIGIN_HOST && n->origin != ORIGIN_VPN) {
        log_notice("%s:%u: VPN '%s' takes the place of the network made by command",
                   rstr_text(cv->file), cv->line, v->name);
        model_drop_network(m, n->netid);
    }
    for (size_t i = 0; i < v->n_interfaces; i++) {
        n = model_network_of(m, v->interfaces[i]);
        if (n && n->origin != ORIGIN_HOST && n->origin != ORIGIN_VPN)
            return why_set(why, -EBUSY,
                           "%s:%u: interface '%s' is in network '%s': `waymark network detach %s "
                           "%s` first",
                           rstr_text(cv->file), cv->line, v->interfaces[i], n->name, n->name,
                           v->interfaces[i]);
    }
    /* one that did not change stays the same object */
    return model_put_vpn(m, old && vpn_equal(old, v) ? vpn_ref(model_vpn(before, v->name))
                                                     : TAKE_PTR(v));
}

/* A program cannot keep its apps from what the administrator wants of them. */
static int drop_rivals(struct model *m)
{
    for (size_t i = m->n_vpns; i-- > 0;) {
        const struct vpn *v = m->vpns[i];
        const char *other;
        int r = v->origin == ORIGIN_RUNTIME ? vpn_check_apps(m, v, &other, NULL) : 0;

        if (r < 0 && r != -EBUSY)
            return r;
        if (r == 0 || !other || model_vpn(m, other)->origin != ORIGIN_CONFIG)
            continue;
        log_notice("VPN '%s' of uid %u ends: VPN '%s' of the configuration has its apps", v->name,
                   v->owner_uid, other);
        model_drop_vpn(m, v->name);
    }
    return 0;
}

int config_apply_vpns(const struct config *c, struct model *m, const struct model *before,
                      struct why *why)
{
    int r = 0;

    drop_old(c, m);
    for (size_t i = 0; r == 0 && i < c->n_vpns; i++)
        r = apply_vpn(&c->vpns[i], m, before, why);
    return r < 0 ? r : drop_rivals(m);
}
