/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "basic/parse.h"
#include "daemon/netd-commands.h"

/* android.md §1.6: uids below it have SYSTEM unless told otherwise. */
enum { FIRST_APPLICATION_UID = 10000 };

/* Everything that an edit here may need. */
struct order {
    bool add;
    uint32_t netid;
    const char *interface;
    const char *destination, *nexthop; /* nexthop NULL = on-link */
    bool legacy;
    uint32_t uid; /* of who asks for a legacy route */
    struct network *draft;
    unsigned fields;
    enum permission permission;
    uint32_t *uids;
    struct uid_range *ranges;
    size_t n; /* of uids or ranges */
};

static struct netd_answer change(struct netd_call *call, manager_edit edit, struct order *o,
                                 const char *failed)
{
    return netd_change(call, edit, o, "success", failed);
}

/* 1 for `yes`, 0 for `no`, -EINVAL for any other word. */
static int parse_choice(const char *word, const char *yes, const char *no)
{
    const char *const words[] = { no, yes };

    return parse_word(words, ELEMENTSOF(words), word);
}

/* NONE is what clearing means, so it has no word. */
static int parse_permission(const char *word, enum permission *ret)
{
    static const char *const words[] = {
        [PERMISSION_NETWORK] = "NETWORK",
        [PERMISSION_SYSTEM] = "SYSTEM",
    };
    int i = parse_word(words, ELEMENTSOF(words), word);

    if (i < 0)
        return i;
    *ret = (enum permission)i;
    return 0;
}

/* getPermissionForUser() */
static bool is_system_user(const struct model *m, uint32_t uid)
{
    enum permission permission;

    if (model_user_permission(m, uid, &permission) < 0)
        return uid < FIRST_APPLICATION_UID;
    return (permission & PERMISSION_SYSTEM) == PERMISSION_SYSTEM;
}

/*
 * The original looks at netId and interface before it reads the destination; and what edits legacy
 * routes does not know netIds. Hence this look at whose the interface is.
 */
static int check_owner(const struct model *m, const struct order *o, struct why *why)
{
    const struct network *owner = model_network_of(m, o->interface);

    if (!owner)
        return why_set(why, -ENODEV, "interface '%.32s' is in no network", o->interface);
    if (owner->netid != o->netid)
        return why_set(why, -ENOENT, "interface '%.32s' is in network '%s'", o->interface,
                       owner->name);
    return 0;
}

static int edit_route(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1];
    struct route_spec route;
    int r;

    r = netd_network_name(m, o->netid, name, why);
    if (r == 0)
        r = check_owner(m, o, why);
    if (r == 0 && netdtext_route(o->interface, o->destination, o->nexthop, &route) < 0)
        r = why_set(why, -EINVAL, "not a route: %.60s %.60s", o->destination,
                    o->nexthop ? o->nexthop : "");
    if (r < 0)
        return r;
    /* on the local network all routes are in table 97 */
    if (o->legacy && o->netid != NETID_LOCAL) {
        bool system = is_system_user(m, o->uid);

        return o->add ? edit_add_legacy_route(m, k, &route, system, why)
                      : edit_remove_legacy_route(m, &route, system, why);
    }
    return o->add ? edit_add_route(m, k, name, ORIGIN_RUNTIME, &route, why)
                  : edit_remove_route(m, k, name, ORIGIN_RUNTIME, &route, why);
}

/* network route [legacy <uid>] add|remove <netId> <interface> <destination> [<nexthop>] */
static struct netd_answer run_route(struct netd_call *call)
{
    const char *const *argv = call->argv + 2; /* 4 of them at least */
    size_t argc = call->argc - 2;
    struct order o = { .legacy = streq(argv[0], "legacy") };
    int add;

    if (o.legacy) {
        o.uid = netdtext_number(argv[1]);
        argv += 2;
        argc -= 2;
    }
    add = parse_choice(argv[0], "add", "remove");
    if (add < 0)
        return netd_syntax_error("Unknown argument");
    if (argc != 4 && argc != 5)
        return netd_syntax_error("Incorrect number of arguments");
    o.add = add;
    o.netid = netdtext_netid(argv[1]);
    o.interface = argv[2];
    o.destination = argv[3];
    o.nexthop = argc == 5 ? argv[4] : NULL;
    return change(call, edit_route, &o, add ? "addRoute() failed" : "removeRoute() failed");
}

static int edit_interface(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1];
    int r;

    /* DummyNetwork and UnreachableNetwork, which Android has always */
    if (o->netid == NETID_DUMMY || o->netid == NETID_UNREACHABLE)
        return why_set(why, -EINVAL, "netId %u has no interfaces", o->netid);
    r = netd_network_name(m, o->netid, name, why);
    if (r < 0)
        return r;
    return o->add ? edit_attach(m, k, name, ORIGIN_RUNTIME, o->interface, why)
                  : edit_detach(m, name, ORIGIN_RUNTIME, o->interface, why);
}

