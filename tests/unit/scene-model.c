/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lines of a scene that speak of the model (unit/scene.h): one row per verb. */

#include <errno.h>
#include <stdio.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "decide/host.h"
#include "unit/scene.h"

/* What the words of `network` and `set` give. */
struct options {
    struct network *draft;
    unsigned fields;
};

static int take_type(struct options *o, const char *v)
{
    int type = network_type_from_string(v);

    o->draft->type = (enum network_type)type;
    return type < 0 ? type : 0;
}

static int take_netid(struct options *o, const char *v)
{
    o->draft->netid = scene_number(v, UINT32_MAX);
    return 0;
}

static int take_interface(struct options *o, const char *v)
{
    return network_add_interface(o->draft, v);
}

static int take_permission(struct options *o, const char *v)
{
    int permission = permission_from_string(v);

    o->draft->permission = (enum permission)permission;
    return permission < 0 ? permission : 0;
}

static int take_origin(struct options *o, const char *v)
{
    int origin = origin_from_string(v);

    o->draft->origin = (enum origin)origin;
    if (origin == ORIGIN_CONFIG)
        o->draft->source = rstr_new("waymark.conf:7");
    return origin < 0 ? origin : 0;
}

static int take_dns(struct options *o, const char *v)
{
    struct ip_addr addr;
    int r = ip_addr_parse(v, &addr);

    return r < 0 ? r : network_add_dns(o->draft, &addr);
}

static int take_domain(struct options *o, const char *v)
{
    return network_add_domain(o->draft, v);
}

static int take_outside(struct options *o, const char *v)
{
    return network_read_outside(o->draft, v, NULL);
}

