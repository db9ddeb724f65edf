/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a VPN when its interface goes, or it gets another one: see daemon/vpn-service.h. */

#include <errno.h>

#include "basic/array.h"
#include "basic/log.h"
#include "daemon/vpn-service-internal.h"
#include "decide/edit-vpn.h"
#include "observe/tun-holder.h"

enum {
    LOOKS_MAX = 10,        /* for an interface that was left behind */
    LEFT_PER_UID_MAX = 16, /* that are read from still */
};

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

static void set_timer(struct vpn_service *s)
{
    usec_t at = USEC_INFINITY;
    int r;

    for (size_t i = 0; i < s->n_gone; i++)
        at = MIN(at, s->gone[i].at);
    for (size_t i = 0; i < s->n_left; i++)
        at = MIN(at, s->left[i].at);
    if (at == USEC_INFINITY)
        return;
    if (s->timer) {
        (void)sd_event_source_set_time(s->timer, at);
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
    } else
        r = sd_event_add_time(s->m->event, &s->timer, CLOCK_MONOTONIC, at, 1000, on_time, s);
    if (r < 0)
        log_error_errno(r, "cannot set a timer");
}

void vpn_life_look(struct vpn_service *s, const struct vpn *v, usec_t delay)
{
    struct vpn_gone gone = { .at = clock_monotonic() + delay };

    if (!v->established || v->kind != VPN_SERVICE || v->n_interfaces == 0)
        return;
    (void)str_set(gone.name, sizeof(gone.name), v->name);
    (void)str_set(gone.interface, sizeof(gone.interface), v->interfaces[0]);
    if (ARRAY_PUSH(s->gone, s->n_gone, s->cap_gone, gone) < 0)
        (void)log_oom();
    set_timer(s);
}

/* Is it still the interface that it was? */
static const struct vpn *find_vpn(const struct model *m, const struct vpn_gone *gone)
{
    const struct vpn *v = model_vpn(m, gone->name);

    return v && v->established && v->n_interfaces > 0 && streq(v->interfaces[0], gone->interface)
               ? v
               : NULL;
}

struct loss {
    struct vpn_gone gone;
    bool by_choice;
};

static int edit_loss(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct loss *loss = data;

    if (!find_vpn(m, &loss->gone) || kernel_link_by_name(k, loss->gone.interface))
        return 0;
    return loss->by_choice ? edit_leave_vpn(m, loss->gone.name, why)
                           : edit_lost_vpn(m, loss->gone.name, why);
}

/*
 * An interface that its program has made persistent (who has its descriptor may), and that nobody has a
 * descriptor of any more, goes with the program, too.
 */
static void delete_left(struct vpn_service *s, const struct vpn_gone *gone)
{
    const struct rtnl_link *link = kernel_link_by_name(&s->m->kernel, gone->interface);

    if (!link || !find_vpn(s->m->model, gone) || vpn_session_of_owner(s, gone->name) ||
        (link->flags & (IFF_UP | IFF_RUNNING)) != IFF_UP)
        return;
    log_notice("VPN '%s': its program has left the interface %s behind: deleted", gone->name,
               gone->interface);
    (void)tun_delete(&s->rtnl, link->ifindex);
}

/*
 * Nobody's, but it runs: the kernel tells only after a while, up to a second, that the last descriptor is
 * closed. Or a child has one.
 */
static bool may_be_left(const struct vpn_service *s, const struct vpn_gone *gone)
{
    const struct rtnl_link *link = kernel_link_by_name(&s->m->kernel, gone->interface);

    return link && find_vpn(s->m->model, gone) && !vpn_session_of_owner(s, gone->name) &&
           (link->flags & IFF_RUNNING);
}

/* Has its program given it up? It is there, and has nothing left in its hands that somebody took away. */
static bool was_closed(const struct vpn_session *owner)
{
    return owner && vpn_session_is_alive(owner) && tun_holder_has_orphan(owner->pid) == 0;
}

/* False: not now, for the kernel would not have it. */
static bool settle_loss(struct vpn_service *s, const struct vpn_gone *gone)
{
    const struct vpn_session *owner = vpn_session_of_owner(s, gone->name);
    struct loss loss = { .gone = *gone, .by_choice = was_closed(owner) };
    struct vpn_ending ending = { .by_choice = gone->name };
    struct why why = { 0 };
    int r;

    if (!find_vpn(s->m->model, gone))
        return true;
    if (may_be_left(s, gone) && gone->tries < LOOKS_MAX)
        return false;
    delete_left(s, gone);
    r = vpn_service_change(s, &ending, edit_loss, &loss, &why);
    if (r < 0) {
        log_error("VPN '%s', whose interface is gone: %s", gone->name, why_text(&why, r));
        return false;
    }
    if (!find_vpn(s->m->model, gone))
        log_notice("VPN '%s': %s", gone->name,
                   loss.by_choice ? "its program has closed it"
                                  : "its program has died, or somebody deleted its interface");
    return true;
}

