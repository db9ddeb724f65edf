/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/crowd.h"

#include <errno.h>
#include <stdlib.h>

enum { COMPARED = 64 }; /* of the highest rank: no more of them are looked at */

void crowd_init(struct crowd *w)
{
    *w = (struct crowd){ 0 };
    TAILQ_INIT(&w->held);
    for (size_t m = 0; m < CROWD_MEASURE_MAX; m++)
        for (size_t i = 0; i < CROWD_RANKS; i++)
            TAILQ_INIT(&w->ranks[m][i]);
}

struct user *crowd_find(struct crowd *w, uid_t uid)
{
    struct user *u = NULL;

    LIST_FOREACH (u, &w->users[uid % CROWD_BUCKETS], entry) {
        if (u->uid == uid)
            return u;
    }
    return NULL;
}

int crowd_join(struct crowd *w, struct connection *c)
{
    struct user *u = crowd_find(w, c->uid);

    if (!u) {
        u = calloc(1, sizeof(*u));
        if (!u)
            return -ENOMEM;
        u->uid = c->uid;
        TAILQ_INIT(&u->by_use);
        TAILQ_INIT(&u->holding);
        TAILQ_INIT(&u->waiting);
        LIST_INSERT_HEAD(&w->users[c->uid % CROWD_BUCKETS], u, entry);
    }
    c->user = u;
    u->n++;
    w->n++;
    return 0;
}

void crowd_leave(struct crowd *w, struct connection *c)
{
    struct user *u = c->user;

    c->user = NULL;
    w->n--;
    if (--u->n > 0)
        return;
    LIST_REMOVE(u, entry);
    free(u);
}

static uint8_t rank_of(size_t has)
{
    return has == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(has));
}

static void set(struct crowd *w, struct user *u, enum crowd_measure m, size_t has)
{
    uint8_t rank = rank_of(has);

    u->has[m] = has;
    if (rank == u->rank[m])
        return;
    if (u->rank[m] > 0)
        TAILQ_REMOVE(&w->ranks[m][u->rank[m]], u, ranked[m]);
    u->rank[m] = rank;
    if (rank > 0)
        TAILQ_INSERT_TAIL(&w->ranks[m][rank], u, ranked[m]);
}

void crowd_idle(struct crowd *w, struct connection *c)
{
    TAILQ_INSERT_TAIL(&c->user->by_use, c, by_use);
    set(w, c->user, CROWD_CONNECTIONS, c->user->has[CROWD_CONNECTIONS] + 1);
}

void crowd_busy(struct crowd *w, struct connection *c)
{
    TAILQ_REMOVE(&c->user->by_use, c, by_use);
    set(w, c->user, CROWD_CONNECTIONS, c->user->has[CROWD_CONNECTIONS] - 1);
}

void crowd_used(struct connection *c)
{
    TAILQ_REMOVE(&c->user->by_use, c, by_use);
    TAILQ_INSERT_TAIL(&c->user->by_use, c, by_use);
}

void crowd_keeps(struct crowd *w, struct connection *c, size_t bytes)
{
    struct user *u = c->user;

    if (c->counted == bytes)
        return;
    if (c->counted == 0) {
        TAILQ_INSERT_TAIL(&u->holding, c, holding);
        TAILQ_INSERT_TAIL(&w->held, c, held);
        w->n_held++;
    } else if (bytes == 0) {
        TAILQ_REMOVE(&u->holding, c, holding);
        TAILQ_REMOVE(&w->held, c, held);
        w->n_held--;
    }
    w->bytes += bytes - c->counted;
    set(w, u, CROWD_BYTES, u->has[CROWD_BYTES] + bytes - c->counted);
    c->counted = bytes;
}

struct connection *crowd_victim(const struct crowd *w, enum crowd_measure m)
{
    const struct user *most = NULL, *u = NULL;
    size_t rank = CROWD_RANKS - 1, n = 0;

    while (rank > 0 && TAILQ_EMPTY(&w->ranks[m][rank]))
        rank--;
    if (rank == 0)
        return NULL;
    TAILQ_FOREACH(u, &w->ranks[m][rank], ranked[m])
    {
        if (!most || u->has[m] > most->has[m])
            most = u;
        if (++n == COMPARED)
            break;
    }
    return m == CROWD_BYTES ? TAILQ_FIRST(&most->holding) : TAILQ_FIRST(&most->by_use);
}
