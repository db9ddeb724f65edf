/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/model.h"

#include <errno.h>

#include "basic/array.h"

struct model *model_new(void)
{
    struct model *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->assignments = assignments_new();
    m->last_uids = assignments_new();
    if (!m->assignments || !m->last_uids) {
        assignments_unref(m->assignments);
        assignments_unref(m->last_uids);
        free(m);
        return NULL;
    }
    return m;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_networks; i++)
        network_unref(m->networks[i]);
    for (size_t i = 0; i < m->n_known; i++)
        rstr_unref(m->known[i].name);
    for (size_t i = 0; i < m->n_ignored; i++)
        rstr_unref(m->ignored[i]);
    for (size_t i = 0; i < m->n_vpns; i++)
        vpn_unref(m->vpns[i]);
    for (size_t i = 0; i < m->n_consents; i++)
        selector_done(&m->consents[i].who);
    assignments_unref(m->assignments);
    assignments_unref(m->last_uids);
    rstr_unref(m->default_network);
    rstr_unref(m->default_source);
    free(m->networks);
    free(m->vpns);
    free(m->consents);
    free(m->permissions);
    free(m->protectable);
    free(m->legacy);
    free(m->known);
    free(m->ignored);
    free(m);
}

struct model *model_copy(const struct model *m)
{
    struct model *c = calloc(1, sizeof(*c));
    int r = 0;

