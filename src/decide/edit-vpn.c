/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/edit-vpn.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/vpn-conflict.h"

static int no_such_vpn(const char *name, struct why *why)
{
    return why_set(why, -ENONET, "there is no VPN '%.64s': see `waymark vpn list`", name);
}

/* Replaces the VPN by a copy that may be edited. */
static int begin(struct model *m, const char *name, struct vpn **ret, struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    int r;

    if (!v)
        return no_such_vpn(name, why);
    v = vpn_copy(v);
    r = v ? model_put_vpn(m, v) : -ENOMEM;
    if (r < 0)
        return r;
    *ret = v;
    return 0;
}

static int in_configuration(const struct vpn *v, struct why *why)
{
    return why_set(why, -EPERM, "VPN '%s' stands in %s: change it there, then `waymark reload`",
                   v->name, rstr_text(v->source));
}

/* A uid is known at once; who looks up names does so before. */
static void settle_owner(struct vpn *v)
{
    if (v->has_owner && v->owner.kind == SELECTOR_UID)
        v->owner_resolved = v->owner.uid.lo;
    else if (!v->has_owner || v->owner.kind != SELECTOR_USER)
        v->owner_resolved = UID_INVALID;
}

static int check_owner(const struct vpn *v, struct why *why)
{
    bool one = v->owner.kind == SELECTOR_UID && v->owner.uid.lo == v->owner.uid.hi;

    if (!v->has_owner || one || v->owner.kind == SELECTOR_USER || v->owner.kind == SELECTOR_EXE)
        return 0;
    return why_set(why, -EINVAL, "the owner of a VPN is a uid:N, a user:NAME or an exe:/PATH");
}

static int check_adopted(const struct vpn *v, struct why *why)
{
    bool routed = false;

    if (v->n_interfaces == 0)
        return why_set(why, -EINVAL, "to adopt a VPN takes its interface: say which");
    if (v->has_owner || v->engine)
        return why_set(
            why, -EINVAL,
            "VPN '%s' is adopted: nobody establishes it, so it has no owner and no engine",
            v->name);
    if (v->forward)
        return why_set(why, -EINVAL,
                       "VPN '%s' is adopted: nothing of it is held back, so it needs no leave to "
                       "forward",
                       v->name);
    for (size_t i = 0; v->config && i < v->config->n_routes; i++)
        routed |= v->config->routes[i].kind == ROUTE_UNICAST;
    if (v->fall_through && !routed)
        return why_set(why, -EINVAL,
                       "VPN '%s': to fall through where it has no route takes routes: else "
                       "everything did while its interface is away",
                       v->name);
    return 0;
}

static int check_service(const struct vpn *v, struct why *why)
{
    if (v->n_interfaces > 0 || v->config)
        return why_set(why, -EINVAL,
                       "VPN '%s' is a service: interface, addresses, routes and DNS are its "
                       "program's to say",
                       v->name);
    if (v->fall_through)
        return why_set(why, -EINVAL,
                       "VPN '%s' is a service: what goes through it its program's routes say",
                       v->name);
    if (v->engine && v->engine->s[0] == '/' && (!v->has_owner || v->owner.kind == SELECTOR_EXE))
        return why_set(
            why, -EINVAL,
            "VPN '%s': its engine is a command line, which runs as the owner: say a uid:N "
            "or user:NAME as its owner",
            v->name);
    return 0;
}

int vpn_check_profile(const struct vpn *v, struct why *why)
{
    bool somebody = v->everyone || v->allowed.n > 0 ||
                    (v->has_owner && v->owner.kind != SELECTOR_EXE) || v->owner_uid != UID_INVALID;
    int r = check_owner(v, why);

    if (r < 0)
        return r;
    if (v->allowed.n > 0 && v->disallowed.n > 0)
        return why_set(why, -EINVAL, "VPN '%s': say which apps, or which not, but not both",
                       v->name);
    if ((v->lockdown || v->always_on) && !somebody)
        return why_set(why, -EINVAL,
                       "VPN '%s': to hold apps while it is down takes to know whose: say which "
                       "apps, everyone, or a user as its owner",
                       v->name);
    return v->kind == VPN_ADOPTED ? check_adopted(v, why) : check_service(v, why);
}

