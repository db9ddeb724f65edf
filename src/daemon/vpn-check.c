/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may be which VPN: the owner of a profile, who was consented to, and who needs no consent. */

#include <errno.h>

#include "daemon/vpn-service-internal.h"

static bool is_exe(const struct selector *exe, const struct exe_id *id)
{
    struct exe_id wanted;

    /* not by its path: in a mount namespace of his own anybody has what he likes there */
    return id->ino != 0 && exe_identify(exe->text->s, 0, &wanted) == 0 && wanted.dev == id->dev &&
           wanted.ino == id->ino;
}

/* Is this process meant? `uid` is what a user: selector means. */
static bool is_meant(const struct selector *who, uint32_t user, uint32_t uid,
                     const struct exe_id *id)
{
    if (who->kind == SELECTOR_EXE)
        return is_exe(who, id);
    return user != UID_INVALID
               ? user == uid
               : who->kind == SELECTOR_UID && who->uid.lo <= uid && uid <= who->uid.hi;
}

const struct vpn_consent *vpn_service_find_consent(const struct model *m, uint32_t uid,
                                                   const struct exe_id *exe_id)
{
    const struct vpn_consent *found = NULL;

    for (size_t i = 0; i < m->n_consents; i++) {
        const struct vpn_consent *c = &m->consents[i];

        if (is_meant(&c->who, c->uid, uid, exe_id) && (!found || c->everyone))
            found = c;
    }
    return found;
}

static int check_consent(const struct model *m, const struct vpn_session *c, bool everyone,
                         struct why *why)
{
    const struct vpn_consent *consent;

    if (c->privileged)
        return 0;
    consent = vpn_service_find_consent(m, c->uid, &c->exe_id);
    if (!consent)
        return why_set(
            why, -EACCES,
            "user %u has no consent to make VPNs: an administrator gives it with `waymark "
            "vpn consent uid:%u`",
            c->uid, c->uid);
    if (everyone && !consent->everyone)
        return why_set(why, -EACCES,
                       "user %u has consent to make VPNs for himself alone, not for everyone: an "
                       "administrator gives it with `waymark vpn consent uid:%u --everyone`",
                       c->uid, c->uid);
    return 0;
}

/* A VPN that the administrator has made. */
static int check_profile(const struct model *m, const struct vpn *v, const struct vpn_session *c,
                         struct why *why)
{
    _cleanup_strbuf_ struct strbuf owner = STRBUF_INIT;

    if (!v->has_owner)
        return check_consent(m, c, true, why);
    if (c->privileged || is_meant(&v->owner, v->owner_resolved, c->uid, &c->exe_id))
        return 0;
    selector_print(&v->owner, &owner);
    return why_set(why, -EPERM, "VPN '%s' is %s's, and that is not you", v->name,
                   strbuf_text(&owner));
}

static int check_new(const struct model *m, const char *name, struct why *why)
{
    int r = network_name_check(name, why);

    if (r == 0 && model_network_by_name(m, name))
        r = why_set(why, -EEXIST, "a network is called '%s': choose another name for the VPN",
                    name);
    return r;
}

int vpn_check(const struct model *m, const struct vpn_session *c, const char *name, bool everyone,
              struct why *why)
{
    const struct vpn *v = model_vpn(m, name);
    int r = v ? 0 : check_new(m, name, why);

    if (r < 0)
        return r;
    if (v && v->kind != VPN_SERVICE)
        return why_set(why, -EINVAL,
                       "VPN '%s' is adopted: its interfaces are made by somebody else", name);
    if (v && v->origin != ORIGIN_RUNTIME)
        return check_profile(m, v, c, why);
    if (v && v->owner_uid != UID_INVALID && v->owner_uid != c->uid)
        return why_set(why, -EPERM, "VPN '%s' is user %u's", name, v->owner_uid);
    return check_consent(m, c, everyone, why);
}

enum { PRIVATE_LEN_MIN = 7 }; /* the shortest of these */

/* Where everybody may have addresses: RFC 1918, 6598, 4193; and those that are each link's own. */
static bool is_private(const struct ip_addr *a)
{
    static const char *const prefixes[] = { "10.0.0.0/8",    "172.16.0.0/12", "192.168.0.0/16",
                                            "100.64.0.0/10", "fc00::/7",      "fe80::/10" };
    struct ip_prefix prefix;

    for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
        if (ip_prefix_parse(prefixes[i], &prefix) == 0 && ip_prefix_contains(&prefix, a))
            return true;
    return false;
}

/* Is it on an interface, or next to one? Those of users' VPNs have private addresses, which may be equal. */
static bool is_on_link(const struct manager *m, const struct ip_addr *a)
{
    const struct kernel *k = &m->kernel;

    for (size_t i = 0; i < k->n_addrs; i++) {
        const struct ip_prefix prefix = ip_prefix_make(&k->addrs[i].local, k->addrs[i].prefix_len);
        const struct rtnl_link *link = kernel_link(k, k->addrs[i].ifindex);

        if (prefix.addr.family == a->family && ip_prefix_contains(&prefix, a) &&
            !(link && startswith(link->name, VPN_INTERFACE_PREFIX)))
            return true;
    }
    return false;
}

