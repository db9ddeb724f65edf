/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a VPN when its interface goes, or it gets another one: see daemon/vpn-service.h. */

#include <errno.h>

#include "basic/array.h"
#include "basic/log.h"
#include "daemon/vpn-service-internal.h"
#include "model/edit-vpn.h"
#include "observe/tun-holder.h"

enum { LOOKS_MAX = 10 }; /* for an interface that was left behind */

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

static void set_timer(struct vpn_service *s)
{
    usec_t at = USEC_INFINITY;
    int r;

    for (size_t i = 0; i < s->n_gone; i++)
        at = MIN(at, s->gone[i].at);
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

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct vpn_service *s = userdata;
    usec_t now = clock_monotonic();

    (void)source;
    (void)usec;
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

static int on_replaced(sd_event_source *source, void *userdata)
{
    struct vpn_service *s = userdata;

    (void)source;
    while (s->n_replaced > 0)
        deactivate(s, s->replaced[--s->n_replaced]);
    return 0;
}

/* After the answer: nothing leads there any more, and the kernel takes its time. */
static void deactivate_soon(struct vpn_service *s, int ifindex)
{
    int r = ARRAY_PUSH(s->replaced, s->n_replaced, s->cap_replaced, ifindex);

    if (r == 0 && !s->replacing) {
        r = sd_event_add_defer(s->m->event, &s->replacing, on_replaced, s);
        if (r >= 0) /* behind what waits to be sent */
            r = sd_event_source_set_priority(s->replacing, SD_EVENT_PRIORITY_IDLE);
    }
    if (r >= 0)
        r = sd_event_source_set_enabled(s->replacing, SD_EVENT_ONESHOT);
    if (r < 0)
        deactivate(s, ifindex);
}

/* One that stood before has another interface now, or none. */
static void note_end(struct vpn_service *s, const struct vpn *old, const struct model *new)
{
    const struct rtnl_link *link = kernel_link_by_name(&s->m->kernel, old->interfaces[0]);
    struct vpn_session *owner = vpn_session_of_owner(s, old->name);
    const struct vpn *v = model_vpn(new, old->name);

    if (v && v->established && v->n_interfaces > 0 && streq(v->interfaces[0], old->interfaces[0]))
        return;
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

/* Interfaces that went while nobody looked: their programs died, for all that is known. */
void vpn_life_start(struct vpn_service *s)
{
    const struct model *m = s->m->model;

    for (size_t i = 0; i < m->n_vpns; i++)
        if (m->vpns[i]->n_interfaces > 0 &&
            !kernel_link_by_name(&s->m->kernel, m->vpns[i]->interfaces[0]))
            vpn_life_look(s, m->vpns[i], 0);
}

void vpn_life_done(struct vpn_service *s)
{
    sd_event_source_disable_unref(s->timer);
    sd_event_source_disable_unref(s->replacing);
    free(s->replaced);
    free(s->gone);
}