static int check_list(const struct model *m, const struct selector_list *s, struct why *why)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n; i++)
        r = selector_check_supported(&s->items[i], m->process_selectors, why);
    return r;
}

/* Can the back-end match its apps? */
static int check_supported(const struct model *m, const struct vpn *v, struct why *why)
{
    int r = check_list(m, &v->allowed, why);

    if (r == 0)
        r = check_list(m, &v->disallowed, why);
    if (r == 0)
        r = check_list(m, &v->exempt, why);
    if (r == 0 && v->config)
        r = check_list(m, &v->config->allowed, why);
    if (r == 0 && v->config)
        r = check_list(m, &v->config->disallowed, why);
    return r;
}

/* May its network be called so? A host network makes room when its interface is adopted. */
static int check_name(const struct model *m, const struct vpn *v, const char *name, struct why *why)
{
    const struct network *n = model_network_by_name(m, name);
    int r = network_name_check(name, why);

    if (r < 0)
        return r;
    if (n && !(n->origin == ORIGIN_HOST && v && vpn_has_interface(v, n->interfaces[0])))
        return why_set(why, -EEXIST, "there is a network '%s' already: a VPN has one of its name",
                       name);
    if (m->default_network && streq(m->default_network->s, name))
        return why_set(why, -EINVAL,
                       "network '%s' is the default, which a VPN cannot be: `waymark default "
                       "system` first",
                       name);
    return 0;
}

static int check_interface(const struct model *m, const struct vpn *v, const char *interface,
                           struct why *why)
{
    const struct network *n = model_network_of(m, interface);

    if (n && n->origin != ORIGIN_HOST && n->origin != ORIGIN_VPN)
        return why_set(why, -EBUSY,
                       "interface '%s' is in network '%s': `waymark network detach %s %s` first",
                       interface, n->name, n->name, interface);
    for (size_t i = 0; i < m->n_vpns; i++)
        if (!streq(m->vpns[i]->name, v->name) && vpn_has_interface(m->vpns[i], interface))
            return why_set(why, -EBUSY, "interface '%s' is VPN '%s''s", interface,
                           m->vpns[i]->name);
    return 0;
}

/* What must hold of it among the others, once it is in the model. */
static int check_place(const struct model *m, const struct vpn *v, struct why *why)
{
    int r = check_supported(m, v, why);

    for (size_t i = 0; r == 0 && i < v->n_interfaces; i++)
        r = check_interface(m, v, v->interfaces[i], why);
    return r < 0 ? r : vpn_check_apps(m, v, NULL, why);
}

int edit_add_vpn(struct model *m, const struct vpn *draft, struct why *why)
{
    struct vpn *v;
    int r = check_name(m, draft, draft->name, why);

    if (model_vpn(m, draft->name))
        return why_set(why, -EEXIST, "there is a VPN '%s' already", draft->name);
    if (r == 0)
        r = vpn_check_profile(draft, why);
    if (r < 0)
        return r;
    v = vpn_copy(draft);
    if (!v)
        return -ENOMEM;
    settle_owner(v);
    v->down = vpn_begins_down(v);
    r = model_put_vpn(m, v);
    return r < 0 ? r : check_place(m, v, why);
}

static int set_list(struct selector_list *to, const struct selector_list *from)
{
    selector_list_done(to);
    return selector_list_copy(to, from);
}

