/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/policy.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/precedence.h"

/* An input of the sweep: over these uids, `rank` competes. */
struct claim {
    struct uid_range uid;
    uint32_t index; /* of the assignment, or the network */
};

/* The sweep: claims sorted by lower bound, those that are open in a heap with the winner on top. */
struct sweep {
    const void *context;
    int (*compare)(const void *context, uint32_t a, uint32_t b); /* < 0: a wins */
    struct claim *heap;
    size_t n_heap, cap_heap;
};

static bool wins(const struct sweep *s, const struct claim *a, const struct claim *b)
{
    return s->compare(s->context, a->index, b->index) < 0;
}

static int heap_push(struct sweep *s, struct claim claim)
{
    int r = ARRAY_PUSH(s->heap, s->n_heap, s->cap_heap, claim);

    for (size_t i = s->n_heap - 1; r == 0 && i > 0 && wins(s, &s->heap[i], &s->heap[(i - 1) / 2]);
         i = (i - 1) / 2) {
        struct claim swap = s->heap[i];
        s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[(i - 1) / 2] = swap;
    }
    return r;
}

static void heap_pop(struct sweep *s)
{
    size_t i = 0;

    s->heap[0] = s->heap[--s->n_heap];
    for (;;) {
        size_t best = i, child = 2 * i + 1;

        if (child < s->n_heap && wins(s, &s->heap[child], &s->heap[best]))
            best = child;
        if (child + 1 < s->n_heap && wins(s, &s->heap[child + 1], &s->heap[best]))
            best = child + 1;
        if (best == i)
            return;
        struct claim swap = s->heap[i];
        s->heap[i] = s->heap[best];
        s->heap[best] = swap;
        i = best;
    }
}

/* `claims` is sorted by uid.lo. Positions are 64 bits wide: hi + 1 must not wrap. */
static int sweep_run(struct sweep *s, const struct claim *claims, size_t n, policy_emit emit,
                     void *data)
{
    uint64_t at = 0;
    size_t next = 0;
    int r = 0;

    while (r == 0 && (next < n || s->n_heap > 0)) {
        if (s->n_heap == 0 && (next + 1 == n || claims[next + 1].uid.lo > claims[next].uid.hi)) {
            r = emit(data, claims[next].uid, claims[next].index); /* alone: the usual case */
            next++;
            continue;
        }
        if (s->n_heap == 0)
            at = claims[next].uid.lo;
        while (r == 0 && next < n && claims[next].uid.lo <= at)
            r = heap_push(s, claims[next++]);
        while (s->n_heap > 0 && s->heap[0].uid.hi < at)
            heap_pop(s);
        if (r < 0 || s->n_heap == 0)
            continue;

        uint64_t end = (uint64_t)s->heap[0].uid.hi + 1;
        if (next < n)
            end = MIN(end, (uint64_t)claims[next].uid.lo);
        r = emit(data, (struct uid_range){ (uint32_t)at, (uint32_t)(end - 1) }, s->heap[0].index);
        at = end;
    }
    return r;
}

static int compare_claims(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    return CMP(a->uid.lo, b->uid.lo);
}

static void sort_claims(struct claim *claims, size_t n)
{
    size_t ordered = 1;

    while (ordered < n && claims[ordered - 1].uid.lo <= claims[ordered].uid.lo)
        ordered++;
    if (ordered < n)
        qsort(claims, n, sizeof(*claims), compare_claims);
}

/* `like` but for its uids. */
static int add_segment(struct segments *s, struct uid_range uid, const struct segment *like)
{
    struct segment *last = s->n > 0 ? &s->items[s->n - 1] : NULL, segment = *like;

    if (last && last->target == like->target && last->verdict == like->verdict &&
        last->exempt == like->exempt && last->app == like->app && last->uid.hi + 1 == uid.lo) {
        last->uid.hi = uid.hi;
        return 0;
    }
    segment.uid = uid;
    return ARRAY_PUSH(s->items, s->n, s->cap, segment);
}

/*
 * Which target a name means, by the address of the name: names are shared (model_intern_name), so a
 * few addresses stand for all of them. A hash table with linear probing that forgets everything when
 * it is half full, for names that are not shared after all.
 */
struct name_cache {
    struct name_slot {
        const struct rstr *name;
        int32_t target;
    } * slots;
    size_t mask, used;
};

struct build {
    const struct model *m;
    const struct targets *t;
    struct policy *p;
    struct name_cache cache;
    bool apps; /* policy_build_apps() */
};

static int name_cache_init(struct name_cache *c, size_t n)
{
    size_t size = 64;

    while (size < 4 * n)
        size *= 2;
    c->slots = calloc(size, sizeof(*c->slots));
    c->mask = size - 1;
    return c->slots ? 0 : -ENOMEM;
}