/* It may be persistent, or a descriptor kept: by neither can a program have any number of interfaces. */
static void delete_one_left(struct vpn_service *s, size_t i)
{
    const struct vpn_left left = s->left[i];
    const struct rtnl_link *link = kernel_link(&s->m->kernel, left.ifindex);

    memmove(&s->left[i], &s->left[i + 1], (s->n_left - i - 1) * sizeof(left));
    s->n_left--;
    if (!link || !streq(link->name, left.interface))
        return;
    log_notice("interface %s, which was a VPN's, is deleted", left.interface);
    (void)tun_delete(&s->rtnl, left.ifindex);
}

static void note_left(struct vpn_service *s, const struct rtnl_link *link, uint32_t uid)
{
    struct vpn_left left = { .ifindex = link->ifindex,
                             .uid = uid,
                             .at = clock_monotonic() + VPN_LEFT_DELAY };
    size_t n = 0, first = 0;

    (void)str_set(left.interface, sizeof(left.interface), link->name);
    if (ARRAY_PUSH(s->left, s->n_left, s->cap_left, left) < 0)
        (void)log_oom();
    for (size_t i = s->n_left; i-- > 0;)
        if (s->left[i].uid == uid) {
            n++;
            first = i;
        }
    if (uid != UID_INVALID && n > LEFT_PER_UID_MAX)
        delete_one_left(s, first);
    set_timer(s);
}

/* Its program has closed it. */
static void forget_left(struct vpn_service *s, int ifindex)
{
    for (size_t i = s->n_left; i-- > 0;)
        if (s->left[i].ifindex == ifindex) {
            memmove(&s->left[i], &s->left[i + 1], (s->n_left - i - 1) * sizeof(*s->left));
            s->n_left--;
        }
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct vpn_service *s = userdata;
    usec_t now = clock_monotonic();

    (void)source;
    (void)usec;
    while (s->n_left > 0 && s->left[0].at <= now)
        delete_one_left(s, 0);
    for (size_t i = s->n_gone; i-- > 0;) {
        struct vpn_gone gone = s->gone[i];

        if (gone.at > now)
            continue;
        s->gone[i] = s->gone[--s->n_gone];
        if (!settle_loss(s, &gone)) {
            gone.at = now + VPN_LIFE_DELAY;
            gone.tries++;
            (void)ARRAY_PUSH(s->gone, s->n_gone, s->cap_gone, gone);
        }
    }
    set_timer(s);
    return 0;
}

void vpn_life_on_event(void *data, const struct observe_event *event)
{
    struct vpn_service *s = data;
    const struct model *m = s->m->model;

    if (event->part != OBSERVE_LINKS || !event->removed ||
        !startswith(event->link.name, VPN_INTERFACE_PREFIX))
        return;
    forget_left(s, event->link.ifindex);
    for (size_t i = 0; i < m->n_vpns; i++)
        if (m->vpns[i]->n_interfaces > 0 && streq(m->vpns[i]->interfaces[0], event->link.name))
            vpn_life_look(s, m->vpns[i], VPN_LIFE_DELAY);
}

/* A process that may not be it any more has no rights of it, either. */
static void take_away(struct vpn_service *s, struct vpn_session *session)
{
    const char *reason = s->ending.reason ? s->ending.reason : "it was removed, or taken down";

    log_notice("VPN '%s' was revoked from process %u: %s", session->name, session->pid, reason);
    if (s->told)
        s->told(s->told_data, session->pid, session->name, reason);
    vpn_session_free(session);
}

static void deactivate(struct vpn_service *s, int ifindex)
{
    if (tun_deactivate(&s->rtnl, ifindex) < 0)
        log_warning("cannot set interface %d down, which was a VPN's", ifindex);
}

/* The first n, which are the oldest. */
static void deactivate_replaced(struct vpn_service *s, size_t n)
{
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        deactivate(s, s->replaced[i].ifindex);
    s->n_replaced -= n;
    memmove(s->replaced, s->replaced + n, s->n_replaced * sizeof(*s->replaced));
}

static int on_replaced(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct vpn_service *s = userdata;
    usec_t now = clock_monotonic();
    size_t n = 0;
    int r;

    (void)usec;
    while (n < s->n_replaced && s->replaced[n].at <= now)
        n++;
    deactivate_replaced(s, n);
    if (s->n_replaced == 0)
        return 0;
    (void)sd_event_source_set_time(source, s->replaced[0].at);
    r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    if (r < 0)
        deactivate_replaced(s, s->n_replaced);
    return 0;
}