/* Does another network ask it for names, or send by it? */
static bool is_of_network(const struct model *m, const char *name, const struct ip_addr *a)
{
    for (size_t i = 0; i < m->n_networks; i++) {
        const struct network *n = m->networks[i];

        for (size_t j = 0; !streq(n->name, name) && j < n->n_dns; j++)
            if (ip_addr_equal(&n->dns[j], a))
                return true;
        for (size_t j = 0; !streq(n->name, name) && j < n->n_routes; j++)
            if (ip_addr_equal(&n->routes[j].gateway, a))
                return true;
    }
    return false;
}

/* Does the machine know a way to it, other than to wherever (the default, or the halves of it)? */
static bool is_behind_route(const struct kernel *k, const struct ip_addr *a)
{
    const struct rtnl_route *routes;
    size_t n = kernel_table(k, a->family, RT_TABLE_MAIN, &routes);

    for (size_t i = 0; i < n; i++) {
        const struct rtnl_link *link = kernel_link(k, routes[i].oif);

        if (routes[i].type == RTN_UNICAST && routes[i].dst.len >= PRIVATE_LEN_MIN &&
            ip_prefix_contains(&routes[i].dst, a) &&
            !(link && startswith(link->name, VPN_INTERFACE_PREFIX)))
            return true;
    }
    return false;
}

int vpn_check_addresses(const struct manager *m, const struct vpn_session *session,
                        const struct vpn_config *c, struct why *why)
{
    char text[IP_TEXT_MAX];

    for (size_t i = 0; !session->privileged && !session->everyone && i < c->n_addresses; i++) {
        const struct ip_addr *a = &c->addresses[i].addr;

        if (ip_addr_is_link_local(a) && a->family == AF_INET6)
            continue;
        if (!is_private(a))
            return why_set(why, -EPERM,
                           "%s is not a private address: as an address of this machine it would be "
                           "taken from all its users, so it takes consent for everyone "
                           "(`waymark vpn consent --everyone`)",
                           ip_addr_format(a, text));
        if (is_on_link(m, a) || is_behind_route(&m->kernel, a) ||
            is_of_network(m->model, session->name, a))
            return why_set(why, -EPERM,
                           "%s is on another network of this machine, or serves one: use one that "
                           "is not, or have consent for everyone",
                           ip_addr_format(a, text));
    }
    return 0;
}

/* One user's, so that nobody takes all. */
enum {
    SESSIONS_MAX = 1024,
    SESSIONS_RESERVED = 64, /* which only root gets */
    SESSIONS_PER_UID_MAX = 64,
    INTERFACES_PER_UID_MAX = 64,
    /* by consent; each costs some 30 µs of everybody's time whenever it is established */
    ROUTES_PER_UID_MAX = 1024,
};

int vpn_check_room(const struct vpn_service *s, uint32_t uid, struct why *why)
{
    const struct vpn_session *session;
    size_t n = 0, max = SESSIONS_MAX - (uid == 0 ? 0 : SESSIONS_RESERVED);

    TAILQ_FOREACH(session, &s->sessions, entry)
    n += session->uid == uid;
    if (uid != 0 && n >= SESSIONS_PER_UID_MAX)
        return why_set(why, -EUSERS, "user %u has prepared %zu VPNs already", uid, n);
    return s->n_sessions < max
               ? 0
               : why_set(why, -EUSERS, "all users together have prepared %zu VPNs already",
                         s->n_sessions);
}

int vpn_check_share(const struct model *m, const struct vpn_session *session,
                    const struct vpn_config *c, struct why *why)
{
    const struct vpn *own = model_vpn(m, session->name);
    bool by_consent = !session->privileged && (!own || own->origin == ORIGIN_RUNTIME);
    size_t n = 0, n_routes = c->n_routes;

    for (size_t i = 0; i < m->n_vpns; i++) {
        const struct vpn *v = m->vpns[i];

        if (v == own || v->owner_uid != session->uid)
            continue;
        n += vpn_is_active(v);
        n_routes += v->origin == ORIGIN_RUNTIME && v->config ? v->config->n_routes : 0;
    }
    if (n >= INTERFACES_PER_UID_MAX)
        return why_set(why, -EUSERS, "user %u has %zu VPNs already", session->uid, n);
    if (by_consent && n_routes > ROUTES_PER_UID_MAX)
        return why_set(
            why, -E2BIG,
            "%zu routes are more than the %d that all VPNs of user %u may have by "
            "consent: an administrator makes him the owner of this one (`waymark vpn add "
            "%s --owner %u`)",
            n_routes, ROUTES_PER_UID_MAX, session->uid, session->name, session->uid);
    return 0;
}
