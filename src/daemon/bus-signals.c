/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Telling the ends what changed: ObjectManager's and Properties' signals, and our own Event. */

#include <errno.h>
#include <stdarg.h>

#include "basic/array.h"
#include "basic/utf8.h"
#include "daemon/bus-end.h"
#include "daemon/vpn-bus.h"

/* A reload may change thousands of assignments: beyond this many they are summed up. */
enum { EVENTS_MAX = 50 };

_printf_(3, 4) static void tell(struct bus *bus, const char *kind, const char *format, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    utf8_keep_whole(text);
    bus_tell(bus, kind, text);
}

/* Network objects. */

static const char *told_state(const struct bus *bus, uint32_t netid)
{
    for (size_t i = 0; i < bus->n_told; i++)
        if (bus->told[i].netid == netid)
            return bus->told[i].state;
    return "";
}

static void tell_appeared(struct bus *bus, const struct network *n, bool appeared)
{
    _cleanup_free_ char *path = network_bus_path(n->netid);

    for (size_t i = 0; path && i < bus->n_ends; i++) {
        if (appeared)
            (void)sd_bus_emit_interfaces_added(bus->ends[i]->sd, path, BUS_NETWORK, NULL);
        else
            (void)sd_bus_emit_interfaces_removed(bus->ends[i]->sd, path, BUS_NETWORK, NULL);
    }
    tell(bus, appeared ? "network-added" : "network-removed", "%s (%u, %s)", n->name, n->netid,
         network_type_to_string(n->type));
}

/* Which properties of a network that stayed are different now. */
struct changed {
    const char *names[16];
    size_t n;
};

static void add_changed(struct changed *c, const char *name, bool is)
{
    if (is && c->n + 1 < ELEMENTSOF(c->names))
        c->names[c->n++] = name;
}

static bool differ(const void *a, size_t n_a, const void *b, size_t n_b, size_t size)
{
    return n_a != n_b || !mem_equal(a, b, n_a * size);
}

static void compare_networks(const struct network *a, const struct network *b, struct changed *c)
{
    add_changed(c, "Type", a->type != b->type);
    add_changed(c, "Origin", a->origin != b->origin);
    add_changed(c, "Source", !streq(rstr_text(a->source), rstr_text(b->source)));
    add_changed(c, "Permission", a->permission != b->permission);
    add_changed(c, "Secure", a->secure != b->secure);
    add_changed(c, "ExcludeLocal", a->exclude_local != b->exclude_local);
    add_changed(c, "FallThrough", a->fall_through != b->fall_through);
    add_changed(c, "Lockdown", a->lockdown != b->lockdown);
    add_changed(c, "Outside",
                differ(a->outside, a->n_outside, b->outside, b->n_outside, sizeof(*a->outside)));
    add_changed(c, "Interfaces",
                differ(a->interfaces, a->n_interfaces, b->interfaces, b->n_interfaces,
                       sizeof(*a->interfaces)));
    add_changed(c, "Routes",
                differ(a->routes, a->n_routes, b->routes, b->n_routes, sizeof(*a->routes)));
    add_changed(c, "Users", differ(a->users, a->n_users, b->users, b->n_users, sizeof(*a->users)));
    add_changed(c, "Dns", differ(a->dns, a->n_dns, b->dns, b->n_dns, sizeof(*a->dns)));
    add_changed(c, "Domains",
                differ(a->domains, a->n_domains, b->domains, b->n_domains, sizeof(struct rstr *)));
}

static void tell_changed(struct bus *bus, const struct network *n, struct changed *c)
{
    _cleanup_free_ char *path = network_bus_path(n->netid);
    _cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
    bool state = c->n > 0 && streq(c->names[0], "State");

    if (c->n == 0 || !path)
        return;
    for (size_t i = 0; i < bus->n_ends; i++)
        (void)sd_bus_emit_properties_changed_strv(bus->ends[i]->sd, path, BUS_NETWORK,
                                                  (char **)c->names);
    for (size_t i = state; i < c->n; i++)
        strbuf_add(&list, " %s", c->names[i]);
    if (state)
        tell(bus, "network-state", "%s is %s", n->name, network_bus_state(bus->m, n));
    if (list.size > 0)
        tell(bus, "network-changed", "%s:%s", n->name, strbuf_text(&list));
}