static int take_resolver(struct options *o, const char *v)
{
    unsigned a, b, c, d;

    if (sscanf(v, "%u,%u,%u,%u", &a, &b, &c, &d) != 4)
        return -EINVAL;
    o->draft->resolver =
        (struct resolver_params){ (uint16_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d };
    return 0;
}

static const struct {
    const char *word;
    unsigned field;
    int (*take)(struct options *o, const char *v);
} options[] = {
    { "type", FIELD_TYPE, take_type },
    { "netid", FIELD_NETID, take_netid },
    { "interface", FIELD_INTERFACES, take_interface },
    { "permission", FIELD_PERMISSION, take_permission },
    { "origin", 0, take_origin },
    { "dns", FIELD_DNS, take_dns },
    { "domain", FIELD_DOMAINS, take_domain },
    { "outside", FIELD_OUTSIDE, take_outside },
    { "resolver", FIELD_RESOLVER, take_resolver },
};

static const struct {
    const char *word;
    unsigned field;
    size_t offset;
    bool value;
} flags[] = {
    { "secure", FIELD_SECURE, offsetof(struct network, secure), true },
    { "bypassable", FIELD_SECURE, offsetof(struct network, secure), false },
    { "exclude-local", FIELD_EXCLUDE_LOCAL, offsetof(struct network, exclude_local), true },
    { "include-local", FIELD_EXCLUDE_LOCAL, offsetof(struct network, exclude_local), false },
    { "fall-through", FIELD_FALL_THROUGH, offsetof(struct network, fall_through), true },
    { "no-fall-through", FIELD_FALL_THROUGH, offsetof(struct network, fall_through), false },
    { "lockdown", FIELD_LOCKDOWN, offsetof(struct network, lockdown), true },
    { "no-lockdown", FIELD_LOCKDOWN, offsetof(struct network, lockdown), false },
};

static bool take_flag(struct options *o, const char *word)
{
    for (size_t i = 0; i < ELEMENTSOF(flags); i++)
        if (streq(flags[i].word, word)) {
            o->fields |= flags[i].field;
            *(bool *)((char *)o->draft + flags[i].offset) = flags[i].value;
            return true;
        }
    return false;
}

static void take_option(struct options *o, const char *word, const char *v)
{
    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        if (streq(options[i].word, word)) {
            o->fields |= options[i].field;
            if (!v || options[i].take(o, v) < 0)
                scene_bad("option of a network", word);
            return;
        }
    scene_bad("option of a network", word);
}

static void take_options(struct options *o, scene_words w, size_t n)
{
    o->draft = network_new();
    if (!o->draft || !str_set(o->draft->name, sizeof(o->draft->name), w[1]))
        abort();
    o->draft->origin = ORIGIN_COMMAND;
    for (size_t i = 2; i < n; i++)
        if (!take_flag(o, w[i])) {
            take_option(o, w[i], i + 1 < n ? w[i + 1] : NULL);
            i++;
        }
}

static int do_network(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct options o = { 0 };
    int r;

    take_options(&o, w, n);
    r = edit_add_network(s->m, &s->k, o.draft, o.fields | FIELD_SECURE, NULL, why);
    network_unref(o.draft);
    return r;
}

static int do_set(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct options o = { 0 };
    int r;

    take_options(&o, w, n);
    r = edit_set_network(s->m, w[1], o.draft->origin, o.draft, o.fields, why);
    network_unref(o.draft);
    return r;
}

static int do_remove(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    return edit_remove_network(s->m, w[1], why);
}

static int do_attach(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    if (streq(w[0], "attach"))
        return edit_attach(s->m, &s->k, w[1], ORIGIN_COMMAND, w[2], why);
    return edit_detach(s->m, w[1], ORIGIN_COMMAND, w[2], why);
}

static int do_route(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct route_spec route;

    if (route_spec_parse(w + 2, n - 2, &route, why) < 0)
        scene_bad(why->text, w[2]);
    if (streq(w[0], "route"))
        return edit_add_route(s->m, &s->k, w[1], ORIGIN_COMMAND, &route, why);
    return edit_remove_route(s->m, &s->k, w[1], ORIGIN_COMMAND, &route, why);
}

static size_t take_ranges(scene_words w, size_t n, struct uid_range *ranges)
{
    for (size_t i = 0; i < n; i++)
        if (uid_range_parse(w[i], 10, &ranges[i]) < 0)
            scene_bad("range of uids", w[i]);
    return n;
}

static int do_users(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct uid_range ranges[SCENE_WORDS_MAX];
    size_t n_ranges = take_ranges(w + 2, n - 2, ranges);

    if (streq(w[0], "users"))
        return edit_add_users(s->m, w[1], ORIGIN_COMMAND, ranges, n_ranges, why);
    return edit_remove_users(s->m, w[1], ORIGIN_COMMAND, ranges, n_ranges, why);
}

static int do_default(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    return edit_set_default(s->m, streq(w[1], "system") ? NULL : w[1], why);
}

static int do_assign(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct assignment a = { .strength = STRENGTH_REQUIRE, .origin = ORIGIN_COMMAND };
    struct uid_range ranges[SCENE_WORDS_MAX];

    if (selector_parse(w[1], &a.selector, why) < 0)
        scene_bad("selector", w[1]);
    for (size_t i = 3; i < n; i++) {
        int strength = strength_from_string(w[i]);

        if (strength >= 0)
            a.strength = (enum strength)strength;
        else if (streq(w[i], "origin") && i + 1 < n)
            a.origin = (enum origin)origin_from_string(w[++i]);
        else if (streq(w[i], "uids")) {
            a.uids = uid_set_new(ranges, take_ranges(w + i + 1, n - i - 1, ranges));
            break;
        } else
            scene_bad("word of an assignment", w[i]);
    }
    if (assignment_set_target(&a, w[2]) < 0)
        abort();
    if (a.origin == ORIGIN_CONFIG) {
        a.file = rstr_new("waymark.conf");
        a.line = 9;
    }
    return edit_assign(s->m, &a, why);
}

static int do_unassign(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct selector selector;
    int r;

    (void)n;
    if (selector_parse(w[1], &selector, why) < 0)
        scene_bad("selector", w[1]);
    r = edit_unassign(s->m, &selector, why);
    selector_done(&selector);
    return r;
}

static int do_legacy(struct scene *s, scene_words w, size_t n, struct why *why)
{
    bool system = streq(w[1], "system");
    struct route_spec route;

    if (route_spec_parse(w + 2, n - 2, &route, why) < 0)
        scene_bad(why->text, w[2]);
    if (streq(w[0], "legacy"))
        return edit_add_legacy_route(s->m, &s->k, &route, system, why);
    return edit_remove_legacy_route(s->m, &route, system, why);
}

static int do_host_networks(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    (void)why;
    s->m->host_networks = streq(w[1], "yes");
    return 0;
}

static int do_host_update(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)w;
    (void)n;
    (void)why;
    return host_update(s->m, &s->k);
}