static int set_lists(struct vpn *v, const struct vpn *draft, unsigned fields)
{
    int r = 0;

    if (fields & VPN_FIELD_APPS) {
        r |= set_list(&v->allowed, &draft->allowed);
        r |= set_list(&v->disallowed, &draft->disallowed);
    }
    if (fields & VPN_FIELD_EXEMPT)
        r |= set_list(&v->exempt, &draft->exempt);
    if (fields & VPN_FIELD_LAN) {
        free(TAKE_PTR(v->lan_prefixes));
        v->lan = draft->lan;
        v->n_lan_prefixes = draft->n_lan_prefixes;
        r |= array_copy((void **)&v->lan_prefixes, draft->lan_prefixes, draft->n_lan_prefixes,
                        sizeof(*draft->lan_prefixes));
    }
    return r < 0 ? -ENOMEM : 0;
}

static int set_interfaces(struct vpn *v, const struct vpn *draft, struct why *why)
{
    int r = 0;

    vpn_clear_interfaces(v);
    for (size_t i = 0; r == 0 && i < draft->n_interfaces; i++)
        r = vpn_add_interface(v, draft->interfaces[i], why);
    return r;
}

static bool is_same_owner(const struct vpn *a, const struct vpn *b)
{
    return a->has_owner == b->has_owner && selector_compare(&a->owner, &b->owner) == 0;
}

static void release(struct vpn *v)
{
    if (v->kind != VPN_SERVICE)
        return;
    v->established = false;
    v->owner_uid = UID_INVALID;
    vpn_clear_interfaces(v);
}

static void set_values(struct vpn *v, const struct vpn *draft, unsigned fields)
{
    if (fields & VPN_FIELD_OWNER && !is_same_owner(v, draft)) {
        selector_done(&v->owner);
        v->has_owner = draft->has_owner;
        v->owner = draft->owner;
        (void)rstr_ref(v->owner.text);
        v->owner_resolved = draft->owner_resolved;
        v->owner_old = false;
        settle_owner(v);
        if (!v->has_owner || v->owner.kind == SELECTOR_EXE || v->owner_resolved != v->owner_uid)
            release(v); /* it was another's */
    }
    if (fields & VPN_FIELD_ENGINE) {
        rstr_unref(v->engine);
        v->engine = rstr_ref(draft->engine);
    }
    if (fields & VPN_FIELD_EVERYONE)
        v->everyone = draft->everyone;
    if (fields & VPN_FIELD_LOCKDOWN)
        v->lockdown = draft->lockdown;
    if (fields & VPN_FIELD_ALWAYS_ON)
        v->always_on = draft->always_on;
    if (fields & VPN_FIELD_BYPASS)
        v->bypass = draft->bypass;
    if (fields & VPN_FIELD_FALL_THROUGH)
        v->fall_through = draft->fall_through;
    if (fields & VPN_FIELD_FORWARD)
        v->forward = draft->forward;
}

/* What its program made, and the administrator then said something of, stays: it is his from then on. */
static void take_over(struct vpn *v)
{
    if (v->origin != ORIGIN_RUNTIME)
        return;
    v->origin = ORIGIN_COMMAND;
    if (!v->has_owner && v->owner_uid != UID_INVALID) {
        v->has_owner = true;
        v->owner = (struct selector){ .kind = SELECTOR_UID, .uid = { v->owner_uid, v->owner_uid } };
        settle_owner(v);
    }
}

/* What its program says is no part of the profile. */
static int check_changed(const struct vpn *v, struct why *why)
{
    _cleanup_(vpn_unrefp) struct vpn *profile = NULL;

    if (v->kind == VPN_ADOPTED)
        return vpn_check_profile(v, why);
    profile = vpn_copy(v);
    if (!profile)
        return -ENOMEM;
    vpn_clear_interfaces(profile);
    vpn_config_unref(TAKE_PTR(profile->config));
    return vpn_check_profile(profile, why);
}

int edit_set_vpn(struct model *m, const char *name, const struct vpn *draft, unsigned fields,
                 struct why *why)
{
    const struct vpn *old = model_vpn(m, name);
    unsigned adopted = VPN_FIELD_INTERFACES | VPN_FIELD_CONFIG;
    struct vpn *v;
    int r;

