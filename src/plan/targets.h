/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Networks as the planner sees them: joined with the interfaces that can carry their traffic now.
 * Built once per plan from the model and the kernel's links; index i is that of model->networks[i].
 */

#include "model/kernel.h"
#include "model/model.h"

/* One usable interface of a network. */
struct port {
    int ifindex;
    char name[IFNAMSIZ];
};

struct target {
    struct network *network; /* a reference */
    size_t first_port, n_ports;
};

struct targets {
    unsigned refs;
    struct target *items;
    size_t n, cap;
    struct port *ports;
    size_t n_ports, cap_ports;
    uint32_t *by_name;     /* indices of items, by name */
    ssize_t default_index; /* -1 = `system`, or the default network is not there */
    bool default_named;    /* the default is a network's name, there or not */
    bool android_tables;   /* model_uses_android_tables() */
};

/* 0 and *ret with one reference, or -ENOMEM. */
int targets_build(const struct model *m, const struct kernel *k, struct targets **ret);
struct targets *targets_ref(struct targets *t);
void targets_unref(struct targets *t);
DEFINE_CLEANUP(struct targets *, targets_unref)

bool targets_equal(const struct targets *a, const struct targets *b);

/* Index of the network with this name, or -ENOENT. */
ssize_t targets_find(const struct targets *t, const char *name);

/* Can traffic be sent to this target, an index or negative, at all? */
bool targets_is_usable(const struct targets *t, ssize_t target);

static inline const struct port *target_ports(const struct targets *t, size_t i)
{
    return t->ports + t->items[i].first_port;
}
