/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/targets.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/host.h"

struct targets *targets_ref(struct targets *t)
{
    t->refs++;
    return t;
}

void targets_unref(struct targets *t)
{
    if (!t || --t->refs > 0)
        return;
    for (size_t i = 0; i < t->n; i++)
        network_unref(t->items[i].network);
    free(t->items);
    free(t->ports);
    free(t->by_name);
    free(t);
}

/* Links by name, so that 1000 networks with an interface each cost n log n. */
struct link_index {
    const struct rtnl_link **links;
    size_t n;
};

static int compare_link_names(const void *x, const void *y)
{
    const struct rtnl_link *const *a = x, *const *b = y;
    return strcmp((*a)->name, (*b)->name);
}

static int link_index_build(const struct kernel *k, struct link_index *index)
{
    index->links = reallocarray(NULL, MAX(k->n_links, (size_t)1), sizeof(*index->links));
    if (!index->links)
        return -ENOMEM;
    index->n = k->n_links;
    for (size_t i = 0; i < k->n_links; i++)
        index->links[i] = &k->links[i];
    if (index->n > 0)
        qsort(index->links, index->n, sizeof(*index->links), compare_link_names);
    return 0;
}

static const struct rtnl_link *link_index_find(const struct link_index *index, const char *name)
{
    struct rtnl_link key = { 0 };
    const struct rtnl_link *p = &key, **found;

    if (index->n == 0 || !str_set(key.name, sizeof(key.name), name))
        return NULL;
    found = bsearch(&p, index->links, index->n, sizeof(*index->links), compare_link_names);
    return found ? *found : NULL;
}

static int add_target(struct targets *t, const struct model *m, const struct link_index *index,
                      struct network *network)
{
    struct target target = { .network = network, .first_port = t->n_ports };
    int r = 0;

    for (size_t i = 0; r == 0 && i < network->n_interfaces; i++) {
        const struct rtnl_link *link = link_index_find(index, network->interfaces[i]);
        struct port port = { 0 };

        if (!link || !host_interface_usable(m, link))
            continue;
        port.ifindex = link->ifindex;
        memcpy(port.name, link->name, sizeof(port.name));
        r = ARRAY_PUSH(t->ports, t->n_ports, t->cap_ports, port);
    }
    target.n_ports = t->n_ports - target.first_port;
    if (r == 0)
        r = ARRAY_PUSH(t->items, t->n, t->cap, target);
    if (r == 0)
        (void)network_ref(network);
    return r;
}

static int compare_target_names(const void *x, const void *y, void *data)
{
    const struct targets *t = data;
    const uint32_t *a = x, *b = y;

    return strcmp(t->items[*a].network->name, t->items[*b].network->name);
}

ssize_t targets_find(const struct targets *t, const char *name)
{
    size_t lo = 0, hi = t->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(t->items[t->by_name[mid]].network->name, name);

        if (c == 0)
            return t->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -ENOENT;
}

bool targets_is_usable(const struct targets *t, ssize_t target)
{
    return target >= 0 &&
           (t->items[target].n_ports > 0 || t->items[target].network->type == NETWORK_UNREACHABLE);
}

int targets_build(const struct model *m, const struct kernel *k, struct targets **ret)
{
    _cleanup_(targets_unrefp) struct targets *t = calloc(1, sizeof(*t));
    struct link_index index = { 0 };
    int r;

    if (!t)
        return -ENOMEM;
    t->refs = 1;
    r = link_index_build(k, &index);
    for (size_t i = 0; r == 0 && i < m->n_networks; i++)
        r = add_target(t, m, &index, m->networks[i]);
    free(index.links);
    if (r < 0)
        return r;

    t->by_name = reallocarray(NULL, MAX(t->n, (size_t)1), sizeof(*t->by_name));
    if (!t->by_name)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->n; i++)
        t->by_name[i] = i;
    qsort_r(t->by_name, t->n, sizeof(*t->by_name), compare_target_names, t);

    t->default_named = m->default_network != NULL;
    t->default_index = t->default_named ? targets_find(t, m->default_network->s) : -1;
    if (t->default_index < 0)
        t->default_index = -1;
    t->android_tables = model_uses_android_tables(m);
    *ret = TAKE_PTR(t);
    return 0;
}

bool targets_equal(const struct targets *a, const struct targets *b)
{
    if (a == b)
        return true;
    if (a->n != b->n || a->n_ports != b->n_ports || a->default_index != b->default_index ||
        a->default_named != b->default_named || a->android_tables != b->android_tables)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].network != b->items[i].network ||
            a->items[i].first_port != b->items[i].first_port ||
            a->items[i].n_ports != b->items[i].n_ports)
            return false;
    return mem_equal(a->ports, b->ports, a->n_ports * sizeof(*a->ports));
}
