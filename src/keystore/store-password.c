/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is written of the master key: by a password, and the end of it all. */

#include <errno.h>

#include "basic/log.h"
#include "keystore/cipher.h"
#include "keystore/store-internal.h"

static struct master_cost cost_of(const struct store *s)
{
    return (struct master_cost){ s->settings.argon2_passes, s->settings.argon2_memory };
}

static int count_tries(const struct store *s, unsigned wrong)
{
    int r = master_write_tries(&s->folders, wrong);

    if (r != -ENOENT)
        return r;
    r = master_make_tries(&s->folders); /* somebody removed it */
    return r == 0 ? master_write_tries(&s->folders, wrong) : r;
}

/*
 * Looks whether j->old opens the master key. It counts as wrong from before that on: who cuts the machine off
 * when he sees that it is has won nothing; nor has who keeps us from wiping the store. 0, or it is not so, and what came out says why.
 */
static int attempt(const struct store *s, struct job *j)
{
    unsigned before = j->wrong, after = MIN(before + 1, (unsigned)KEYSTORE_TRIES);
    bool last = before == KEYSTORE_TRIES && s->settings.wipe;
    int r = after != before ? count_tries(s, after) : 0;

    if (r == 0 && last)
        r = master_may_reset(&s->folders);

    if (r < 0) {
        j->r = r;
        return r;
    }
    r = master_open(&j->master, KEYBLOB_PASSWORD, &j->old, &j->master_key);
    if (r == -EKEYREJECTED) {
        j->rejected = true;
        j->wrong = after;
        j->wiped = last;
        if (j->wiped)
            j->r = master_reset(&s->folders, &j->done_on_disk);
        return r;
    }
    j->wrong = r == 0 ? 0 : before;
    j->tries_error = count_tries(s, j->wrong);
    j->r = r;
    return r;
}

static bool has_password(const struct store *s)
{
    return s->presence == MASTER_THERE && s->master.slots[KEYBLOB_PASSWORD].used;
}

static bool is_unlock_attempt(const struct store *s)
{
    return store_state(s) == KEYSTORE_LOCKED && has_password(s);
}

/*
 * While it is locked and there is a key file, that has not got its slot yet, or not by this content: it
 * would be unlocked, or (by `lock`) without the content.
 */
static enum keystore_answer prepare(struct store *s, struct job *j)
{
    bool locked = store_state(s) != KEYSTORE_NO_ERROR;
    int r = 0;

    j->master = s->master;
    j->presence = s->presence;
    j->wrong = s->wrong;
    j->resetting = s->resetting;
    if (!locked && !has_password(s)) {
        r = secret_new_key(&j->master_key);
        if (r == 0)
            memcpy(j->master_key.data, s->master_key.data, s->master_key.size);
    }
    if (r < 0) {
        (void)log_oom();
        return KEYSTORE_SYSTEM_ERROR;
    }
    if (locked)
        j->key_file = secret_take(&s->key_file);
    return 0;
}

/* The store was not locked since it was asked: it may have its keys. */
static bool may_unlock(const struct store *s, const struct job *j)
{
    return j->locks == s->locks;
}

static enum keystore_answer refuse_without_password(void)
{
    log_warning("no password was ever set, and the key file is not the one that opens the store: "
                "start with that, or reset");
    return KEYSTORE_SYSTEM_ERROR;
}

static enum keystore_answer unlock_prepare(struct store *s, struct job *j)
{
    if (store_state(s) != KEYSTORE_LOCKED)
        return store_state(s);
    if (s->presence == MASTER_DAMAGED)
        return KEYSTORE_VALUE_CORRUPTED;
    if (!has_password(s))
        return refuse_without_password();
    return prepare(s, j);
}

static int seal_key_file(struct job *j, struct keyblob_master *m)
{
    if (!secret_is_set(&j->key_file))
        return 0;
    return master_seal(m, KEYBLOB_KEY_FILE, &j->key_file, NULL, &j->master_key);
}

static void unlock_work(const struct store *s, struct job *j)
{
    if (attempt(s, j) < 0 || !secret_is_set(&j->key_file))
        return;
    j->slot_error = seal_key_file(j, &j->master);
    if (j->slot_error == 0)
        j->slot_error = master_write(&s->folders, &j->master, &j->done_on_disk);
}

static void end_delay(struct store *s)
{
    s->wrong = 0;
    s->wrong_again = false;
    s->not_before = 0;
}