static int do_ignore(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct model *m = s->m;
    int r = 0;

    (void)why;
    for (size_t i = 1; r == 0 && i < n; i++)
        r = ARRAY_PUSH(m->ignored, m->n_ignored, m->cap_ignored, rstr_new(w[i]));
    return r;
}

static int do_known(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    (void)why;
    return model_know_netid(s->m, w[1], scene_number(w[2], NETID_MAX));
}

static int do_permission(struct scene *s, scene_words w, size_t n, struct why *why)
{
    int permission = permission_from_string(w[2]);

    (void)n;
    (void)why;
    if (permission < 0)
        scene_bad("permission", w[2]);
    return model_set_user_permission(s->m, scene_number(w[1], UID_MAX),
                                     (enum permission)permission);
}

static int do_protect(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)n;
    (void)why;
    return model_set_protectable(s->m, scene_number(w[1], UID_MAX), streq(w[2], "yes"));
}

static int do_maps(struct scene *s, scene_words w, size_t n, struct why *why)
{
    (void)w;
    (void)n;
    (void)why;
    s->m->process_selectors = true;
    return 0;
}

static int do_app(struct scene *s, scene_words w, size_t n, struct why *why)
{
    struct plan_app app = { .kind = streq(w[1], "exe") ? GUARD_APP_EXE : GUARD_APP_CGROUP };
    struct selector selector;
    ssize_t i;

    (void)n;
    if (selector_parse(w[3], &selector, why) < 0)
        scene_bad("selector", w[3]);
    i = assignments_find(s->m->assignments, &selector);
    selector_done(&selector);
    if (i < 0 || s->n_apps == SCENE_APPS_MAX)
        scene_bad("assignment", w[3]);
    app.id = scene_number(w[2], UINT32_MAX);
    app.dev = app.kind == GUARD_APP_EXE ? 7 : 0;
    app.assignment = (size_t)i;
    s->apps[s->n_apps++] = app;
    return 0;
}

static const struct {
    const char *verb;
    size_t min; /* words */
    int (*run)(struct scene *s, scene_words w, size_t n, struct why *why);
} verbs[] = {
    { "network", 2, do_network },
    { "set", 2, do_set },
    { "remove", 2, do_remove },
    { "attach", 3, do_attach },
    { "detach", 3, do_attach },
    { "route", 3, do_route },
    { "route-remove", 3, do_route },
    { "users", 3, do_users },
    { "users-remove", 3, do_users },
    { "default", 2, do_default },
    { "assign", 3, do_assign },
    { "unassign", 2, do_unassign },
    { "legacy", 3, do_legacy },
    { "legacy-remove", 3, do_legacy },
    { "host-networks", 2, do_host_networks },
    { "host-update", 1, do_host_update },
    { "ignore", 2, do_ignore },
    { "known", 3, do_known },
    { "permission", 3, do_permission },
    { "protect", 3, do_protect },
    { "maps", 1, do_maps },
    { "app", 4, do_app },
};

int scene_model_line(struct scene *s, scene_words w, size_t n, struct why *why)
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
