/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The master key's file, the count of wrong passwords, and what ends both: a reset. All of this writes, and
 * is for the worker, but for reading at the start.
 *
 * In a reset the store is gone from one rename on, `masterkey` to `resetting`; removing the rest may be
 * cut off anywhere, and is made up for by the next one who comes by.
 */

#include "basic/why.h"
#include "keystore/files.h"
#include "keystore/secret.h"
#include "wire/keyblob.h"

enum master_presence {
    MASTER_NONE,
    MASTER_DAMAGED, /* or none that this version knows */
    MASTER_THERE,
};

/* What Argon2id is to cost for a new password. */
struct master_cost {
    unsigned passes;
    size_t memory; /* KiB */
};

/* 0, also for a file that is damaged; -errno when it cannot be read. *ret is set where it is THERE. */
int master_read(const struct folders *f, enum master_presence *ret_presence,
                struct keyblob_master *ret);

/* Errors and *ret_done as files_replace() has them. */
int master_write(const struct folders *f, const struct keyblob_master *m, bool *ret_done);

/*
 * Puts the master key into a slot, in place of what was there; nothing is written yet. 0 or -ENOMEM, and
 * *m is as it was. `cost` is of no use for a key file.
 */
int master_seal(struct keyblob_master *m, enum keyblob_kind kind, const struct secret *from,
                const struct master_cost *cost, const struct secret *key);

/* 0; -EKEYREJECTED: not by this; -ENOENT: there is no such slot; -ENOMEM. */
int master_open(const struct keyblob_master *m, enum keyblob_kind kind, const struct secret *from,
                struct secret *ret_key);

/*
 * The wrong passwords so far. -ENOENT: none was ever counted; -EBADMSG: that is no such file; -errno.
 */
int master_read_tries(const struct folders *f, unsigned *ret);

/* Where the file is there, one byte is changed in its place: a full disk is no obstacle. 0 or -errno. */
int master_write_tries(const struct folders *f, unsigned wrong);
int master_make_tries(const struct folders *f);

/* 1: a reset was cut off; 0; -errno. */
int master_is_resetting(const struct folders *f);

/* Could one be begun, as far as can be told without? 0 or -errno: the disk can only be read, say. */
int master_may_reset(const struct folders *f);

/*
 * Begins one or goes on with it. 0 or -errno. *ret_done: the store is gone, though not all of its files
 * are when this is an error.
 */
int master_reset(const struct folders *f, bool *ret_done);
