/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/store.h"

#include <errno.h>
#include <sys/file.h>

#include "basic/log.h"
#include "basic/parse.h"
#include "basic/uidrange.h"
#include "keystore/cipher.h"
#include "keystore/store-internal.h"

enum {
    DELAY_LONGEST = 120, /* times the first */
    TURN_ANSWERS = 64,   /* per turn of the loop… */
    TURN_USEC = 2000,    /* …and how long it may take */
};

static struct job *job_free(struct job *j)
{
    secret_done(&j->value);
    secret_done(&j->old);
    secret_done(&j->key_file);
    secret_done(&j->master_key);
    free(j->bytes);
    free(j->readers);
    free(j);
    return NULL;
}

/* Takes it off, tells who asked. */
static void answer(struct job *j, enum keystore_answer a)
{
    store_done done = j->done;
    void *data = j->data;

    (void)job_free(j);
    secret_wipe_stack();
    done(data, a);
}

static bool has_password(const struct job *j)
{
    return secret_is_set(&j->old);
}

/* It waits, or does no more. */
static void count_waiting(struct store *s, const struct job *j, bool waits)
{
    size_t one = waits ? 1 : SIZE_MAX;

    s->waiting += one;
    s->waiting_passwords += has_password(j) ? one : 0;
    s->waiting_bytes += (j->value.size + j->old.size) * one;
}

static void append(struct store *s, struct job *j)
{
    *s->last = j;
    s->last = &j->next;
    count_waiting(s, j, true);
    (void)sd_event_source_set_enabled(s->pump, SD_EVENT_ONESHOT);
}

static void prepend(struct store *s, struct job *j)
{
    j->next = s->first;
    s->first = j;
    if (s->last == &s->first)
        s->last = &j->next;
    count_waiting(s, j, true);
    (void)sd_event_source_set_enabled(s->pump, SD_EVENT_ONESHOT);
}

static void add_answered(struct store *s, struct job *j)
{
    j->next = s->answered;
    s->answered = j;
    (void)sd_event_source_set_enabled(s->pump, SD_EVENT_ONESHOT);
}

static void take_off(struct store *s, struct job **at)
{
    struct job *j = *at;

    *at = j->next;
    if (s->last == &j->next)
        s->last = at;
    j->next = NULL;
    count_waiting(s, j, false);
}

static void work(void *data)
{
    struct job *j = data;

    j->kind->work(j->store, j);
}

/* The first whose turn may come now; passwords may have to wait, and others pass them by. */
static struct job *take_next(struct store *s)
{
    bool must_wait = s->not_before > clock_monotonic();

    for (struct job **at = &s->first; *at; at = &(*at)->next) {
        struct job *j = *at;

        if (must_wait && j->kind->is_attempt && j->kind->is_attempt(s))
            continue;
        take_off(s, at);
        return j;
    }
    return NULL;
}

static void wait_for_delay(struct store *s)
{
    if (!s->first)
        return;
    (void)sd_event_source_set_time(s->delay, s->not_before);
    (void)sd_event_source_set_enabled(s->delay, SD_EVENT_ONESHOT);
}

/* One that waits for nothing but the loop. False: there is none. */
static bool answer_answered(struct store *s)
{
    struct job *j = s->answered;

    if (!j)
        return false;
    s->answered = j->next;
    answer(j, j->answer);
    return true;
}

/* False: there is none. */
static bool answer_or_start(struct store *s)
{
    struct job *j = take_next(s);
    enum keystore_answer a;

    if (!j)
        return false;
    a = j->kind->prepare(s, j);
    if (a != 0) {
        answer(j, a);
        return true;
    }
    s->running = j;
    worker_start(s->worker, work, j);
    return true;
}

/* Others have their turn, too: many may end without any work. */
static void start_next(struct store *s)
{
    usec_t end = clock_monotonic() + TURN_USEC;

    for (int n = 0; n < TURN_ANSWERS && clock_monotonic() < end; n++) {
        if (answer_answered(s))
            continue;
        if (s->running)
            return;
        if (!answer_or_start(s)) {
            wait_for_delay(s);
            return;
        }
    }
    (void)sd_event_source_set_enabled(s->pump, SD_EVENT_ONESHOT);
}

