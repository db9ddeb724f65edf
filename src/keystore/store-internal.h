/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Of store.c, store-load.c, store-values.c and store-password.c. */

#include "keystore/index.h"
#include "keystore/master.h"
#include "keystore/store.h"
#include "keystore/worker.h"

struct job;

/*
 * What a job does, in three steps, or in none: one without a kind has its answer already.
 *   prepare   on the loop, when its turn has come: 0, or the answer, and it is over
 *   work      by the worker: of the store it may use `folders` and `settings` only, which never change
 *   finish    on the loop: brings the state up to date; the answer
 */
struct job_kind {
    enum keystore_answer (*prepare)(struct store *s, struct job *j);
    void (*work)(const struct store *s, struct job *j);
    enum keystore_answer (*finish)(struct store *s, struct job *j);
    /* NULL: never. Is a password looked at, as things are? Then it may have to wait */
    bool (*is_attempt)(const struct store *s);
};

struct job {
    struct job *next;
    const struct job_kind *kind;
    struct store *store;
    store_done done;
    void *data;

    /* what was asked */
    uid_t owner, reader;
    struct keystore_key key;
    struct secret value; /* or the new password */
    struct secret old;   /* or the password to unlock by */

    unsigned locks; /* of the store, when it was asked */

    /* for the worker */
    char name[KEYBLOB_NAME_SIZE];
    uint8_t *bytes; /* a file's new content; NULL: to be removed */
    size_t n_bytes;
    uint32_t *readers; /* what finish() will set */
    size_t n_readers;
    bool drop_grants;

    /* of passwords */
    struct keyblob_master master; /* before; after, if it was written */
    enum master_presence presence;
    unsigned wrong;           /* before; after */
    struct secret key_file;   /* the store's, to be given a slot; none: is not to be */
    struct secret master_key; /* what came out, or is in force */
    bool resetting;           /* there is one to be finished first; is still */

    /* what came out */
    int r;
    enum keystore_answer answer; /* of one without a kind */
    bool done_on_disk;           /* as files_replace() has it */
    bool rejected;               /* the password was wrong */
    bool wiped;                  /* for the last time */
    int tries_error, slot_error; /* without consequence for the answer */
};

struct store {
    struct store_settings settings; /* key_file: see below */
    struct folders folders;
    struct index index;
    sd_event *event;
    sd_event_source *pump; /* there may be a job to start */
    sd_event_source *delay;
    struct worker *worker;
    struct job *first, **last; /* those who wait */
    struct job *answered;      /* to be told so */
    size_t waiting, waiting_passwords, waiting_bytes;
    struct ratelimit complaints; /* of too many */
    struct job *running;

    enum master_presence presence;
    struct keyblob_master master;
    struct secret master_key; /* set: unlocked */
    struct secret key_file;   /* until it is locked; a job's that gives it a slot */
    unsigned locks;           /* how often it was locked */
    bool resetting;           /* one was begun, and not all is gone yet */
    unsigned wrong;           /* KEYSTORE_TRIES at most */
    bool wrong_again;         /* once more than that */
    usec_t not_before;        /* the next password */

    /* of store_get() */
    uint8_t blob[KEYBLOB_VALUE_FILE_MAX + 1];
    struct secret value; /* KEYSTORE_VALUE_MAX bytes; zero but while somebody has one */
};

extern const struct job_kind job_put, job_delete, job_grant, job_ungrant;
extern const struct job_kind job_password, job_unlock, job_reset;

/* Fills a store in from disk. 0 or -errno with the reason. */
int store_load(struct store *s, struct why *why);

/* From now on the delay after as many wrong passwords as there were. */
void store_set_delay(struct store *s);

/* All that only an unlocked store has. */
void store_forget_keys(struct store *s);