    if (!old)
        return no_such_vpn(name, why);
    if (old->origin == ORIGIN_CONFIG)
        return in_configuration(old, why);
    if ((fields & VPN_FIELD_KIND) && draft->kind != old->kind)
        return why_set(why, -EINVAL, "VPN '%s' is of kind %s and stays so: remove and add it", name,
                       vpn_kind_to_string(old->kind));
    if (old->kind == VPN_SERVICE && (fields & adopted)) {
        r = check_service(draft, why);
        if (r < 0)
            return r;
        fields &= ~adopted;
    }
    r = begin(m, name, &v, why);
    if (r < 0)
        return r;
    take_over(v);
    set_values(v, draft, fields);
    r = set_lists(v, draft, fields);
    if (r == 0 && (fields & VPN_FIELD_INTERFACES))
        r = set_interfaces(v, draft, why);
    if (r == 0 && (fields & VPN_FIELD_CONFIG)) {
        vpn_config_unref(v->config);
        v->config = vpn_config_ref(draft->config);
    }
    if (r == 0)
        r = check_changed(v, why);
    return r < 0 ? r : check_place(m, v, why);
}

int edit_remove_vpn(struct model *m, const char *name, struct why *why)
{
    const struct vpn *v = model_vpn(m, name);

    if (!v)
        return no_such_vpn(name, why);
    if (v->origin == ORIGIN_CONFIG)
        return in_configuration(v, why);
    model_drop_vpn(m, name);
    return 0;
}

/* May a program of this user be this VPN? */
static int check_user(const struct vpn *v, uint32_t uid, struct why *why)
{
    bool named = v->has_owner && v->owner.kind != SELECTOR_EXE;

    if (v->kind == VPN_ADOPTED)
        return why_set(why, -EINVAL, "VPN '%s' is adopted: no program establishes it", v->name);
    if (uid == 0 || (named && v->owner_resolved == uid))
        return 0;
    if (named || (v->origin == ORIGIN_RUNTIME && v->owner_uid != uid) ||
        (v->established && v->owner_uid != uid))
        return why_set(why, -EPERM, "VPN '%s' is another user's", v->name);
    return 0;
}

int edit_prepare_vpn(struct model *m, const char *name, uint32_t uid, struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    int r = v ? check_user(v, uid, why) : 0;

    if (r < 0 || !v || v->established || v->owner_uid == uid)
        return r;
    r = begin(m, name, &v, why);
    if (r == 0)
        v->owner_uid = uid;
    return r;
}

/* Apps that somebody sent to a network of this name are not for whoever calls his VPN so first. */
static int check_unclaimed(const struct model *m, const char *name, struct why *why)
{
    for (size_t i = 0; i < m->assignments->n; i++)
        if (streq(assignment_target(&m->assignments->items[i]), name))
            return why_set(
                why, -EEXIST,
                "apps are assigned to '%.64s' already: a VPN of that name takes `waymark "
                "vpn add`, with its owner",
                name);
    return 0;
}

/* The VPN that is to be established, to be edited; a new one if there is none. */
static int open_vpn(struct model *m, const char *name, uint32_t uid, struct vpn **ret,
                    struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    int r = v ? check_user(v, uid, why) : check_name(m, NULL, name, why);

    if (r == 0 && !v && uid != 0)
        r = check_unclaimed(m, name, why);
    if (r < 0)
        return r;
    if (v)
        return begin(m, name, ret, why);
    v = vpn_new();
    if (!v)
        return -ENOMEM;
    (void)str_set(v->name, sizeof(v->name), name);
    v->origin = ORIGIN_RUNTIME;
    v->bypass = true; /* no administrator who would mind */
    r = model_put_vpn(m, v);
    if (r == 0)
        *ret = v;
    return r;
}

int edit_establish_vpn(struct model *m, const char *name, uint32_t uid, bool everyone,
                       struct vpn_config *config, const char *interface, struct why *why)
{
    struct vpn *v = NULL;
    int r = vpn_config_check(config, why);