/*
 * Nothing leads there any more; but until its program has heard of the new one, which may take it
 * a while on a busy machine, it goes on to write there what it receives, and that would be lost.
 */
static void deactivate_soon(struct vpn_service *s, int ifindex)
{
    struct vpn_replaced replaced = { .ifindex = ifindex,
                                     .at = clock_monotonic() + VPN_REPLACED_DELAY };
    int r = ARRAY_PUSH(s->replaced, s->n_replaced, s->cap_replaced, replaced);

    if (r < 0) {
        deactivate(s, ifindex);
        return;
    }
    if (!s->replacing)
        r = sd_event_add_time(s->m->event, &s->replacing, CLOCK_MONOTONIC, s->replaced[0].at, 0,
                              on_replaced, s);
    else if (s->n_replaced == 1) {
        (void)sd_event_source_set_time(s->replacing, replaced.at);
        r = sd_event_source_set_enabled(s->replacing, SD_EVENT_ONESHOT);
    }
    if (r < 0)
        deactivate_replaced(s, s->n_replaced);
}

void vpn_life_end_replaced(struct vpn_service *s)
{
    deactivate_replaced(s, s->n_replaced);
}

/* One that stood before has another interface now, or none. */
static void note_end(struct vpn_service *s, const struct vpn *old, const struct model *new)
{
    const struct rtnl_link *link = kernel_link_by_name(&s->m->kernel, old->interfaces[0]);
    struct vpn_session *owner = vpn_session_of_owner(s, old->name);
    const struct vpn *v = model_vpn(new, old->name);

    if (v && v->established && v->n_interfaces > 0 && streq(v->interfaces[0], old->interfaces[0]))
        return;
    if (link)
        note_left(s, link, old->owner_uid);
    if (v && vpn_is_active(v)) {
        if (link)
            deactivate_soon(s, link->ifindex);
        return;
    }
    if (link)
        deactivate(s, link->ifindex);
    if (!owner)
        return;
    owner->owner = false;
    owner->since = 0;
    if (!s->ending.by_choice || !streq(s->ending.by_choice, old->name))
        take_away(s, owner);
}

static bool is_same(const struct model *old, const struct model *new)
{
    bool same = old->n_vpns == new->n_vpns && old->n_consents == new->n_consents;

    for (size_t i = 0; same && i < new->n_vpns; i++)
        same = old->vpns[i] == new->vpns[i];
    for (size_t i = 0; same && i < new->n_consents; i++)
        same = selector_compare(&old->consents[i].who, &new->consents[i].who) == 0 &&
               old->consents[i].everyone == new->consents[i].everyone &&
               old->consents[i].uid == new->consents[i].uid;
    return same;
}

void vpn_life_on_commit(void *data, const struct model *old, const struct model *new)
{
    struct vpn_service *s = data;
    struct vpn_session *session, *next;

    if (is_same(old, new))
        return;
    for (size_t i = 0; i < old->n_vpns; i++)
        if (old->vpns[i]->kind == VPN_SERVICE && old->vpns[i]->n_interfaces > 0)
            note_end(s, old->vpns[i], new);
    for (session = TAILQ_FIRST(&s->sessions); session; session = next) {
        next = TAILQ_NEXT(session, entry);
        if (!vpn_session_may(session, new))
            take_away(s, session);
    }
}

/*
 * Interfaces that went while nobody looked: their programs died, for all that is known. Those that were VPNs'
 * once are down.
 */
void vpn_life_start(struct vpn_service *s)
{
    const struct model *m = s->m->model;
    const struct kernel *k = &s->m->kernel;

    for (size_t i = 0; i < k->n_links; i++)
        if (startswith(k->links[i].name, VPN_INTERFACE_PREFIX) && streq(k->links[i].kind, "tun") &&
            !(k->links[i].flags & IFF_UP))
            note_left(s, &k->links[i], UID_INVALID);

    for (size_t i = 0; i < m->n_vpns; i++)
        if (m->vpns[i]->n_interfaces > 0 &&
            !kernel_link_by_name(&s->m->kernel, m->vpns[i]->interfaces[0]))
            vpn_life_look(s, m->vpns[i], 0);
}

void vpn_life_done(struct vpn_service *s)
{
    sd_event_source_disable_unref(s->timer);
    vpn_life_end_replaced(s);
    sd_event_source_disable_unref(s->replacing);
    free(s->replaced);
    free(s->gone);
    free(s->left);
}
