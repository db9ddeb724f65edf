/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/apps.h"

#include <errno.h>

#include "apply/bpf.h"
#include "basic/array.h"
#include "basic/log.h"
#include "decide/socket-reason.h"

struct numbers {
    uint64_t *items;
    size_t n, cap;
};

static int compare_numbers(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return CMP(*a, *b);
}

static int add_number(struct numbers *l, const struct assignment *a)
{
    return ARRAY_PUSH(l->items, l->n, l->cap, selector_number(&a->selector));
}

static void drop(struct manager *m, struct numbers *apps, bool others)
{
    struct why why = { 0 };
    int r;

    if (apps->n > 0)
        qsort(apps->items, apps->n, sizeof(*apps->items), compare_numbers);
    r = bpf_drop_stats(m->applier.bpf, apps->items, apps->n, others, &why);
    if (r < 0)
        log_warning("counters of apps that are gone stay: %s", why_text(&why, r));
}

/* A listener: a model has taken the place of another. */
static void on_commit(void *data, const struct model *old, const struct model *new)
{
    struct assignments_walk w = { .a = old->assignments, .b = new->assignments };
    const struct assignment *before, *after;
    struct manager *m = data;
    struct numbers gone = { 0 };
    int r = 0;

    if (!m->applier.bpf || old->assignments == new->assignments)
        return;
    while (r == 0 && assignments_next(&w, &before, &after))
        if (!after)
            r = add_number(&gone, before);
    if (r == 0 && gone.n > 0)
        drop(m, &gone, false);
    free(gone.items);
}

void apps_start(struct manager *m)
{
    const struct assignments *all = m->model->assignments;
    struct numbers here = { 0 };
    int r = ARRAY_RESERVE(here.items, here.cap, all->n + 1);

    for (size_t i = 0; r == 0 && i < all->n; i++)
        r = add_number(&here, &all->items[i]);
    if (r == 0 && m->applier.bpf && bpf_has_past(m->applier.bpf))
        drop(m, &here, true);
    free(here.items);
    manager_listen(m, &(struct listener){ .data = m, .commit = on_commit });
}

/* The list. */

struct counters {
    struct bpf_stats *items; /* by app */
    size_t n;
    const char *missing; /* why there are none; NULL = there are */
};

static int read_counters(struct manager *m, struct counters *ret, struct why *why)
{
    if (m->applier.bpf)
        return bpf_read_stats(m->applier.bpf, &ret->items, &ret->n, why);
    ret->missing = m->off ? "waymark is off: nothing is counted until `waymark reload`"
                          : "only the back-end maps counts packets per app, and rules is in use: "
                            "see `waymark doctor`";
    return 0;
}

static const char *network_name(const struct manager *m, uint32_t netid)
{
    const struct network *n = model_network(m->model, netid);

    return n ? n->name : "";
}

static int append_drops(sd_bus_message *m, const struct map_stats *s)
{
    int r = sd_bus_message_open_container(m, 'a', "{st}");

    for (uint32_t i = 0; r >= 0 && i < ELEMENTSOF(s->drops); i++)
        if (s->drops[i] > 0)
            r = sd_bus_message_append(m, "{st}", door_drop_to_string(DOOR_DROP_NONE + i),
                                      s->drops[i]);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_counter(sd_bus_message *m, const struct manager *manager,
                          const struct bpf_stats *s)
{
    int r = sd_bus_message_open_container(m, 'r', "sutttta{st}");

    if (r >= 0)
        r = sd_bus_message_append(m, "sutttt", network_name(manager, s->key.netid), s->key.netid,
                                  s->sum.packets_out, s->sum.bytes_out, s->sum.packets_in,
                                  s->sum.bytes_in);
    if (r >= 0)
        r = append_drops(m, &s->sum);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The first counter that is not of a lower number. */
static size_t find_counters(const struct counters *c, uint64_t app)
{
    size_t lo = 0, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->items[mid].key.app < app)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int append_counters(sd_bus_message *m, const struct manager *manager,
                           const struct assignment *a, const struct counters *c)
{
    uint64_t app = selector_number(&a->selector);
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Counters");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a(sutttta{st})");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sutttta{st})");
    for (size_t i = find_counters(c, app); r >= 0 && i < c->n && c->items[i].key.app == app; i++)
        r = append_counter(m, manager, &c->items[i]);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_app(sd_bus_message *m, const struct manager *manager, const struct assignment *a,
                      const struct counters *c)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    selector_print(&a->selector, &selector);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "Selector", "s", strbuf_text(&selector),
                                  "Network", "s", assignment_target(a), "Strength", "s",
                                  strength_to_string(a->strength));
    if (r >= 0 && !c->missing)
        r = append_counters(m, manager, a, c);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_list_apps(struct bus_call *call, struct why *why)
{
    const struct assignments *all = call->m->model->assignments;
    struct counters c = { 0 };
    sd_bus_message *reply = NULL;
    int r = read_counters(call->m, &c, why);

    if (r >= 0)
        r = sd_bus_message_new_method_return(call->msg, &reply);
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", c.missing ? c.missing : "");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < all->n; i++)
        r = append_app(reply, call->m, &all->items[i], &c);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    free(c.items);
    return r;
}