/* The store is gone: wanted, or because the last try was wrong. */
static enum keystore_answer finish_reset(struct store *s, struct job *j)
{
    if (j->r < 0)
        log_warning_errno(j->r, "cannot reset the store%s",
                          j->done_on_disk
                              ? " for good: it is tried again with the next password, or "
                                "at the next start"
                              : "");
    if (!j->done_on_disk)
        return KEYSTORE_SYSTEM_ERROR;
    secret_done(&s->master_key);
    index_clear(&s->index);
    s->presence = MASTER_NONE;
    s->master = (struct keyblob_master){ 0 };
    s->resetting = j->r < 0;
    end_delay(s);
    return j->r < 0 ? KEYSTORE_SYSTEM_ERROR : KEYSTORE_NO_ERROR;
}

static enum keystore_answer finish_wiped(struct store *s, struct job *j)
{
    enum keystore_answer a;

    log_warning("the last try was a wrong password, too: the store is wiped");
    a = finish_reset(s, j);
    if (!j->done_on_disk) { /* it is not, and he may not go on trying for that */
        s->wrong_again = true;
        store_set_delay(s);
    }
    return a == KEYSTORE_NO_ERROR ? KEYSTORE_UNINITIALIZED : a;
}

static enum keystore_answer finish_rejected(struct store *s, struct job *j)
{
    enum keystore_answer a = KEYSTORE_WRONG_PASSWORD;

    if (j->wiped)
        return finish_wiped(s, j);
    if (s->wrong < KEYSTORE_TRIES)
        a = (enum keystore_answer)(KEYSTORE_WRONG_PASSWORD + KEYSTORE_TRIES - 1 - s->wrong);
    else
        s->wrong_again = true;
    s->wrong = j->wrong;
    store_set_delay(s);
    return a;
}

/* Of both: what came of looking, and of writing if it came to that. */
static enum keystore_answer finish(struct store *s, struct job *j)
{
    if (may_unlock(s, j) && secret_is_set(&j->key_file))
        s->key_file = secret_take(&j->key_file);
    if (j->rejected)
        return finish_rejected(s, j);
    if (j->tries_error < 0)
        log_warning_errno(j->tries_error, "cannot note that a password was right");
    if (j->slot_error < 0)
        log_warning_errno(j->slot_error, "cannot have the key file open the store, too");
    if (j->done_on_disk) {
        s->master = j->master;
        s->presence = MASTER_THERE;
    }
    if (j->r < 0)
        log_warning_errno(j->r, "cannot %s the master key",
                          j->done_on_disk ? "be sure of" : "have");
    s->resetting = j->resetting;
    s->wrong = j->wrong;
    if (s->wrong == 0)
        end_delay(s);
    if ((j->r == 0 || j->done_on_disk) && may_unlock(s, j)) {
        secret_done(&s->master_key);
        s->master_key = secret_take(&j->master_key);
    }
    return j->r < 0 ? KEYSTORE_SYSTEM_ERROR : KEYSTORE_NO_ERROR;
}

const struct job_kind job_unlock = { unlock_prepare, unlock_work, finish, is_unlock_attempt };

static enum keystore_answer password_prepare(struct store *s, struct job *j)
{
    if (s->presence == MASTER_DAMAGED)
        return KEYSTORE_VALUE_CORRUPTED;
    if (store_state(s) == KEYSTORE_LOCKED && !has_password(s))
        return refuse_without_password();
    return prepare(s, j);
}

/* A key of its own, with nothing left of the store before. */
static int create(const struct store *s, struct job *j)
{
    bool done;
    int r = 0;

    if (j->resetting)
        r = master_reset(&s->folders, &done);
    if (r < 0)
        return r;
    j->resetting = false;
    j->master = (struct keyblob_master){ 0 };
    j->wrong = 0;
    r = cipher_random_key(&j->master_key);
    return r == 0 ? master_make_tries(&s->folders) : r;
}

static void password_work(const struct store *s, struct job *j)
{
    struct master_cost cost = cost_of(s);

    if (j->presence == MASTER_NONE)
        j->r = create(s, j);
    else if (j->master.slots[KEYBLOB_PASSWORD].used)
        (void)attempt(s, j);
    if (j->r < 0 || j->rejected)
        return;
    j->r = master_seal(&j->master, KEYBLOB_PASSWORD, &j->value, &cost, &j->master_key);
    if (j->r == 0)
        j->r = seal_key_file(j, &j->master);
    if (j->r == 0)
        j->r = master_write(&s->folders, &j->master, &j->done_on_disk);
}

const struct job_kind job_password = { password_prepare, password_work, finish, has_password };

static enum keystore_answer reset_prepare(struct store *s, struct job *j)
{
    (void)s;
    (void)j;
    return 0;
}

static void reset_work(const struct store *s, struct job *j)
{
    j->r = master_reset(&s->folders, &j->done_on_disk);
}

const struct job_kind job_reset = { reset_prepare, reset_work, finish_reset, NULL };
