/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/old-sockets.h"

#include <errno.h>

#include "basic/array.h"
#include "plan/old-sockets-internal.h"

/* The VPN with the lowest netId that has captured the uid (android.md §1.6 getNetworkForUser). */
static const struct network *find_capture(const struct model *m, uint32_t uid, bool secure)
{
    for (size_t i = 0; i < m->n_networks; i++) {
        const struct network *n = m->networks[i];

        if (n->type != NETWORK_VPN || n->secure != secure)
            continue;
        for (size_t j = 0; j < n->n_users; j++)
            if (uid_range_contains(&n->users[j], uid))
                return n;
    }
    return NULL;
}

/* The places of somebody in order; those from the effective one on do not count. */
struct places {
    struct place items[5];
    size_t n, effective;
};

static void add_place(struct places *p, const struct side *s, struct place place)
{
    bool usable = place.kind == PLACE_HELD || place.kind == PLACE_DEFAULT ||
                  (place.network &&
                   targets_is_usable(s->targets, targets_find(s->targets, place.network->name)));

    if (p->effective == p->n && !usable)
        p->effective++;
    p->items[p->n++] = place;
}

static void add_capture(struct places *p, const struct side *s, uint32_t uid, bool secure)
{
    const struct network *n = find_capture(s->model, uid, secure);

    if (n)
        add_place(p, s,
                  (struct place){
                      .kind = secure ? PLACE_SECURE : PLACE_OPEN, .name = n->name, .network = n });
}

static struct places find_places(const struct side *s, uint32_t uid, uint32_t value)
{
    struct claim c = side_claim(s, value);
    bool prefers_vpn = c.prefers && c.network && c.network->type == NETWORK_VPN;
    struct place preferred = { .kind = PLACE_OPEN, .name = c.name, .network = c.network };
    const struct network *n;
    struct places p = { .n = 0 };

    if (c.any && !c.prefers) {
        add_place(&p, s,
                  (struct place){ .kind = PLACE_HELD, .name = c.name, .network = c.network });
        return p;
    }
    add_capture(&p, s, uid, true);
    if (prefers_vpn)
        add_place(&p, s, preferred);
    add_capture(&p, s, uid, false);
    if (c.prefers && !prefers_vpn)
        add_place(&p, s, preferred);
    n = model_default(s->model);
    add_place(&p, s,
              (struct place){ .kind = PLACE_DEFAULT, .name = n ? n->name : NULL, .network = n });
    return p;
}

static bool same_name(const struct place *a, const struct place *b)
{
    return a->name && b->name ? streq(a->name, b->name) : a->name == b->name;
}

/* The same network, or none, and not more strictly so. */
static bool is_same(const struct place *from, const struct place *to)
{
    bool removed = from->network && !to->network && from->network->origin != ORIGIN_HOST;

    if (from->kind == PLACE_DEFAULT && to->kind == PLACE_DEFAULT)
        return true; /* marks keep those where they are who have one */
    return to->kind <= from->kind && same_name(from, to) && !removed;
}

/* Would it be the place, too, if it were only usable? `was` is how the network used to be. */
static bool is_waiting(const struct places *p, const struct place *place, const struct network *was)
{
    for (size_t i = 0; i < p->effective; i++)
        if (same_name(&p->items[i], place) &&
            (p->items[i].network || !was || was->origin == ORIGIN_HOST))
            return true;
    return false;
}

static enum relation relate(const struct model *after, const struct places *b,
                            const struct places *a)
{
    const struct place *from = &b->items[b->effective], *to = &a->items[a->effective];

    if (is_same(from, to))
        return RELATION_SAME;
    if (from->kind == PLACE_OPEN || from->kind == PLACE_SECURE) {
        const struct network *was = from->network;

        if (is_waiting(a, from, was) ||
            (was->origin == ORIGIN_HOST && !model_network(after, was->netid)))
            return RELATION_OUT_OF_ORDER;
    }
    if (to->kind != PLACE_DEFAULT && is_waiting(b, to, NULL))
        return RELATION_BACK;
    return RELATION_MOVED;
}

