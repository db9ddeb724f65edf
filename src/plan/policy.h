/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From assignments that may overlap to segments that do not.
 *
 * Assignments speak of ranges of uids, one inside the other, groups across them. The kernel wants
 * to be told each uid once. A sweep over the sorted bounds with the active assignments in a heap
 * gives disjoint segments, each with the one assignment that holds there (decide/precedence.h);
 * neighbours that say the same are joined. O(n log n), O(n) when the assignments do not overlap.
 *
 * Rules want few segments. The programs of the `maps` back-end count packets per app, so for them
 * (policy_build_apps()) segments of different assignments stay apart, one whose preferred network is
 * not usable has a segment as well, and there are no fences: marks have theirs (plan/maps.h).
 *
 * Three streams come out, each sorted by uid:
 *
 *   segments   REQUIRE, REFUSE (`none`, or a required network that is not usable), PREFER
 *   fences     where an app may use nothing beyond its network: FENCE, joined across networks
 *   captures   CAPTURE: the users of VPNs (android.md §3.1 addUsers); of several VPNs the lowest
 *              netId has the uid (§1.6 getNetworkForUser)
 *
 * Segments and fences of a required VPN are `exempt` where the uid may protect sockets (the model's
 * protectable: programs that are VPNs): their protected sockets are to get out without the VPN. The
 * mark alone does not make a socket exempt: one that was accepted has it from the packet that came.
 */

#include "plan/targets.h"

enum verdict {
    VERDICT_REQUIRE, /* target's table, nothing else */
    VERDICT_PREFER,  /* target's table, then the default */
    VERDICT_REFUSE,  /* nothing */
    VERDICT_FENCE,   /* what no way took is refused */
    VERDICT_CAPTURE, /* target's table, as a VPN's user */
    /* The `maps` back-end's, over all uids: what marks of the target's netId lead to (plan/maps.h) */
    VERDICT_MARK_REQUIRE,
    VERDICT_MARK_PREFER,
    VERDICT_MARK_NONE, /* the mark of those who have no network */
    VERDICT_MAX,
};

struct segment {
    struct uid_range uid;
    int32_t target; /* index into targets; -1 = none (`none`, or a network that is not there) */
    enum verdict verdict;
    uint32_t exempt; /* 0 or 1; not a bool, for segments are compared as bytes */
    uint32_t pad;
    uint64_t app; /* policy_build_apps(): selector_number() of the assignment; else 0 */
};

struct segments {
    struct segment *items;
    size_t n, cap;
};

struct policy {
    struct segments segments, fences, captures;
    struct segments secure_captures; /* of secure VPNs alone: these are disjoint */
    bool *preferred;                 /* by target: some PREFER segment leads there */
};

/* 0 or -ENOMEM; *ret is to be released with policy_done(). */
int policy_build(const struct model *m, const struct targets *t, struct policy *ret);
int policy_build_apps(const struct model *m, const struct targets *t, struct policy *ret);
void policy_done(struct policy *p);
#define _cleanup_policy_ _cleanup_(policy_done)

/* Of a sweep: for these uids, the claim with this index holds. 0, or a negative errno: it ends. */
typedef int (*policy_emit)(void *data, struct uid_range uid, uint32_t index);

/*
 * Sweeps over assignments: tells disjoint ranges, ascending, each with the index of the assignment
 * that holds there. `within` (coalesced; NULL: everything): what does not touch these ranges is left
 * out. 0, -ENOMEM, or what `emit` returned.
 */
int policy_sweep(const struct assignments *all, const struct uid_range *within, size_t n_within,
                 policy_emit emit, void *data);

/* Sets holds[i] for every assignment that decides for at least one uid. 0 or -ENOMEM. */
int policy_holds(const struct assignments *all, bool *holds);

/* The segment that holds uid, or NULL. */
const struct segment *segments_find(const struct segments *s, uint32_t uid);

const char *verdict_to_string(enum verdict verdict);
