/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who is there: users and their connections, and who of them goes when there are too many.
 *
 * The user who has most loses: of connections, his longest idle; of bytes that are kept, what he has kept
 * longest. What the store works on stays. Any user on the machine may have 65536 uids (subuid(5)), so nothing
 * here goes through all users: they are ranked by powers of two, and of the highest rank a few are compared.
 *
 * Lists only; it neither reads nor answers. A user is freed with his last connection.
 */

#include <sys/queue.h>
#include <sys/types.h>

#include "keystore/connection.h"

TAILQ_HEAD(connection_list, connection);
TAILQ_HEAD(user_list, user);
LIST_HEAD(user_bucket, user);

enum crowd_measure {
    CROWD_CONNECTIONS, /* idle ones: all but those that the store works on */
    CROWD_BYTES,       /* that these keep */
    CROWD_MEASURE_MAX,
};

enum {
    CROWD_BUCKETS = 256,
    CROWD_RANKS = 65, /* 0: he has none; else 1 + the logarithm */
};

struct user {
    uid_t uid;
    size_t n;                       /* connections */
    size_t running;                 /* of these; locks and passwords are not counted */
    size_t guesses;                 /* passwords that wait, or run */
    struct connection_list by_use;  /* the longest idle first */
    struct connection_list holding; /* of these, those that keep bytes */
    struct connection_list waiting; /* for their turn */
    size_t has[CROWD_MEASURE_MAX];
    uint8_t rank[CROWD_MEASURE_MAX];
    bool ready; /* in the server's list of those whose turn it is */
    LIST_ENTRY(user) entry;
    TAILQ_ENTRY(user) ranked[CROWD_MEASURE_MAX], turn;
};

struct crowd {
    struct user_bucket users[CROWD_BUCKETS];
    struct user_list ranks[CROWD_MEASURE_MAX][CROWD_RANKS];
    size_t n, bytes;             /* of all */
    struct connection_list held; /* all that keep bytes… */
    size_t n_held;               /* …so many */
};

void crowd_init(struct crowd *w);

struct user *crowd_find(struct crowd *w, uid_t uid);

/* Makes it one of its uid's. 0 or -ENOMEM. */
int crowd_join(struct crowd *w, struct connection *c);

/* It is neither idle nor keeps bytes any more. With his last one the user is gone, too. */
void crowd_leave(struct crowd *w, struct connection *c);

/* From now on it may have to go; or may not. */
void crowd_idle(struct crowd *w, struct connection *c);
void crowd_busy(struct crowd *w, struct connection *c);

/* Something has come of it. */
void crowd_used(struct connection *c);

/* So many bytes it keeps; none, where it is not idle. */
void crowd_keeps(struct crowd *w, struct connection *c, size_t bytes);

/* Who has to go. NULL: nobody has any that may. */
struct connection *crowd_victim(const struct crowd *w, enum crowd_measure measure);
