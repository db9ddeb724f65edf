/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is written of values and of who may read them. */

#include <errno.h>
#include <unistd.h>

#include "basic/log.h"
#include "keystore/cipher.h"
#include "keystore/store-internal.h"

static enum keystore_answer answer_of(const struct job *j, const char *what)
{
    if (j->r == 0)
        return KEYSTORE_NO_ERROR;
    log_warning_errno(j->r, "cannot %s of uid %u%s", what, j->owner,
                      j->done_on_disk ? ", or not for sure" : "");
    return KEYSTORE_SYSTEM_ERROR;
}

static enum keystore_answer no_memory(void)
{
    (void)log_oom();
    return KEYSTORE_SYSTEM_ERROR;
}

/* What is there already may stay, and shrink, when the quota has become smaller. */
static bool is_over_quota(const struct store *s, const struct job *j)
{
    const struct store_settings *max = &s->settings;
    const struct index_entry *e = index_find(&s->index, j->owner, &j->key);
    size_t keys, bytes, more_keys = e ? 0 : 1,
                        more_bytes = j->value.size - MIN(j->value.size, (size_t)(e ? e->size : 0));

    index_count(&s->index, j->owner, &keys, &bytes);

    const struct {
        const char *whose, *what, *setting;
        size_t has, more, max;
    } quotas[] = {
        { "the user has", "keys", "quota-keys", keys, more_keys, max->quota_keys },
        { "the user has", "bytes", "quota-bytes", bytes, more_bytes, max->quota_bytes },
        { "all have", "keys", "total-keys", s->index.present, more_keys, max->total_keys },
        { "all have", "bytes", "total-bytes", s->index.bytes, more_bytes, max->total_bytes },
    };

    for (size_t i = 0; i < ELEMENTSOF(quotas); i++) {
        if (quotas[i].more == 0 || quotas[i].has + quotas[i].more <= quotas[i].max)
            continue;
        log_warning("uid %u may not store it: %s %zu %s and %zu may be (%s)", j->owner,
                    quotas[i].whose, quotas[i].has, quotas[i].what, quotas[i].max,
                    quotas[i].setting);
        return true;
    }
    return false;
}

static enum keystore_answer put_prepare(struct store *s, struct job *j)
{
    struct index_entry *e;

    if (store_state(s) != KEYSTORE_NO_ERROR)
        return store_state(s);
    if (is_over_quota(s, j))
        return KEYSTORE_SYSTEM_ERROR;
    j->n_bytes = KEYBLOB_VALUE_OVERHEAD + j->value.size;
    j->bytes = malloc(j->n_bytes);
    if (!j->bytes || index_reserve(&s->index, j->owner, &j->key, &e) < 0)
        return no_memory();
    j->drop_grants = !e->present;
    keyblob_name_write(j->name, j->owner, &j->key);
    cipher_seal_value(&s->master_key, j->owner, &j->key, &j->value, j->bytes);
    secret_done(&j->value);
    return 0;
}

/* Hardly ever are there any, and the disk is waited for. */
static int drop_grants(int folder, const char *name)
{
    if (unlinkat(folder, name, 0) == 0)
        return fsync(folder) < 0 ? -errno : 0;
    return errno == ENOENT || errno == EISDIR ? 0 : -errno; /* a folder grants nothing */
}

/* A new key has no readers, not even those of one of this name that was there before. */
static void put_work(const struct store *s, struct job *j)
{
    if (j->drop_grants)
        j->r = drop_grants(s->folders.grants, j->name);
    if (j->r == 0)
        j->r = files_replace(s->folders.values, j->name, j->bytes, j->n_bytes, &j->done_on_disk);
}

static enum keystore_answer put_finish(struct store *s, struct job *j)
{
    struct index_entry *e;

    (void)index_reserve(&s->index, j->owner, &j->key, &e); /* which is there since prepare */
    if (j->done_on_disk)
        index_set(&s->index, e, (uint32_t)(j->n_bytes - KEYBLOB_VALUE_OVERHEAD));
    else if (!e->present)
        index_drop(&s->index, e);
    return answer_of(j, "store a value");
}