static void tell_networks(struct bus *bus, const struct model *old, const struct model *new)
{
    const struct network *old_default = model_default(old), *new_default = model_default(new);

    for (size_t i = 0; i < old->n_networks; i++) {
        const struct network *o = old->networks[i], *n = model_network(new, o->netid);

        if (!n || !streq(n->name, o->name))
            tell_appeared(bus, o, false);
    }
    for (size_t i = 0; i < new->n_networks; i++) {
        const struct network *n = new->networks[i], *o = model_network(old, n->netid);
        struct changed c = { 0 };

        if (!o || !streq(n->name, o->name)) {
            tell_appeared(bus, n, true);
            continue;
        }
        add_changed(&c, "State", !streq(told_state(bus, n->netid), network_bus_state(bus->m, n)));
        if (n != o)
            compare_networks(o, n, &c);
        add_changed(&c, "Default", (n == new_default) != (o == old_default));
        tell_changed(bus, n, &c);
    }
}

static void remember_states(struct bus *bus, const struct model *new)
{
    bus->n_told = 0;
    if (ARRAY_RESERVE(bus->told, bus->cap_told, new->n_networks) < 0)
        return;
    for (size_t i = 0; i < new->n_networks; i++)
        bus->told[bus->n_told++] = (struct told_state){
            .netid = new->networks[i]->netid,
            .state = network_bus_state(bus->m, new->networks[i]),
        };
}

/* Assignments. */

static void tell_assignment(struct bus *bus, const struct assignment *a, bool there)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    selector_print(&a->selector, &b);
    if (there)
        tell(bus, "assigned", "%s to %s (%s)", strbuf_text(&b), assignment_target(a),
             strength_to_string(a->strength));
    else
        tell(bus, "unassigned", "%s", strbuf_text(&b));
}

static bool says_the_same(const struct assignment *a, const struct assignment *b)
{
    return a->strength == b->strength && streq(rstr_text(a->network), rstr_text(b->network)) &&
           !a->network == !b->network;
}

/* One pass over the two sorted tables. */
static void tell_assignments(struct bus *bus, const struct assignments *old,
                             const struct assignments *new)
{
    struct assignments_walk w = { .a = old, .b = new };
    const struct assignment *o, *n;
    size_t changes = 0;

    while (old != new &&assignments_next(&w, &o, &n)) {
        bool change = !o || !n || !says_the_same(o, n);

        if (change && changes++ < EVENTS_MAX)
            tell_assignment(bus, n ? n : o, n != NULL);
    }
    if (changes > EVENTS_MAX)
        tell(bus, "assigned", "and %zu more assignments changed", changes - EVENTS_MAX);
}

static void tell_manager(struct bus *bus, const char *property)
{
    for (size_t i = 0; i < bus->n_ends; i++)
        (void)sd_bus_emit_properties_changed(bus->ends[i]->sd, BUS_PATH, BUS_MANAGER, property,
                                             NULL);
}

static void tell_commit(struct bus *bus, const struct model *old, const struct model *new)
{
    tell_networks(bus, old, new);
    remember_states(bus, new);
    tell_assignments(bus, old->assignments, new->assignments);
    vpn_bus_tell_commit(bus, old, new);
    if (old->assignments->n != new->assignments->n)
        tell_manager(bus, "AssignmentCount");
    if (!streq(rstr_text(old->default_network), rstr_text(new->default_network))) {
        tell_manager(bus, "DefaultNetwork");
        tell(bus, "default", "%s", new->default_network ? new->default_network->s : "system");
    }
}