/* network interface add|remove <netId> <interface> */
static struct netd_answer run_interface(struct netd_call *call)
{
    struct order o = {
        .netid = netdtext_netid(call->argv[3]),
        .interface = call->argv[4],
    };
    int add = parse_choice(call->argv[2], "add", "remove");

    if (add < 0)
        return netd_syntax_error("Unknown argument");
    o.add = add;
    return change(call, edit_interface, &o,
                  add ? "addInterfaceToNetwork() failed" : "removeInterfaceFromNetwork() failed");
}

static int edit_create(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;

    return edit_add_network(m, k, o->draft, o->fields, NULL, why);
}

/* network create <netId> [NETWORK|SYSTEM], network create <netId> vpn <hasDns> <secure> */
static struct netd_answer run_create(struct netd_call *call)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    bool vpn = call->argc == 6 && streq(call->argv[3], "vpn");
    const char *failed = vpn ? "createVirtualNetwork() failed" : "createPhysicalNetwork() failed";
    struct order o = { .draft = draft, .fields = FIELD_NETID | FIELD_TYPE | FIELD_SECURE };

    if (!vpn && call->argc > 4)
        return netd_syntax_error("Unknown trailing argument(s)");
    if (!draft)
        return netd_failed(failed, -ENOMEM);
    if (!vpn && call->argc == 4 && parse_permission(call->argv[3], &draft->permission) < 0)
        return netd_syntax_error("Unknown permission");
    draft->netid = netdtext_netid(call->argv[2]);
    draft->type = vpn ? NETWORK_VPN : NETWORK_PHYSICAL;
    draft->origin = ORIGIN_RUNTIME;
    (void)snprintf(draft->name, sizeof(draft->name), "net%u", draft->netid);
    if (vpn) {
        draft->has_dns = strtol(call->argv[4], NULL, 10) != 0;
        draft->secure = strtol(call->argv[5], NULL, 10) != 0;
    }
    return change(call, edit_create, &o, failed);
}

static int edit_destroy(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1];
    int r;

    (void)k;
    if (o->netid == NETID_LOCAL || o->netid == NETID_UNREACHABLE)
        return why_set(why, -EINVAL, "netId %u is built in", o->netid);
    r = netd_network_name(m, o->netid, name, why);
    if (r == 0)
        r = edit_remove_network(m, name, why);
    if (r < 0 || m->default_source || !streq(rstr_text(m->default_network), name))
        return r;
    return edit_set_default(m, NULL, why);
}

/* network destroy <netId> */
static struct netd_answer run_destroy(struct netd_call *call)
{
    struct order o = { .netid = netdtext_netid(call->argv[2]) };

    return change(call, edit_destroy, &o, "destroyNetwork() failed");
}

static int edit_default(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1] = "";
    int r = 0;

    (void)k;
    if (o->netid != NETID_UNSET)
        r = netd_network_name(m, o->netid, name, why);
    /* "same as current" comes before everything else, also before whose it is to change */
    if (r < 0 || streq(rstr_text(m->default_network), name))
        return r;
    return edit_set_default(m, name[0] ? name : NULL, why);
}

/* network default set <netId>, network default clear; a netId of 0 is none, as in the original */
static struct netd_answer run_default(struct netd_call *call)
{
    struct order o = { .netid = NETID_UNSET };
    int set = parse_choice(call->argv[2], "set", "clear");

    if (set < 0)
        return netd_syntax_error("Unknown argument");
    if (set && call->argc < 4)
        return netd_syntax_error("Missing netId");
    if (set)
        o.netid = netdtext_netid(call->argv[3]);
    return change(call, edit_default, &o, "setDefaultNetwork() failed");
}

static int edit_user_permissions(struct model *m, const struct kernel *k, void *data,
                                 struct why *why)
{
    const struct order *o = data;
    int r = 0;

    (void)k;
    (void)why;
    for (size_t i = 0; r == 0 && i < o->n; i++)
        r = model_set_user_permission(m, o->uids[i], o->permission);
    return r;
}

static struct netd_answer permit_users(struct netd_call *call, size_t from,
                                       enum permission permission)
{
    uint32_t uids[NETDTEXT_ARGS_MAX];
    struct order o = { .permission = permission, .uids = uids };

    for (size_t i = from; i < call->argc; i++)
        if (netdtext_uid(call->argv[i], &uids[o.n++]) < 0)
            return netd_syntax_error("Invalid id");
    return change(call, edit_user_permissions, &o, "setPermissionForUsers() failed");
}

static int edit_network_permission(struct model *m, const struct kernel *k, void *data,
                                   struct why *why)
{
    const struct order *o = data;
    const struct network *n = model_network(m, o->netid);
    char name[NETWORK_NAME_MAX + 1];
    int r;

