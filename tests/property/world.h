/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What happens to the links of a test's namespace (property/netns.h) while Waymark runs: they go
 * down, lose their carrier, are renamed, are made anew, change names with each other.
 *
 * The links' peers can be moved to a namespace of their own, the far end, which takes packets in:
 * then connections can be established over the links.
 */

#include "property/netns.h"

enum event {
    EVENT_NONE,
    EVENT_DOWN,
    EVENT_NO_CARRIER,
    EVENT_RENAMED,
    EVENT_RECREATED, /* under the same name, with another index */
    EVENT_SWAPPED,   /* with the next link: each has the other's name */
    EVENT_MAX,
};

const char *event_to_string(enum event e);

enum { WORLD_LINKS_MAX = 8 };

struct world {
    unsigned n_links;
    char names[WORLD_LINKS_MAX][IFNAMSIZ]; /* what each link is called now; "eth0", … at first */
    enum event event;                      /* what holds at the moment, of which link */
    unsigned event_link;
    int near, far; /* namespaces; -1 = the peers are here, too */
};

/* Enters a new namespace with links in it; with `far`, their peers are at a far end. */
void world_enter(struct world *w, unsigned n_links, bool far);

/* Runs a function at the far end. */
void world_at_far_end(const struct world *w, void (*function)(void *data), void *data);

/*
 * Makes it happen to link i, or takes back what holds at the moment, if anything; returns when the
 * kernel is done with it. One at a time.
 */
void world_do(struct world *w, enum event e, unsigned i);
void world_undo(struct world *w);

/* Gives back all addresses and routes of main that an event has cost. */
void world_set_up(const struct world *w);

/* The index of link i in this state of the kernel; 0 when it is not there. */
int world_ifindex(const struct world *w, const struct kernel *k, unsigned i);