static int32_t find_target(struct build *b, const struct rstr *name)
{
    struct name_cache *c = &b->cache;
    size_t i = (((uintptr_t)name >> 4) * 0x9e3779b1U) & c->mask;
    ssize_t target;

    for (; c->slots[i].name; i = (i + 1) & c->mask)
        if (c->slots[i].name == name)
            return c->slots[i].target;
    target = targets_find(b->t, name->s);
    if (++c->used > c->mask / 2) {
        memset(c->slots, 0, (c->mask + 1) * sizeof(*c->slots));
        c->used = 0;
    }
    c->slots[i] = (struct name_slot){ .name = name, .target = target < 0 ? -1 : (int32_t)target };
    return c->slots[i].target;
}

/* These uids have the target or nothing. */
static int hold(struct build *b, struct uid_range uid, const struct segment *like, bool exempt)
{
    struct segment segment = *like, fence = { .target = -1, .verdict = VERDICT_FENCE };
    int r;

    segment.verdict = targets_is_usable(b->t, like->target) ? VERDICT_REQUIRE : VERDICT_REFUSE;
    segment.exempt = fence.exempt = exempt;
    r = add_segment(&b->p->segments, uid, &segment);
    return r < 0 || b->apps ? r : add_segment(&b->p->fences, uid, &fence);
}

/* The same; those that may protect sockets apart. */
static int hold_to_vpn(struct build *b, struct uid_range uid, const struct segment *like)
{
    const struct model *m = b->m;
    int r = 0;

    for (uint32_t one = model_next_protectable(m, uid.lo); r == 0 && one <= uid.hi;
         one = model_next_protectable(m, uid.lo)) {
        if (uid.lo < one)
            r = hold(b, (struct uid_range){ uid.lo, one - 1 }, like, false);
        if (r == 0)
            r = hold(b, (struct uid_range){ one, one }, like, true);
        if (one == uid.hi)
            return r;
        uid.lo = one + 1;
    }
    return r < 0 ? r : hold(b, uid, like, false);
}

static int prefer(struct build *b, struct uid_range uid, struct segment *like)
{
    bool usable = targets_is_usable(b->t, like->target);

    if (!usable && !b->apps)
        return 0;
    if (usable)
        b->p->preferred[like->target] = true;
    else
        like->target = -1;
    like->verdict = VERDICT_PREFER;
    return add_segment(&b->p->segments, uid, like);
}

static int emit_assignment(void *data, struct uid_range uid, uint32_t index)
{
    struct build *b = data;
    const struct assignment *a = &b->m->assignments->items[index];
    int32_t target = a->network ? find_target(b, a->network) : -1;
    bool vpn = target >= 0 && b->t->items[target].network->type == NETWORK_VPN;
    struct segment like = { .target = target, .app = b->apps ? selector_number(&a->selector) : 0 };

    if (a->strength == STRENGTH_PREFER)
        return prefer(b, uid, &like);
    return vpn ? hold_to_vpn(b, uid, &like) : hold(b, uid, &like, false);
}

static int compare_assignments(const void *context, uint32_t a, uint32_t b)
{
    const struct assignments *all = context;

    return precedence_compare(&all->items[a], &all->items[b]);
}

/* Does a range touch one of those? `within` is coalesced; NULL is everything. */
static bool is_within(const struct uid_range *range, const struct uid_range *within, size_t n)
{
    size_t lo = 0, hi = n;

    while (within && lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (within[mid].hi < range->lo)
            lo = mid + 1;
        else
            hi = mid;
    }
    return !within || (lo < n && within[lo].lo <= range->hi);
}

int policy_sweep(const struct assignments *all, const struct uid_range *within, size_t n_within,
                 policy_emit emit, void *data)
{
    struct sweep sweep = { .context = all, .compare = compare_assignments };
    _cleanup_free_ struct claim *claims = NULL;
    size_t n = 0, cap = 0;
    int r = within ? 0 : ARRAY_RESERVE(claims, cap, all->n);

    for (size_t i = 0; r == 0 && i < all->n; i++) {
        const struct uid_range *ranges;
        size_t n_ranges = assignment_ranges(&all->items[i], &ranges);

        for (size_t j = 0; r == 0 && j < n_ranges; j++)
            if (is_within(&ranges[j], within, n_within))
                r = ARRAY_PUSH(claims, n, cap,
                               ((struct claim){ .uid = ranges[j], .index = (uint32_t)i }));
    }
    if (r < 0)
        return r;
    sort_claims(claims, n);
    r = sweep_run(&sweep, claims, n, emit, data);
    free(sweep.heap);
    return r;
}

static int emit_holds(void *data, struct uid_range uid, uint32_t index)
{
    bool *holds = data;

    (void)uid;
    holds[index] = true;
    return 0;
}

int policy_holds(const struct assignments *all, bool *holds)
{
    return policy_sweep(all, NULL, 0, emit_holds, holds);
}

/* Captures: claims of VPNs by index of the target (so by netId). A `prefer` assignment to a VPN
 * takes its uids out of bypassable VPNs, which stand at the same priority: it ranks before all. */