    (void)k;
    r = netd_network_name(m, o->netid, name, why);
    if (r < 0)
        return r;
    /* for the edit it is fine to take away what a VPN cannot have */
    if (n->type != NETWORK_PHYSICAL)
        return why_set(why, -EINVAL, "network '%s' is not physical", name);
    return edit_set_network(m, name, ORIGIN_RUNTIME, o->draft, FIELD_PERMISSION, why);
}

static struct netd_answer permit_networks(struct netd_call *call, size_t from,
                                          enum permission permission)
{
    static const char failed[] = "setPermissionForNetworks() failed";
    _cleanup_(network_unrefp) struct network *draft = network_new();
    struct order o = { .draft = draft };
    struct netd_answer answer = netd_failed(failed, -ENOMEM);

    if (!draft)
        return answer;
    draft->permission = permission;
    for (size_t i = from; i < call->argc; i++) {
        o.netid = netdtext_netid(call->argv[i]);
        answer = change(call, edit_network_permission, &o, failed);
        if (answer.error < 0)
            break;
    }
    return answer;
}

/* network permission user|network set <permission> <id>… and …clear <id>… */
static struct netd_answer run_permission(struct netd_call *call)
{
    enum permission permission = PERMISSION_NONE;
    int set = parse_choice(call->argv[3], "set", "clear"), user;
    size_t from = set > 0 ? 5 : 4;

    if (set < 0)
        return netd_syntax_error("Unknown argument");
    if (set && parse_permission(call->argv[4], &permission) < 0)
        return netd_syntax_error("Unknown permission");
    if (from == call->argc)
        return netd_syntax_error("Missing id");
    user = parse_choice(call->argv[2], "user", "network");
    if (user < 0)
        return netd_syntax_error("Unknown argument");
    return user ? permit_users(call, from, permission) : permit_networks(call, from, permission);
}

static int edit_users(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1];
    int r;

    (void)k;
    r = netd_network_name(m, o->netid, name, why);
    if (r < 0)
        return r;
    return o->add ? edit_add_users(m, name, ORIGIN_RUNTIME, o->ranges, o->n, why)
                  : edit_remove_users(m, name, ORIGIN_RUNTIME, o->ranges, o->n, why);
}

/* network users add|remove <netId> [<uid>[-<uid>]]… */
static struct netd_answer run_users(struct netd_call *call)
{
    struct uid_range ranges[NETDTEXT_ARGS_MAX];
    struct order o = { .netid = netdtext_netid(call->argv[3]), .ranges = ranges };
    int add;

    for (size_t i = 4; i < call->argc; i++)
        if (uid_range_parse(call->argv[i], 0, &ranges[o.n++]) < 0)
            return netd_syntax_error("Invalid UIDs");
    add = parse_choice(call->argv[2], "add", "remove");
    if (add < 0)
        return netd_syntax_error("Unknown argument");
    o.add = add;
    return change(call, edit_users, &o,
                  add ? "addUsersToNetwork() failed" : "removeUsersFromNetwork() failed");
}

static int edit_protect(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    int r = 0;

    (void)k;
    (void)why;
    for (size_t i = 0; r == 0 && i < o->n; i++)
        r = model_set_protectable(m, o->uids[i], o->add);
    return r;
}

/* network protect allow|deny <uid>… */
static struct netd_answer run_protect(struct netd_call *call)
{
    uint32_t uids[NETDTEXT_ARGS_MAX];
    struct order o = { .uids = uids };
    int allow = parse_choice(call->argv[2], "allow", "deny");

    if (allow < 0)
        return netd_syntax_error("Unknown argument");
    o.add = allow;
    /* not checked in the original; 0xffffffff is nobody, and nobody need not be written down */
    for (size_t i = 3; i < call->argc; i++) {
        uids[o.n] = netdtext_number(call->argv[i]);
        o.n += uids[o.n] != UID_INVALID;
    }
    return change(call, edit_protect, &o, allow ? "allowProtect() failed" : "denyProtect() failed");
}

static struct netd_answer run_unknown(struct netd_call *call)
{
    (void)call;
    return netd_syntax_error("Unknown argument");
}

struct netd_answer netd_network(struct netd_call *call)
{
    static const struct netd_verb verbs[] = {
        { "route", 6, 9, "Incorrect number of arguments", run_route },
        { "interface", 5, 5, "Missing argument", run_interface },
        { "create", 3, SIZE_MAX, "Missing argument", run_create },
        { "destroy", 3, 3, "Incorrect number of arguments", run_destroy },
        { "default", 3, SIZE_MAX, "Missing argument", run_default },
        { "permission", 5, SIZE_MAX, "Missing argument", run_permission },
        { "users", 4, SIZE_MAX, "Missing argument", run_users },
        { "protect", 4, SIZE_MAX, "Missing argument", run_protect },
        { NULL, 2, SIZE_MAX, "", run_unknown },
    };

    return netd_dispatch(call, verbs, 1);
}