static void finish_running(struct store *s)
{
    struct job *j = TAKE_PTR(s->running);

    answer(j, j->kind->finish(s, j));
}

static void on_worked(void *data)
{
    struct store *s = data;

    finish_running(s);
    start_next(s);
}

static int on_pump(sd_event_source *source, void *userdata)
{
    (void)source;
    start_next(userdata);
    return 0;
}

static int on_delay(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    start_next(userdata);
    return 0;
}

void store_forget_keys(struct store *s)
{
    secret_done(&s->master_key);
    secret_done(&s->key_file);
    secret_wipe_stack();
}

void store_set_delay(struct store *s)
{
    usec_t delay = s->settings.retry_delay;

    if (s->wrong == 0)
        delay = 0;
    else if (s->wrong_again)
        delay *= DELAY_LONGEST;
    else
        delay <<= s->wrong - 1;
    s->not_before = delay > 0 ? clock_monotonic() + delay : 0;
}

static int make_sources(struct store *s)
{
    int r = sd_event_add_defer(s->event, &s->pump, on_pump, s);

    if (r >= 0)
        r = sd_event_source_set_enabled(s->pump, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(s->event, &s->delay, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_delay, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->delay, SD_EVENT_OFF);
    if (r >= 0)
        r = worker_new(s->event, on_worked, s, &s->worker);
    return r;
}

static int check_settings(const struct store_settings *settings, struct why *why)
{
    const struct secret *k = settings->key_file;

    if (k && (k->size < STORE_KEY_FILE_MIN || k->size > STORE_KEY_FILE_MAX))
        return why_set(why, -EINVAL, "the key file has %zu bytes: it has to have %d to %d", k->size,
                       STORE_KEY_FILE_MIN, STORE_KEY_FILE_MAX);
    if (settings->argon2_memory < STORE_ARGON2_MEMORY_MIN ||
        settings->argon2_memory > STORE_ARGON2_MEMORY_MAX)
        return why_set(why, -ERANGE, "Argon2id's memory is %zu KiB: it can be %d to %d",
                       settings->argon2_memory, STORE_ARGON2_MEMORY_MIN, STORE_ARGON2_MEMORY_MAX);
    if (settings->argon2_passes < 1 || settings->argon2_passes > STORE_ARGON2_PASSES_MAX)
        return why_set(why, -ERANGE, "Argon2id's passes are %u: they can be 1 to %d",
                       settings->argon2_passes, STORE_ARGON2_PASSES_MAX);
    if (flock(settings->dir_fd, LOCK_EX | LOCK_NB) < 0)
        return why_set(why, errno == EWOULDBLOCK ? -EBUSY : -errno,
                       "cannot have the state folder for itself: %s",
                       errno == EWOULDBLOCK ? "another waymark-keystored runs on it"
                                            : strerror(errno));
    return 0;
}

/* While there are no clients: what is locked here is locked. */
static int make_secrets(struct store *s, const struct secret *key_file)
{
    int r = secret_new_pages(KEYSTORE_VALUE_MAX, &s->value);

    if (r == 0 && key_file)
        r = secret_copy_pages(key_file->data, key_file->size, &s->key_file);
    return r;
}

int store_open(sd_event *event, const struct store_settings *settings, struct store **ret,
               struct why *why)
{
    _cleanup_store_ struct store *s = NULL;
    int r = check_settings(settings, why);

    if (r < 0)
        return r;
    s = calloc(1, sizeof(*s));
    if (!s)
        return why_set(why, -ENOMEM, "out of memory");
    s->settings = *settings;
    s->settings.key_file = NULL;
    s->folders = FOLDERS_NONE;
    s->last = &s->first;
    s->complaints = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 1 };
    s->event = sd_event_ref(event);
    index_init(&s->index);
    r = make_secrets(s, settings->key_file);
    if (r < 0)
        return why_set(why, r, "out of memory");
    r = store_load(s, why);
    if (r < 0)
        return r;
    r = make_sources(s);
    if (r < 0)
        return why_set(why, r, "cannot start what writes the store: %s", strerror(-r));
    *ret = TAKE_PTR(s);
    return 0;
}

struct store *store_free(struct store *s)
{
    struct job *j;