const struct job_kind job_put = { put_prepare, put_work, put_finish, NULL };

static enum keystore_answer delete_prepare(struct store *s, struct job *j)
{
    const struct index_entry *e = index_find(&s->index, j->owner, &j->key);

    if (!e)
        return KEYSTORE_NO_ERROR;
    j->drop_grants = e->n_readers > 0;
    keyblob_name_write(j->name, j->owner, &j->key);
    return 0;
}

static void delete_work(const struct store *s, struct job *j)
{
    bool done;

    j->r = files_remove(s->folders.values, j->name, &j->done_on_disk);
    if (j->r == 0 && j->drop_grants)
        j->r = files_remove(s->folders.grants, j->name, &done);
}

static enum keystore_answer delete_finish(struct store *s, struct job *j)
{
    if (j->done_on_disk)
        index_drop(&s->index, index_find(&s->index, j->owner, &j->key));
    return answer_of(j, "delete a value");
}

const struct job_kind job_delete = { delete_prepare, delete_work, delete_finish, NULL };

/* The file of grants, of j->readers. */
static enum keystore_answer prepare_readers(struct job *j)
{
    keyblob_name_write(j->name, j->owner, &j->key);
    if (j->n_readers == 0)
        return 0; /* no file */
    j->bytes = malloc(KEYBLOB_GRANTS_FILE_MAX);
    if (!j->bytes)
        return no_memory();
    j->n_bytes = keyblob_grants_write((char *)j->bytes, j->readers, j->n_readers);
    return 0;
}

static enum keystore_answer grant_prepare(struct store *s, struct job *j)
{
    const struct index_entry *e = index_find(&s->index, j->owner, &j->key);
    size_t n = 0;

    if (!e)
        return KEYSTORE_KEY_NOT_FOUND;
    if (index_has_reader(e, j->reader))
        return KEYSTORE_NO_ERROR;
    if (e->n_readers >= KEYBLOB_GRANTS_MAX) {
        log_warning("a key of uid %u is granted to %zu others, and can be to no more", j->owner,
                    e->n_readers);
        return KEYSTORE_SYSTEM_ERROR;
    }
    j->n_readers = e->n_readers + 1;
    j->readers = calloc(j->n_readers, sizeof(*j->readers));
    if (!j->readers || index_reserve_reader(&s->index, e, j->reader) < 0)
        return no_memory();
    while (n < e->n_readers && e->readers[n] < j->reader)
        n++;
    for (size_t i = 0; i < e->n_readers; i++)
        j->readers[i < n ? i : i + 1] = e->readers[i];
    j->readers[n] = j->reader;
    return prepare_readers(j);
}

static enum keystore_answer ungrant_prepare(struct store *s, struct job *j)
{
    const struct index_entry *e = index_find(&s->index, j->owner, &j->key);

    if (!e || !index_has_reader(e, j->reader))
        return KEYSTORE_KEY_NOT_FOUND;
    j->readers = calloc(e->n_readers, sizeof(*j->readers));
    if (!j->readers)
        return no_memory();
    for (size_t i = 0; i < e->n_readers; i++)
        if (e->readers[i] != j->reader)
            j->readers[j->n_readers++] = e->readers[i];
    return prepare_readers(j);
}

static void readers_work(const struct store *s, struct job *j)
{
    j->r = j->bytes
               ? files_replace(s->folders.grants, j->name, j->bytes, j->n_bytes, &j->done_on_disk)
               : files_remove(s->folders.grants, j->name, &j->done_on_disk);
}

static enum keystore_answer readers_finish(struct store *s, struct job *j)
{
    if (j->done_on_disk)
        index_set_readers(&s->index, index_find(&s->index, j->owner, &j->key), TAKE_PTR(j->readers),
                          j->n_readers);
    return answer_of(j, "change the readers of a value");
}

const struct job_kind job_grant = { grant_prepare, readers_work, readers_finish, NULL };
const struct job_kind job_ungrant = { ungrant_prepare, readers_work, readers_finish, NULL };