/* From what is to be told to `new`. */
static void tell_until(struct bus *bus, const struct model *new)
{
    _cleanup_(model_freep) struct model *before = TAKE_PTR(bus->before);

    if (before)
        tell_commit(bus, before, new);
}

void bus_tell_events(struct bus *bus)
{
    size_t n = bus->n_events;

    bus->n_events = 0;
    for (size_t i = 0; i < n; i++)
        bus_tell(bus, bus->events[i].kind, bus->events[i].text);
}

void bus_tell_now(struct bus *bus)
{
    bus_tell_events(bus);
    tell_until(bus, bus->m->model);
}

static bool tell_soon(struct bus *bus)
{
    return sd_event_source_set_enabled(bus->telling, SD_EVENT_ONESHOT) >= 0;
}

static int on_telling(sd_event_source *source, void *userdata)
{
    (void)source;
    bus_tell_now(userdata);
    return 0;
}

int bus_telling_start(struct bus *bus)
{
    int r = sd_event_add_defer(bus->m->event, &bus->telling, on_telling, bus);

    if (r >= 0) /* before the next request is read */
        r = sd_event_source_set_priority(bus->telling, SD_EVENT_PRIORITY_IMPORTANT);
    if (r >= 0)
        r = sd_event_source_set_enabled(bus->telling, SD_EVENT_OFF);
    return MIN(r, 0);
}

void bus_tell_commit(void *data, const struct model *old, const struct model *new)
{
    struct bus *bus = data;

    if (bus->before) {
        bus_tell_events(bus);
        tell_until(bus, old);
    }
    bus->before = model_copy(old);
    if (!bus->before || !tell_soon(bus)) {
        model_free(TAKE_PTR(bus->before));
        bus_tell_events(bus);
        tell_commit(bus, old, new);
    }
}

void bus_tell_notice(void *data, enum notice_kind kind, const char *text)
{
    struct bus *bus = data;

    bus_tell_now(bus);
    bus_tell(bus, notice_kind_to_string(kind), text);
    if (kind == NOTICE_OFF || kind == NOTICE_ON)
        tell_manager(bus, "Off");
    if (kind == NOTICE_DEGRADED || kind == NOTICE_RECOVERED)
        tell_manager(bus, "Degraded");
}

_printf_(3, 4) static void queue_event(struct bus *bus, const char *kind, const char *format, ...)
{
    struct told_event e = { .kind = kind };
    va_list ap;

    va_start(ap, format);
    vsnprintf(e.text, sizeof(e.text), format, ap);
    va_end(ap);
    utf8_keep_whole(e.text);
    if (bus->before || bus->n_events == EVENTS_MAX)
        bus_tell_now(bus);
    if (!tell_soon(bus) || ARRAY_PUSH(bus->events, bus->n_events, bus->cap_events, e) < 0) {
        bus_tell_now(bus);
        bus_tell(bus, e.kind, e.text);
    }
}

/* Interfaces and addresses, as they come and go: what people watch for. Routes are too many. */
void bus_tell_event(void *data, const struct observe_event *event)
{
    struct bus *bus = data;
    const struct rtnl_link *link;
    char text[IP_TEXT_MAX];

    if (event->part == OBSERVE_LINKS) {
        queue_event(bus, "interface", "%s %s", event->link.name,
                    event->removed                       ? "removed"
                    : !(event->link.flags & IFF_UP)      ? "down"
                    : !(event->link.flags & IFF_RUNNING) ? "no carrier"
                                                         : "up");
    } else if (event->part == OBSERVE_ADDRS) {
        link = kernel_link(&bus->m->kernel, event->addr.ifindex);
        queue_event(bus, "address", "%s/%u %s %s", ip_addr_format(&event->addr.local, text),
                    event->addr.prefix_len, event->removed ? "removed from" : "on",
                    link ? link->name : "an interface");
    }
}