    if (!s)
        return NULL;
    s->worker = worker_free(s->worker);
    if (s->running)
        finish_running(s);
    while ((j = s->first)) {
        take_off(s, &s->first);
        answer(j, KEYSTORE_SYSTEM_ERROR);
    }
    while (answer_answered(s))
        ;
    sd_event_source_disable_unref(s->pump);
    sd_event_source_disable_unref(s->delay);
    sd_event_unref(s->event);
    store_forget_keys(s);
    secret_done(&s->value);
    index_done(&s->index);
    folders_close(&s->folders);
    free(s);
    return NULL;
}

enum keystore_answer store_state(const struct store *s)
{
    if (secret_is_set(&s->master_key))
        return KEYSTORE_NO_ERROR;
    return s->presence == MASTER_NONE ? KEYSTORE_UNINITIALIZED : KEYSTORE_LOCKED;
}

unsigned store_tries(const struct store *s)
{
    return KEYSTORE_TRIES - s->wrong;
}

usec_t store_password_wait(const struct store *s)
{
    bool has_one = s->presence == MASTER_THERE && s->master.slots[KEYBLOB_PASSWORD].used;

    return has_one ? s->not_before : 0;
}

bool store_exists(const struct store *s, uid_t owner, const struct keystore_key *key)
{
    return index_find(&s->index, owner, key) != NULL;
}

bool store_is_empty(const struct store *s)
{
    return s->index.present == 0;
}

/* What cannot be opened, or has no bytes, under a name that is ours. */
static enum keystore_answer answer_of_read(int error)
{
    static const int ours[] = { -EMFILE, -ENFILE, -ENOMEM, -EIO };

    if (error == -ENOENT)
        return KEYSTORE_KEY_NOT_FOUND;
    for (size_t i = 0; i < ELEMENTSOF(ours); i++)
        if (error == ours[i])
            return KEYSTORE_SYSTEM_ERROR;
    return KEYSTORE_VALUE_CORRUPTED;
}

enum keystore_answer store_get(struct store *s, uid_t owner, const struct keystore_key *key,
                               struct secret *ret)
{
    char name[KEYBLOB_NAME_SIZE];
    size_t size;
    int r;

    if (!secret_is_set(&s->master_key))
        return store_state(s);
    if (!store_exists(s, owner, key))
        return KEYSTORE_KEY_NOT_FOUND;
    keyblob_name_write(name, owner, key);
    r = files_read(s->folders.values, name, s->blob, sizeof(s->blob) - 1, &size);
    if (r == 0)
        r = cipher_open_value(&s->master_key, owner, key, s->blob, size, s->value.data, &size);
    if (r < 0)
        return answer_of_read(r);
    *ret = (struct secret){ s->value.data, size, SECRET_BORROWED };
    return KEYSTORE_NO_ERROR;
}

/* "<uid>_" at the beginning; what is behind. */
static bool split_owner(const struct keystore_key *asked, uid_t *ret_owner,
                        struct keystore_key *ret_key)
{
    const uint8_t *end = memchr(asked->bytes, '_', asked->size);
    char digits[KEYSTORE_KEY_MAX + 1] = "";
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end - asked->bytes);
    memcpy(digits, asked->bytes, n);
    if (strlen(digits) != n || parse_u32(digits, UID_MAX, ret_owner) < 0 ||
        (digits[0] == '0' && n > 1))
        return false;
    *ret_key = (struct keystore_key){ .size = (uint8_t)(asked->size - n - 1) };
    memcpy(ret_key->bytes, end + 1, ret_key->size);
    return true;
}

bool store_find_granted(const struct store *s, uid_t reader, const struct keystore_key *asked,
                        uid_t *ret_owner, struct keystore_key *ret_key)
{
    const struct index_entry *e;
    struct keystore_key key;
    uid_t owner;

    /* who names the owner means him: nobody else's key is given for it, whatever that is called */
    if (split_owner(asked, &owner, &key))
        e = index_find(&s->index, owner, &key);
    else
        e = index_granted(&s->index, reader, asked);
    if (!e || !index_has_reader(e, reader))
        return false;
    *ret_owner = e->owner;
    *ret_key = e->key;
    return true;
}

