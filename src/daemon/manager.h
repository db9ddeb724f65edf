/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The manager: the one context of the daemon, and its one loop.
 *
 *   request or kernel event → model (a new value) → plan → diff with what stands → apply
 *                           → commit the model, or roll back
 *
 * A request goes through manager_change() (change.c): a copy of the model is edited, planned and
 * applied; only when the kernel took all of it and the state file has it does it become the model.
 * Kernel events go through reconcile_now() (reconcile.c): what became stale is dumped again, the
 * host's networks follow, and what differs is put right.
 *
 * Front ends (bus.c, netd.c, fwmarkd.c) call these and listen (struct listener); they hold no state
 * of the world of their own.
 */

#include <systemd/sd-event.h>

#include "apply/applier.h"
#include "basic/clock.h"
#include "daemon/config.h"
#include "daemon/refusals.h"
#include "daemon/store.h"
#include "model/edit.h"
#include "observe/observer.h"

/* What carries the apps (backend.h). */
enum backend {
    BACKEND_AUTO, /* maps where they can be had, else rules */
    BACKEND_RULES,
    BACKEND_MAPS, /* as AUTO, but it is a fault when they cannot be had */
    BACKEND_MAX,
};

struct manager_options {
    const char *runtime_dir; /* "/run/waymark" */
    const char *state_dir;   /* "/var/lib/waymark" */
    const char *config;      /* "/etc/waymark": a folder, or one file */
    unsigned config_found;   /* CONFIG_FOUND_*: what of it has to be there */
    bool host_networks;
    enum backend backend;
    const char *cgroup; /* maps: where they are attached; NULL = at the root of cgroup2 */
    const char *bpffs;  /* maps: where they are kept, "/sys/fs/bpf" */
    int log_level;      /* -1 = the configuration's */
};

/* Something that people who watch want to hear: `waymark monitor`. */
enum notice_kind {
    NOTICE_RESTORED, /* rules or routes of ours were deleted by somebody and are back */
    NOTICE_REJECTED, /* the kernel would not take a route */
    NOTICE_DEGRADED, /* what is wanted could not be applied; it is tried again */
    NOTICE_RECOVERED,
    NOTICE_OFF, /* panic-off */
    NOTICE_ON,
    NOTICE_RELOADED,
    NOTICE_KIND_MAX,
};

const char *notice_kind_to_string(enum notice_kind kind);

/* Called in order of registration; any member may be NULL. */
struct listener {
    void *data;
    void (*commit)(void *data, const struct model *old, const struct model *new);
    void (*event)(void *data, const struct observe_event *event);
    void (*notice)(void *data, enum notice_kind kind, const char *text);
};

enum { LISTENERS_MAX = 8 };

struct manager {
    struct manager_options options;
    sd_event *event;
    struct observer observer;
    struct applier applier;
    struct store store;
    int lock; /* bound to the name that one daemon per namespace has */

    struct kernel kernel; /* facts: as of the last refresh; the guard is ours as it stands */
    uint64_t generation;  /* of the facts */
    struct model *model;
    struct plan *stands;      /* what is in the kernel; NULL = to be found out */
    struct refusals refusals; /* routes that the kernel would not take */
    struct rule_list surplus; /* copies of rules that the last dump showed, if it was a quiet one */
    bool quiet;               /* nobody touched rules during the last dump */
    bool guard_unknown;       /* what stands in nftables may be any guard, or none, or… */
    struct guard *last_guard; /* …what stood when it was known last; NULL = it never was */
    bool maps_unknown;        /* the same of the programs' maps, after a start or a failure */
    bool maps_left;           /* an earlier run has left programs */
    bool users_due;           /* users or groups changed: names have to be looked up again */
    bool users_away;          /* some could not be: the user database is away */
    bool off;                 /* panic-off: nothing of ours is wanted in the kernel */
    bool off_unmarked;        /* and no file says so: until this process ends */
    bool degraded;            /* the last attempt failed: degraded_why */
    struct why degraded_why;

    unsigned tampered; /* rules and routes that somebody deleted since the last look */
    struct ratelimit restoring;
    usec_t next_reconcile; /* not before: a dump must not eat the machine */
    unsigned retries;
    sd_event_source *reconcile_timer;
    sd_event_source *slow_timer; /* for what may be possible again without anybody telling */
    struct nlsock nft_events;    /* who touches our nftables table */
    struct selectors *selectors; /* back-end maps: what process selectors mean; else NULL */
    sd_event_source *selectors_source;
    sd_event_source *mounts_source;
    struct sweeper *sweeper;         /* of sockets whose network changed */
    struct runs *runs;               /* what `waymark run` runs */
    struct vpn_service *vpn_service; /* programs that are VPNs */
    struct engines *engines;         /* those of them that we start */

    struct listener listeners[LISTENERS_MAX];
    size_t n_listeners;
    struct bus *bus;
    struct netd *netd;
    struct fwmarkd *fwmarkd;
};

/*
 * Builds everything up to, but without, the event loop: reads configuration and state, adopts what
 * the kernel has, listens. 0, or a negative errno; why, is logged. *ret is to be freed in any case.
 */
int manager_new(const struct manager_options *options, struct manager **ret);
void manager_free(struct manager *m);

/* A snapshot knows of rules and routes; this adds the guards, which stand as we know. */
void manager_add_guards(const struct manager *m, struct kernel *k);
DEFINE_CLEANUP(struct manager *, manager_free)

/* Runs until SIGTERM or SIGINT. 0 or -errno. */
int manager_run(struct manager *m);

/* Registers; LISTENERS_MAX at most. */
void manager_listen(struct manager *m, const struct listener *listener);
void manager_notice(struct manager *m, enum notice_kind kind, const char *format, ...)
    _printf_(3, 4);

/* Reads the configuration again and the user database with it. All or nothing. Ends `off`. */
int manager_reload(struct manager *m, struct why *why);

/* Takes everything of ours out of the kernel, and keeps it out until manager_reload(). */
int manager_panic_off(struct manager *m, struct why *why);

/* The one place that knows which file says that we are off, across restarts: until the next boot. */
bool manager_off_marked(const struct manager_options *options);
bool manager_is_off(const struct manager *m);
int manager_mark_off(const struct manager_options *options, bool off);