static bool has_moved(const struct old_sockets *o, uint32_t uid)
{
    size_t lo = 0, hi = o->n_touched;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (o->touched[mid].hi < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < o->n_touched && o->touched[lo].lo <= uid;
}

/* How the user moved, as who these hold; what was found out last is kept. */
static const struct move *find_move(struct old_sockets *o, uint32_t uid, uint32_t before,
                                    uint32_t after)
{
    struct move *m = &o->moves[(uid + before + after) % MOVES_KEPT];
    struct places a;

    if (m->known && m->uid == uid && m->before == before && m->after == after)
        return m;
    a = find_places(&o->after, uid, after);
    *m = (struct move){ .known = true, .uid = uid, .before = before, .after = after };
    m->to = a.items[a.effective];
    m->relation = RELATION_MOVED;
    m->from.kind = PLACE_HELD; /* the only place that rules tell of */
    if (!o->by_rules) {
        struct places b = find_places(&o->before, uid, before);

        m->from = b.items[b.effective];
        m->relation = relate(o->after.model, &b, &a);
    }
    /* names say less of a network than its number, once both are those of the programs' guard */
    if (o->before.codes && before == side_code(&o->after, after))
        m->relation = RELATION_SAME;
    return m;
}

/* How the socket's process moved, or NULL when it has not. */
static const struct move *find_move_of(struct old_sockets *o, uint32_t uid,
                                       const struct old_socket_app *app)
{
    uint32_t before = side_find_app(&o->before, app), after = side_find_app(&o->after, app);

    /* rules held users only, and of an app they cannot tell */
    if (!has_moved(o, uid) && !(o->by_rules ? after != SIDE_NOBODY : o->apps_touched))
        return NULL;
    if (before == SIDE_NOBODY)
        before = side_find_user(&o->before, uid);
    if (after == SIDE_NOBODY)
        after = side_find_user(&o->after, uid);
    return find_move(o, uid, before, after);
}

static bool is_vpn(const struct place *p)
{
    return p->network && p->network->type == NETWORK_VPN;
}

/*
 * May a socket there be on another network, and is this one? An explicit mark of the network before is
 * no choice: who is, or was, held there has it from us (decide/socket.h).
 */
static bool has_chosen(const struct old_sockets *o, const struct move *m,
                       const struct inetdiag_socket *s)
{
    uint32_t netid = s->mark & MARK_NETID_MASK;

    if (m->to.kind == PLACE_HELD)
        return false;
    if (s->mark & MARK_PROTECTED)
        return true;
    if (m->to.kind == PLACE_SECURE)
        return false;
    if (s->ifindex != 0)
        return true;
    return (s->mark & MARK_EXPLICIT) && m->from.kind != PLACE_HELD &&
           !(m->from.network && m->from.network->netid == netid) &&
           model_network(o->after.model, netid);
}

static const struct network *network_of(const struct old_sockets *o, int ifindex)
{
    for (size_t i = 0; i < o->n_ports; i++)
        if (o->ports[i].ifindex == ifindex)
            return o->ports[i].network;
    return NULL;
}

/* The first entry of own addresses that is not below `a`. */
static size_t first_own(const struct old_sockets *o, const struct ip_addr *a)
{
    size_t lo = 0, hi = o->n_own;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ip_addr_compare(&o->own[mid].addr, a) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_own(const struct old_sockets *o, const struct ip_addr *a)
{
    size_t i = first_own(o, a);

    return i < o->n_own && ip_addr_equal(&o->own[i].addr, a);
}

enum location { LOCATION_UNKNOWN, LOCATION_THERE, LOCATION_ELSEWHERE };

/* Is the socket on this network? By what it is bound to: the address it has tells most. */
static enum location locate(const struct old_sockets *o, const struct network *n,
                            const struct inetdiag_socket *s)
{
    struct ip_addr local = inetdiag_unmapped(&s->local);
    uint32_t netid = s->mark & MARK_NETID_MASK;
    enum location found = s->ifindex ? LOCATION_THERE : LOCATION_UNKNOWN;

    if (!n)
        return LOCATION_UNKNOWN;
    if ((netid != NETID_UNSET && netid != n->netid) ||
        (s->ifindex && network_of(o, s->ifindex) != n))
        return LOCATION_ELSEWHERE;
    for (size_t i = first_own(o, &local); i < o->n_own && ip_addr_equal(&o->own[i].addr, &local);
         i++) {
        if (network_of(o, o->own[i].ifindex) == n)
            return LOCATION_THERE;
        if (!s->ifindex)
            found = LOCATION_ELSEWHERE;
    }
    return found;
}

static bool is_connected(const struct inetdiag_socket *s)
{
    return !ip_addr_is_any(&s->remote);
}

/* Steps 1 to 4: what lives, whatever changed. 0: no such reason. */
static enum old_socket_step judge_kind(const struct old_sockets *o, const struct inetdiag_socket *s,
                                       const struct old_socket_app *app)
{
    struct ip_addr local = inetdiag_unmapped(&s->local), remote = inetdiag_unmapped(&s->remote);
    bool udp = s->protocol != IPPROTO_TCP, program = s->uid != 0 || (app && app->exe_ino != 0);

    if (s->state == INETDIAG_LISTEN || s->state == INETDIAG_TIME_WAIT ||
        (!udp && s->state == INETDIAG_CLOSE))
        return OLD_SOCKET_NO_TRAFFIC;
    if (ip_addr_is_loopback(&local) || ip_addr_is_loopback(&remote))
        return OLD_SOCKET_LOOPBACK;
    if (is_connected(s) && is_own(o, &local) && is_own(o, &remote))
        return OLD_SOCKET_OWN;
    if (udp && (!program || (s->ifindex && !is_connected(s))))
        return OLD_SOCKET_USELESS;
    return 0;
}

/* Steps 5 and 6: marks that mean nothing any more. */
static enum old_socket_step judge_mark(const struct old_sockets *o, const struct inetdiag_socket *s)
{
    uint32_t netid = s->mark & MARK_NETID_MASK;
    const uint32_t incoming = MARK_EXPLICIT | MARK_PROTECTED;

    for (size_t i = 0; netid != NETID_UNSET && i < o->n_marks; i++) {
        uint32_t wanted = MARK_EXPLICIT | mark_permission(o->marks[i].permission);

        if (o->marks[i].netid != netid)
            continue;
        if (o->marks[i].removed && (s->mark & incoming) != incoming)
            return OLD_SOCKET_MARK_GONE;
        if (!o->marks[i].removed && (s->mark & wanted) != wanted)
            return OLD_SOCKET_MARK_PERMISSION;
    }
    return 0;
}

static int compare_cookies(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return CMP(*a, *b);
}

static bool was_half_open(const struct old_sockets *o, const struct inetdiag_socket *s)
{
    return o->n_half_open > 0 && bsearch(&s->cookie, o->half_open, o->n_half_open,
                                         sizeof(*o->half_open), compare_cookies) != NULL;
}

void old_sockets_look_again(struct old_sockets *o)
{
    if (!o->again && o->n_half_open > 0)
        qsort(o->half_open, o->n_half_open, sizeof(*o->half_open), compare_cookies);
    o->again = true;
}

/*
 * Is it a VPN's own transport? Every program of some users may be a VPN; of who has established one only a
 * process is, and that has its transport protected.
 */
static bool is_transport(const struct old_sockets *o, const struct inetdiag_socket *s)
{
    const struct model *m = o->after.model;

    return model_is_protectable(m, s->uid) ||
           (mark_is_transport(s->mark) && model_can_protect(m, s->uid));
}

/*
 * Does it go where its network, whose it is on this side, does not lead? One that waits at an address of
 * there, a service for the LAN, does.
 */
static bool is_outside(const struct side *side, const struct place *p,
                       const struct inetdiag_socket *s)
{
    struct ip_addr end = inetdiag_unmapped(is_connected(s) ? &s->remote : &s->local);

    return p->kind == PLACE_HELD && p->network && !ip_addr_is_any(&end) &&
           guard_is_outside(side->outside, p->network->netid, &end);
}

/* Is it elsewhere, where it may not be any more? */
static bool is_left_outside(const struct old_sockets *o, const struct move *m,
                            const struct inetdiag_socket *s)
{
    return is_outside(&o->before, &m->from, s) && !is_outside(&o->after, &m->to, s) &&
           locate(o, m->to.network, s) == LOCATION_ELSEWHERE;
}

/* Steps 8 to 14. */
static enum old_socket_step judge_user(struct old_sockets *o, const struct inetdiag_socket *s,
                                       const struct old_socket_app *app)
{
    const struct move *m = find_move_of(o, s->uid, app);
    enum location location;

    if (!m || (m->relation == RELATION_SAME && !is_left_outside(o, m, s)))
        return OLD_SOCKET_SAME;
    if ((is_vpn(&m->from) || is_vpn(&m->to)) && is_transport(o, s))
        return OLD_SOCKET_EXEMPT;
    if (m->relation == RELATION_OUT_OF_ORDER)
        return OLD_SOCKET_OUT_OF_ORDER;
    if (has_chosen(o, m, s))
        return OLD_SOCKET_CHOSEN;
    location = locate(o, m->to.network, s);
    if (location == LOCATION_THERE || is_outside(&o->after, &m->to, s))
        return OLD_SOCKET_THERE;
    if (location == LOCATION_UNKNOWN &&
        (m->relation == RELATION_BACK || (o->again && !was_half_open(o, s))))
        return OLD_SOCKET_UNPROVEN;
    return OLD_SOCKET_MOVED;
}

enum old_socket_step old_sockets_judge(struct old_sockets *o, const struct inetdiag_socket *socket,
                                       const struct old_socket_app *app)
{
    bool ownerless = socket->uid == 0 && socket->inode == 0;
    enum old_socket_step step = judge_kind(o, socket, app);

    if (step == 0)
        step = judge_mark(o, socket);
    if (step != 0)
        return step;
    if (ownerless && !o->again && socket->wqueue > 0 && socket->ifindex && o->n_touched > 0)
        return OLD_SOCKET_OWNERLESS;
    /* without memory for it, it is not found the next time */
    if (ownerless && !o->again && socket->state == INETDIAG_SYN_RECV)
        (void)ARRAY_PUSH(o->half_open, o->n_half_open, o->cap_half_open, socket->cookie);
    return judge_user(o, socket, app);
}

bool old_sockets_moved(const struct old_sockets *o)
{
    return o->n_touched > 0 || o->apps_touched;
}

bool old_sockets_want_apps(const struct old_sockets *o)
{
    return o->before.n_apps > 0 || o->after.n_apps > 0;
}