    if (r == 0)
        r = open_vpn(m, name, uid, &v, why);
    if (r < 0)
        return r;
    if (v->origin == ORIGIN_RUNTIME)
        v->everyone = everyone;
    v->down = false;
    v->established = true;
    v->owner_uid = uid;
    vpn_config_unref(v->config);
    v->config = vpn_config_ref(config);
    vpn_clear_interfaces(v);
    r = vpn_add_interface(v, interface, why);
    if (r == 0)
        r = vpn_check_scope(v, config, uid, why);
    return r < 0 ? r : check_place(m, v, why);
}

int edit_configure_vpn(struct model *m, const char *name, struct vpn_config *config,
                       struct why *why)
{
    struct vpn *v = NULL;
    int r = vpn_config_check(config, why);

    if (r == 0)
        r = begin(m, name, &v, why);
    if (r < 0)
        return r;
    if (v->kind != VPN_SERVICE || !vpn_is_active(v))
        return why_set(why, -ENOTCONN, "VPN '%s' is not established", name);
    vpn_config_unref(v->config);
    v->config = vpn_config_ref(config);
    r = vpn_check_scope(v, config, v->owner_uid, why);
    return r < 0 ? r : check_place(m, v, why);
}

/* Its program is no longer it. Which apps it had is remembered: always-on goes on to hold them. */
int edit_down_vpn(struct model *m, const char *name, struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    int r;

    if (v && v->origin == ORIGIN_RUNTIME) {
        model_drop_vpn(m, name);
        return 0;
    }
    r = begin(m, name, &v, why);
    if (r < 0)
        return r;
    v->down = true;
    release(v);
    return 0;
}

int edit_leave_vpn(struct model *m, const char *name, struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    int r;

    if (!v || !v->always_on)
        return edit_down_vpn(m, name, why);
    r = begin(m, name, &v, why);
    if (r == 0)
        release(v);
    return r;
}

int edit_up_vpn(struct model *m, const char *name, struct why *why)
{
    struct vpn *v;
    int r = begin(m, name, &v, why);

    if (r < 0)
        return r;
    v->down = false;
    return check_place(m, v, why);
}

int edit_lost_vpn(struct model *m, const char *name, struct why *why)
{
    struct vpn *v = model_vpn(m, name);
    bool bypassable;
    int r;

    if (!v)
        return no_such_vpn(name, why);
    if (v->kind != VPN_SERVICE || !vpn_is_active(v))
        return 0;
    bypassable = vpn_is_bypassable(v);
    if (bypassable && v->origin == ORIGIN_RUNTIME) {
        model_drop_vpn(m, name);
        return 0;
    }
    r = begin(m, name, &v, why);
    if (r < 0)
        return r;
    if (bypassable)
        release(v);
    else
        vpn_clear_interfaces(v);
    return 0;
}

int edit_consent(struct model *m, const struct selector *who, bool everyone, struct why *why)
{
    struct vpn_consent consent = { .who = *who, .everyone = everyone, .uid = UID_INVALID };
    size_t i = model_find_consent(m, who);

    if (who->kind != SELECTOR_UID && who->kind != SELECTOR_USER && who->kind != SELECTOR_EXE)
        return why_set(why, -EINVAL,
                       "consent is given to a uid:N, a user:NAME or a program, exe:/PATH");
    if (i < m->n_consents && selector_compare(&m->consents[i].who, who) == 0) {
        consent.uid = m->consents[i].uid;
        consent.uid_old = m->consents[i].uid_old;
    }
    (void)rstr_ref(consent.who.text);
    return model_put_consent(m, &consent);
}

int edit_revoke_consent(struct model *m, const struct selector *who, struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t i = model_find_consent(m, who);

    if (i < m->n_consents && selector_compare(&m->consents[i].who, who) == 0) {
        model_drop_consent(m, i);
        return 0;
    }
    selector_print(who, &text);
    return why_set(why, -ESRCH, "nothing was consented to %.120s: see `waymark vpn consent`",
                   strbuf_text(&text));
}