    if (!c)
        return NULL;
    c->host_networks = m->host_networks;
    c->process_selectors = m->process_selectors;
    c->assignments = assignments_ref(m->assignments);
    c->last_uids = assignments_ref(m->last_uids);
    c->default_network = rstr_ref(m->default_network);
    c->default_source = rstr_ref(m->default_source);

#define COPY(what)                                                                   \
    if (array_copy((void **)&c->what, m->what, m->n_##what, sizeof(m->what[0])) < 0) \
        r = -ENOMEM;                                                                 \
    else                                                                             \
        c->n_##what = c->cap_##what = m->n_##what
    COPY(networks);
    COPY(vpns);
    COPY(consents);
    COPY(permissions);
    COPY(protectable);
    COPY(legacy);
    COPY(known);
    COPY(ignored);
#undef COPY
    for (size_t i = 0; i < c->n_networks; i++)
        (void)network_ref(c->networks[i]);
    for (size_t i = 0; i < c->n_known; i++)
        (void)rstr_ref(c->known[i].name);
    for (size_t i = 0; i < c->n_ignored; i++)
        (void)rstr_ref(c->ignored[i]);
    for (size_t i = 0; i < c->n_vpns; i++)
        (void)vpn_ref(c->vpns[i]);
    for (size_t i = 0; i < c->n_consents; i++)
        (void)rstr_ref(c->consents[i].who.text);
    if (r < 0) {
        model_free(c);
        return NULL;
    }
    return c;
}

/* The first network whose netId is not below this one. */
static size_t network_bound(const struct model *m, uint32_t netid)
{
    size_t lo = 0, hi = m->n_networks;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->networks[mid]->netid < netid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct network *model_network(const struct model *m, uint32_t netid)
{
    size_t i = network_bound(m, netid);

    return i < m->n_networks && m->networks[i]->netid == netid ? m->networks[i] : NULL;
}

struct network *model_network_by_name(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->n_networks; i++)
        if (streq(m->networks[i]->name, name))
            return m->networks[i];
    return NULL;
}

struct network *model_network_of(const struct model *m, const char *interface)
{
    for (size_t i = 0; i < m->n_networks; i++)
        if (network_has_interface(m->networks[i], interface))
            return m->networks[i];
    return NULL;
}

struct network *model_default(const struct model *m)
{
    struct network *n = m->default_network ? model_network_by_name(m, m->default_network->s) : NULL;

    return n && n->type == NETWORK_PHYSICAL ? n : NULL;
}

static size_t vpn_bound(const struct model *m, const char *name)
{
    size_t lo = 0, hi = m->n_vpns;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(m->vpns[mid]->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct vpn *model_vpn(const struct model *m, const char *name)
{
    size_t i = vpn_bound(m, name);

    return i < m->n_vpns && streq(m->vpns[i]->name, name) ? m->vpns[i] : NULL;
}

int model_put_vpn(struct model *m, struct vpn *v)
{
    size_t i = vpn_bound(m, v->name);

    if (i < m->n_vpns && streq(m->vpns[i]->name, v->name)) {
        vpn_unref(m->vpns[i]);
    } else {
        if (ARRAY_RESERVE(m->vpns, m->cap_vpns, m->n_vpns + 1) < 0) {
            vpn_unref(v);
            return -ENOMEM;
        }
        memmove(m->vpns + i + 1, m->vpns + i, (m->n_vpns - i) * sizeof(*m->vpns));
        m->n_vpns++;
    }
    m->vpns[i] = v;
    return 0;
}

void model_drop_vpn(struct model *m, const char *name)
{
    size_t i = vpn_bound(m, name);

    if (i == m->n_vpns || !streq(m->vpns[i]->name, name))
        return;
    vpn_unref(m->vpns[i]);
    m->n_vpns--;
    memmove(m->vpns + i, m->vpns + i + 1, (m->n_vpns - i) * sizeof(*m->vpns));
}

size_t model_find_consent(const struct model *m, const struct selector *who)
{
    size_t i = 0;

    while (i < m->n_consents && selector_compare(&m->consents[i].who, who) < 0)
        i++;
    return i;
}

int model_put_consent(struct model *m, struct vpn_consent *consent)
{
    size_t i = model_find_consent(m, &consent->who);

    if (i < m->n_consents && selector_compare(&m->consents[i].who, &consent->who) == 0) {
        selector_done(&m->consents[i].who);
    } else {
        if (ARRAY_RESERVE(m->consents, m->cap_consents, m->n_consents + 1) < 0) {
            selector_done(&consent->who);
            return -ENOMEM;
        }
        memmove(m->consents + i + 1, m->consents + i, (m->n_consents - i) * sizeof(*m->consents));
        m->n_consents++;
    }
    m->consents[i] = *consent;
    *consent = (struct vpn_consent){ 0 };
    return 0;
}

void model_drop_consent(struct model *m, size_t i)
{
    selector_done(&m->consents[i].who);
    m->n_consents--;
    memmove(m->consents + i, m->consents + i + 1, (m->n_consents - i) * sizeof(*m->consents));
}

static bool is_consented(const struct vpn_consent *c, uint32_t uid, const char *exe)
{
    switch (c->who.kind) {
    case SELECTOR_UID:
        return uid_range_contains(&c->who.uid, uid);
    case SELECTOR_USER:
        return c->uid == uid && uid != UID_INVALID;
    case SELECTOR_EXE:
        return exe && streq(c->who.text->s, exe);
    case SELECTOR_GROUP:
    case SELECTOR_CGROUP:
    case SELECTOR_UNIT:
    case SELECTOR_KIND_MAX:
        break;
    }
    return false;
}

const struct vpn_consent *model_consent(const struct model *m, uint32_t uid, const char *exe)
{
    const struct vpn_consent *found = NULL;

    for (size_t i = 0; i < m->n_consents && !(found && found->everyone); i++)
        if (is_consented(&m->consents[i], uid, exe))
            found = !found || m->consents[i].everyone ? &m->consents[i] : found;
    return found;
}

size_t model_find_legacy(const struct model *m, const struct route_spec *route, bool system)
{
    size_t i = 0;

    while (i < m->n_legacy &&
           (m->legacy[i].system != system || route_spec_compare(&m->legacy[i].route, route) != 0))
        i++;
    return i;
}

bool model_uses_android_tables(const struct model *m)
{
    return !m->host_networks || m->n_legacy > 0 || model_network(m, NETID_LOCAL);
}

int model_put_network(struct model *m, struct network *n)
{
    size_t i = network_bound(m, n->netid);

    if (i < m->n_networks && m->networks[i]->netid == n->netid) {
        network_unref(m->networks[i]);
    } else {
        if (ARRAY_RESERVE(m->networks, m->cap_networks, m->n_networks + 1) < 0) {
            network_unref(n);
            return -ENOMEM;
        }
        memmove(m->networks + i + 1, m->networks + i, (m->n_networks - i) * sizeof(*m->networks));
        m->n_networks++;
    }
    m->networks[i] = n;
    return 0;
}

void model_drop_network(struct model *m, uint32_t netid)
{
    size_t i = network_bound(m, netid);

    if (i == m->n_networks || m->networks[i]->netid != netid)
        return;
    network_unref(m->networks[i]);
    m->n_networks--;
    memmove(m->networks + i, m->networks + i + 1, (m->n_networks - i) * sizeof(*m->networks));
}

static size_t known_bound(const struct model *m, const char *name)
{
    size_t lo = 0, hi = m->n_known;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(m->known[mid].name->s, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool model_knows_name(const struct model *m, const char *name)
{
    size_t i = known_bound(m, name);

    return (i < m->n_known && streq(m->known[i].name->s, name)) || model_network_by_name(m, name);
}

struct rstr *model_intern_name(const struct model *m, struct rstr *name)
{
    size_t i = name ? known_bound(m, name->s) : 0;

    if (!name || i == m->n_known || !streq(m->known[i].name->s, name->s))
        return name;
    rstr_unref(name);
    return rstr_ref(m->known[i].name);
}

/* All netIds, one bit each. */
struct netid_set {
    uint64_t bits[(NETID_MAX + 1) / 64];
};

static void netid_set_add(struct netid_set *s, uint32_t netid)
{
    s->bits[netid / 64] |= UINT64_C(1) << (netid % 64);
}

static bool netid_set_has(const struct netid_set *s, uint32_t netid)
{
    return s->bits[netid / 64] >> (netid % 64) & 1;
}

uint32_t model_choose_netid(const struct model *m, const char *name)
{
    struct netid_set used = { 0 }, known = { 0 };
    size_t i = known_bound(m, name);
    uint32_t taken = 0;

    if (i < m->n_known && streq(m->known[i].name->s, name) && !model_network(m, m->known[i].netid))
        return m->known[i].netid;

    for (i = 0; i < m->n_networks; i++)
        netid_set_add(&used, m->networks[i]->netid);
    for (i = 0; i < m->n_known; i++)
        netid_set_add(&known, m->known[i].netid);
    for (uint32_t id = NETID_MIN; id <= NETID_MAX; id++) {
        if (netid_set_has(&used, id))
            continue;
        if (!netid_set_has(&known, id))
            return id;
        if (taken == 0)
            taken = id; /* another name had it once: only when nothing else is left */
    }
    return taken;
}

/* Makes room: the lowest netId was remembered first, unless its network is there. */
static void forget_oldest(struct model *m)
{
    size_t oldest = m->n_known;

    for (size_t i = 0; i < m->n_known; i++)
        if (!model_network(m, m->known[i].netid) &&
            (oldest == m->n_known || m->known[i].netid < m->known[oldest].netid))
            oldest = i;
    if (oldest == m->n_known)
        return;
    rstr_unref(m->known[oldest].name);
    m->n_known--;
    memmove(m->known + oldest, m->known + oldest + 1, (m->n_known - oldest) * sizeof(*m->known));
}

int model_know_netid(struct model *m, const char *name, uint32_t netid)
{
    size_t i = known_bound(m, name);

    if (i < m->n_known && streq(m->known[i].name->s, name)) {
        m->known[i].netid = netid;
        return 0;
    }

    if (m->n_known >= KNOWN_NETIDS_MAX) {
        forget_oldest(m);
        i = known_bound(m, name);
    }

    _cleanup_(rstr_unrefp) struct rstr *s = rstr_new(name);
    if (!s || ARRAY_RESERVE(m->known, m->cap_known, m->n_known + 1) < 0)
        return -ENOMEM;
    memmove(m->known + i + 1, m->known + i, (m->n_known - i) * sizeof(*m->known));
    m->known[i] = (struct known_netid){ .name = TAKE_PTR(s), .netid = netid };
    m->n_known++;
    return 0;
}

static size_t permission_bound(const struct model *m, uint32_t uid)
{
    size_t lo = 0, hi = m->n_permissions;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->permissions[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int model_user_permission(const struct model *m, uint32_t uid, enum permission *ret)
{
    size_t i = permission_bound(m, uid);

    if (i == m->n_permissions || m->permissions[i].uid != uid)
        return -ENOENT;
    *ret = m->permissions[i].permission;
    return 0;
}

int model_set_user_permission(struct model *m, uint32_t uid, enum permission permission)
{
    size_t i = permission_bound(m, uid);

    if (i == m->n_permissions || m->permissions[i].uid != uid) {
        if (ARRAY_RESERVE(m->permissions, m->cap_permissions, m->n_permissions + 1) < 0)
            return -ENOMEM;
        memmove(m->permissions + i + 1, m->permissions + i,
                (m->n_permissions - i) * sizeof(*m->permissions));
        m->n_permissions++;
    }
    m->permissions[i] = (struct user_permission){ .uid = uid, .permission = permission };
    return 0;
}

static size_t first_protectable(const struct model *m, uint32_t uid)
{
    size_t lo = 0, hi = m->n_protectable;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->protectable[mid] < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool model_is_protectable(const struct model *m, uint32_t uid)
{
    size_t i = first_protectable(m, uid);

    return i < m->n_protectable && m->protectable[i] == uid;
}

uint32_t model_next_protectable(const struct model *m, uint32_t uid)
{
    size_t i = first_protectable(m, uid);
    uint32_t next = i < m->n_protectable ? m->protectable[i] : UID_INVALID;

    for (i = 0; i < m->n_vpns; i++) {
        uint32_t user = vpn_user(m->vpns[i]);

        if (user >= uid && user < next)
            next = user;
    }
    return next;
}

bool model_can_protect(const struct model *m, uint32_t uid)
{
    return uid != UID_INVALID && model_next_protectable(m, uid) == uid;
}

int model_set_protectable(struct model *m, uint32_t uid, bool protectable)
{
    size_t i = first_protectable(m, uid);
    bool is = model_is_protectable(m, uid);

    if (is == protectable)
        return 0;
    if (!protectable) {
        m->n_protectable--;
        memmove(m->protectable + i, m->protectable + i + 1,
                (m->n_protectable - i) * sizeof(*m->protectable));
        return 0;
    }
    if (ARRAY_RESERVE(m->protectable, m->cap_protectable, m->n_protectable + 1) < 0)
        return -ENOMEM;
    memmove(m->protectable + i + 1, m->protectable + i,
            (m->n_protectable - i) * sizeof(*m->protectable));
    m->protectable[i] = uid;
    m->n_protectable++;
    return 0;
}