void store_list(const struct store *s, uid_t owner, const struct keystore_key *prefix,
                store_each each, void *data)
{
    const struct index_entry *e = NULL;

    while ((e = index_next(&s->index, owner, e)))
        if (e->key.size >= prefix->size && mem_equal(e->key.bytes, prefix->bytes, prefix->size))
            each(data, e->key.bytes + prefix->size, e->key.size - prefix->size);
}

/* Copies what was asked, with what it owns. NULL: out of memory. */
static struct job *job_new(struct store *s, const struct job_kind *kind, const struct job *asked,
                           store_done done, void *data)
{
    struct job *j = malloc(sizeof(*j));

    if (!j)
        return NULL;
    *j = *asked;
    j->kind = kind;
    j->store = s;
    j->done = done;
    j->data = data;
    j->locks = s->locks;
    return j;
}

/* Strangers may ask for much; of those who may have passwords looked at there is one. */
static bool is_full(struct store *s, const struct job *asked)
{
    bool full = has_password(asked) ? s->waiting_passwords >= STORE_WAITING_PASSWORDS_MAX
                                    : s->waiting >= STORE_WAITING_MAX ||
                                          s->waiting_bytes >= STORE_WAITING_BYTES_MAX;

    if (full && ratelimit_take(&s->complaints, clock_monotonic()))
        log_warning("too much waits to be written: %zu requests with %zu bytes", s->waiting,
                    s->waiting_bytes);
    return full;
}

/* *asked is ended here where it is not taken. */
static int enqueue(struct store *s, const struct job_kind *kind, struct job *asked, store_done done,
                   void *data)
{
    int r = is_full(s, asked) ? -ENOBUFS : 0;
    struct job *j = r == 0 ? job_new(s, kind, asked, done, data) : NULL;

    if (!j) {
        secret_done(&asked->value);
        secret_done(&asked->old);
        return r < 0 ? r : -ENOMEM;
    }
    append(s, j);
    return 0;
}

int store_put(struct store *s, uid_t owner, const struct keystore_key *key,
              const struct secret *value, store_done done, void *data)
{
    struct job j = { .owner = owner, .key = *key };
    int r = secret_copy(value->data, value->size, &j.value);

    return r < 0 ? r : enqueue(s, &job_put, &j, done, data);
}

int store_delete(struct store *s, uid_t owner, const struct keystore_key *key, store_done done,
                 void *data)
{
    struct job j = { .owner = owner, .key = *key };

    return enqueue(s, &job_delete, &j, done, data);
}

int store_grant(struct store *s, uid_t owner, const struct keystore_key *key, uid_t reader,
                store_done done, void *data)
{
    struct job j = { .owner = owner, .key = *key, .reader = reader };

    return enqueue(s, &job_grant, &j, done, data);
}

int store_ungrant(struct store *s, uid_t owner, const struct keystore_key *key, uid_t reader,
                  store_done done, void *data)
{
    struct job j = { .owner = owner, .key = *key, .reader = reader };

    return enqueue(s, &job_ungrant, &j, done, data);
}

int store_password(struct store *s, const struct secret *old, const struct secret *new,
                   store_done done, void *data)
{
    struct job j = { 0 };
    int r = secret_copy(old->data, old->size, &j.old);

    if (r < 0)
        return r;
    r = secret_copy(new->data, new->size, &j.value);
    if (r < 0) {
        secret_done(&j.old);
        return r;
    }
    return enqueue(s, &job_password, &j, done, data);
}

int store_unlock(struct store *s, const struct secret *password, store_done done, void *data)
{
    struct job j = { 0 };
    int r = secret_copy(password->data, password->size, &j.old);

    return r < 0 ? r : enqueue(s, &job_unlock, &j, done, data);
}

/* Even where there is no memory left to say so. */
int store_lock(struct store *s, store_done done, void *data)
{
    struct job asked = { .answer = store_state(s) }, *j;

    if (asked.answer == KEYSTORE_NO_ERROR) {
        store_forget_keys(s);
        s->locks++;
    }
    j = job_new(s, NULL, &asked, done, data);
    if (!j)
        return -ENOMEM;
    add_answered(s, j);
    return 0;
}

int store_reset(struct store *s, store_done done, void *data)
{
    const struct job asked = { 0 };
    struct job *j = job_new(s, &job_reset, &asked, done, data);

    if (!j)
        return -ENOMEM;
    prepend(s, j);
    return 0;
}