#define CAPTURE_NONE UINT32_MAX

static int compare_captures(const void *context, uint32_t a, uint32_t b)
{
    (void)context;
    if (a == CAPTURE_NONE || b == CAPTURE_NONE)
        return CMP(a != CAPTURE_NONE, b != CAPTURE_NONE);
    return CMP(a, b);
}

static int emit_capture(void *data, struct uid_range uid, uint32_t index)
{
    const struct segment capture = { .target = (int32_t)index, .verdict = VERDICT_CAPTURE };
    struct build *b = data;
    int r;

    if (index == CAPTURE_NONE)
        return 0;
    r = add_segment(&b->p->captures, uid, &capture);
    if (r == 0 && b->t->items[index].network->secure)
        r = add_segment(&b->p->secure_captures, uid, &capture);
    return r;
}

static int add_capture_claims(const struct build *b, bool secure, struct claim **claims, size_t *n,
                              size_t *cap)
{
    int r = 0;

    for (size_t i = 0; i < b->t->n; i++) {
        const struct network *network = b->t->items[i].network;

        if (network->type != NETWORK_VPN || network->secure != secure)
            continue;
        for (size_t j = 0; r == 0 && j < network->n_users; j++)
            r = ARRAY_PUSH(*claims, *n, *cap,
                           ((struct claim){ .uid = network->users[j], .index = (uint32_t)i }));
    }
    for (size_t i = 0; !secure && r == 0 && i < b->p->segments.n; i++) {
        const struct segment *s = &b->p->segments.items[i];

        if (s->verdict == VERDICT_PREFER && s->target >= 0 &&
            b->t->items[s->target].network->type == NETWORK_VPN)
            r = ARRAY_PUSH(*claims, *n, *cap,
                           ((struct claim){ .uid = s->uid, .index = CAPTURE_NONE }));
    }
    return r;
}

static int compare_segments(const void *x, const void *y)
{
    const struct segment *a = x, *b = y;
    return a->uid.lo != b->uid.lo ? CMP(a->uid.lo, b->uid.lo) : CMP(a->target, b->target);
}

/* Secure and bypassable VPNs capture at different priorities: one uid may be in one of each. */
static int build_captures(struct build *b)
{
    int r = 0;

    for (int secure = 0; r == 0 && secure <= 1; secure++) {
        struct sweep sweep = { .compare = compare_captures };
        _cleanup_free_ struct claim *claims = NULL;
        size_t n = 0, cap = 0;

        r = add_capture_claims(b, secure, &claims, &n, &cap);
        if (r < 0)
            return r;
        sort_claims(claims, n);
        r = sweep_run(&sweep, claims, n, emit_capture, b);
        free(sweep.heap);
    }
    if (b->p->captures.n > 0)
        qsort(b->p->captures.items, b->p->captures.n, sizeof(struct segment), compare_segments);
    return r;
}

static int build(const struct model *m, const struct targets *t, bool apps, struct policy *ret)
{
    _cleanup_policy_ struct policy p = { 0 };
    struct build b = { .m = m, .t = t, .p = &p, .apps = apps };
    int r;

    p.preferred = calloc(MAX(t->n, (size_t)1), sizeof(bool));
    r = p.preferred ? name_cache_init(&b.cache, t->n) : -ENOMEM;
    if (r == 0)
        r = ARRAY_RESERVE(p.segments.items, p.segments.cap, m->assignments->n);
    if (r == 0)
        r = policy_sweep(m->assignments, NULL, 0, emit_assignment, &b);
    if (r == 0)
        r = build_captures(&b);
    free(b.cache.slots);
    if (r < 0)
        return r;
    *ret = p;
    p = (struct policy){ 0 };
    return 0;
}

int policy_build(const struct model *m, const struct targets *t, struct policy *ret)
{
    return build(m, t, false, ret);
}

int policy_build_apps(const struct model *m, const struct targets *t, struct policy *ret)
{
    return build(m, t, true, ret);
}

void policy_done(struct policy *p)
{
    free(p->segments.items);
    free(p->fences.items);
    free(p->captures.items);
    free(p->secure_captures.items);
    free(p->preferred);
    *p = (struct policy){ 0 };
}

const struct segment *segments_find(const struct segments *s, uint32_t uid)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->items[mid].uid.hi < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n && s->items[lo].uid.lo <= uid ? &s->items[lo] : NULL;
}

const char *verdict_to_string(enum verdict verdict)
{
    static const char *const names[VERDICT_MAX] = {
        [VERDICT_REQUIRE] = "require",         [VERDICT_PREFER] = "prefer",
        [VERDICT_REFUSE] = "refuse",           [VERDICT_FENCE] = "fence",
        [VERDICT_CAPTURE] = "capture",         [VERDICT_MARK_REQUIRE] = "mark-require",
        [VERDICT_MARK_PREFER] = "mark-prefer", [VERDICT_MARK_NONE] = "mark-none",
    };

    return names[verdict];
}
