/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One client: his request as it comes, the answer as it goes. It never waits; each step says what is
 * waited for, and the server (server.c) does that for all.
 *
 *   READS ──▶ (WAITS ──▶) RUNS ──▶ WRITES ──▶ ENDS      each but the first may be left out
 *
 * Most requests are there, to their end, when they are first looked at: these are answered out of the
 * service's one buffer, without memory of their own. Else what has come is kept, in memory that grows
 * with it and never beyond what was announced.
 *
 * An answer that is known is given at once, also in the middle of a request. Then what the client still
 * sends is read and forgotten until he ends: were it left unread, the kernel would tell him that the
 * connection was reset, before he has seen the answer. Up to DRAINED_MAX bytes, that is: no request is as long.
 *
 * Each request is one line of the log, as Android has it. Names and values are never in it.
 */

#include <sys/queue.h>

#include "basic/clock.h"
#include "keystore/policy.h"
#include "keystore/store.h"

enum connection_next {
    CONNECTION_READS,  /* waits for the client's bytes */
    CONNECTION_WRITES, /* for him to read */
    CONNECTION_WAITS,  /* for its turn: connection_run() */
    CONNECTION_RUNS,   /* for the store, which will call the service's `done` */
    CONNECTION_ENDS,   /* for nothing */
};

enum connection_turn {
    CONNECTION_NOW,
    CONNECTION_LATER, /* WAITS */
    CONNECTION_NEVER, /* too many of his wait */
};

struct connection;

/* What all connections share. */
struct service {
    struct store *store;
    struct policy policy;
    struct secret scratch; /* SERVICE_SCRATCH bytes; nothing stands in it between two steps */
    store_done done;       /* its data is the connection; leads to connection_answer() */
    enum connection_turn (*turn)(struct connection *c); /* of a request that is whole */
    struct server *server;
};

enum { SERVICE_SCRATCH = KEYSTORE_REQUEST_MAX + 1 };

struct connection {
    struct service *service;
    int fd;
    uid_t uid;
    struct keystore_reader request;
    uint8_t state; /* in which the request came */
    bool checked;  /* action, permission and state were in order */
    bool ended;    /* the client will send nothing more */
    bool answered;
    struct secret
        bytes; /* the request's first `used` bytes; or of the answer what was not sent, from `used` on */
    size_t used;
    size_t drained; /* bytes after the answer */

    /* the server's own */
    enum connection_next stage; /* ENDS: none yet */
    uint32_t events;            /* it is watched for; 0: not at all */
    struct user *user;
    size_t counted; /* bytes, as its user's */
    usec_t deadline;
    TAILQ_ENTRY(connection) queued;
    TAILQ_ENTRY(connection) by_use, holding, held; /* crowd.h */
};

/* Something has come: reads, and does what there is to do. */
enum connection_next connection_read(struct connection *c);

/* Its turn has come. */
enum connection_next connection_run(struct connection *c);

/*
 * The store was open, and is not any more. Whoever needs it open is told so, and so is who is about to give a
 * password: nothing that was asked before is to open it again. With that, what secrets are kept for it go.
 */
enum connection_next connection_store_closed(struct connection *c);

/* Nobody is there to read an answer. Not so where he has only said all that he has to say. */
bool connection_is_abandoned(const struct connection *c);

/* There is room: sends more of the answer. */
enum connection_next connection_write(struct connection *c);

/* Answers, with nothing behind the code. */
enum connection_next connection_answer(struct connection *c, enum keystore_answer answer);

/* The same, and `body` behind it, which remains the caller's; as a message, with its length, or raw. */
enum connection_next connection_answer_with(struct connection *c, enum keystore_answer answer,
                                            const struct secret *body, bool raw);

/* Closes and frees all but *c itself. */
void connection_done(struct connection *c);
