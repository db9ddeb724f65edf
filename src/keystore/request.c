/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/request.h"

struct arguments {
    uid_t owner;
    struct keystore_key key;
    struct secret
        values[KEYSTORE_PARAMETERS_MAX]; /* these are in the request, and not to be freed */
    uid_t reader;
};

typedef enum connection_next (*runner)(struct connection *c, const struct arguments *a);

static struct store *store_of(const struct connection *c)
{
    return c->service->store;
}

/* What writes: the store answers, if it has taken it. */
static enum connection_next later(struct connection *c, int r)
{
    return r < 0 ? connection_answer(c, KEYSTORE_SYSTEM_ERROR) : CONNECTION_RUNS;
}

static enum connection_next test(struct connection *c, const struct arguments *a)
{
    (void)a;
    return connection_answer(c, store_state(store_of(c)));
}

static enum connection_next get(struct connection *c, const struct arguments *a)
{
    _cleanup_secret_ struct secret value = SECRET_NONE;
    enum keystore_answer answer = store_get(store_of(c), a->owner, &a->key, &value);
    struct keystore_key key;
    uid_t owner;

    /* granted to who he is, not to whom he looks up as */
    if (answer == KEYSTORE_KEY_NOT_FOUND &&
        store_find_granted(store_of(c), c->uid, &a->key, &owner, &key))
        answer = store_get(store_of(c), owner, &key, &value);
    if (answer != KEYSTORE_NO_ERROR)
        return connection_answer(c, answer);
    return connection_answer_with(c, answer, &value, false);
}

static enum connection_next insert(struct connection *c, const struct arguments *a)
{
    return later(c, store_put(store_of(c), a->owner, &a->key, &a->values[1], c->service->done, c));
}

static enum connection_next delete (struct connection *c, const struct arguments *a) {
    return later(c, store_delete(store_of(c), a->owner, &a->key, c->service->done, c));
}

static enum connection_next exist(struct connection *c, const struct arguments *a)
{
    bool exists = store_exists(store_of(c), a->owner, &a->key);

    return connection_answer(c, exists ? KEYSTORE_NO_ERROR : KEYSTORE_KEY_NOT_FOUND);
}

static void count_name(void *data, const uint8_t *rest, size_t size)
{
    size_t *total = data;

    (void)rest;
    *total += KEYSTORE_LENGTH_SIZE + size;
}

static void put_name(void *data, const uint8_t *rest, size_t size)
{
    uint8_t **at = data;

    *(*at)++ = (uint8_t)(size >> 8);
    *(*at)++ = (uint8_t)size;
    memcpy(*at, rest, size);
    *at += size;
}

static enum connection_next saw(struct connection *c, const struct arguments *a)
{
    _cleanup_secret_ struct secret names = SECRET_NONE;
    size_t total = 0;
    uint8_t *at;

    store_list(store_of(c), a->owner, &a->key, count_name, &total);
    if (secret_new(total, &names) < 0)
        return connection_answer(c, KEYSTORE_SYSTEM_ERROR);
    at = names.data;
    store_list(store_of(c), a->owner, &a->key, put_name, &at);
    return connection_answer_with(c, KEYSTORE_NO_ERROR, &names, true);
}

static enum connection_next reset(struct connection *c, const struct arguments *a)
{
    (void)a;
    return later(c, store_reset(store_of(c), c->service->done, c));
}

static enum connection_next password(struct connection *c, const struct arguments *a)
{
    bool one = c->request.n == 1; /* as Android 4 sends it: old and new are the same */

    return later(c, store_password(store_of(c), &a->values[0], &a->values[one ? 0 : 1],
                                   c->service->done, c));
}

static enum connection_next lock(struct connection *c, const struct arguments *a)
{
    (void)a;
    return later(c, store_lock(store_of(c), c->service->done, c));
}

static enum connection_next unlock(struct connection *c, const struct arguments *a)
{
    return later(c, store_unlock(store_of(c), &a->values[0], c->service->done, c));
}

static enum connection_next zero(struct connection *c, const struct arguments *a)
{
    (void)a;
    return connection_answer(c, store_is_empty(store_of(c)) ? KEYSTORE_KEY_NOT_FOUND
                                                            : KEYSTORE_NO_ERROR);
}

static enum connection_next grant(struct connection *c, const struct arguments *a)
{
    return later(c, store_grant(store_of(c), a->owner, &a->key, a->reader, c->service->done, c));
}

static enum connection_next ungrant(struct connection *c, const struct arguments *a)
{
    return later(c, store_ungrant(store_of(c), a->owner, &a->key, a->reader, c->service->done, c));
}

static const struct {
    runner run;
    enum request_kind kind;
} rows[KEYSTORE_ACTION_MAX] = {
    [KEYSTORE_TEST] = { test, REQUEST_READS },
    [KEYSTORE_GET] = { get, REQUEST_READS },
    [KEYSTORE_INSERT] = { insert, REQUEST_WRITES },
    [KEYSTORE_DELETE] = { delete, REQUEST_WRITES },
    [KEYSTORE_EXIST] = { exist, REQUEST_READS },
    [KEYSTORE_SAW] = { saw, REQUEST_READS },
    [KEYSTORE_RESET] = { reset, REQUEST_CLOSES },
    [KEYSTORE_PASSWORD] = { password, REQUEST_GUESSES },
    [KEYSTORE_LOCK] = { lock, REQUEST_CLOSES },
    [KEYSTORE_UNLOCK] = { unlock, REQUEST_GUESSES },
    [KEYSTORE_ZERO] = { zero, REQUEST_READS },
    [KEYSTORE_GRANT] = { grant, REQUEST_WRITES },
    [KEYSTORE_UNGRANT] = { ungrant, REQUEST_WRITES },
};

enum request_kind request_kind(enum keystore_action action)
{
    return rows[action].kind;
}

static void find_arguments(const struct connection *c, const uint8_t *bytes, struct arguments *a)
{
    const struct keystore_action_row *row = keystore_action_row(c->request.action);

    a->owner = policy_owner(&c->service->policy, c->uid);
    a->reader = c->request.uid;
    for (size_t i = 0; i < c->request.n; i++) {
        const struct keystore_span *span = &c->request.spans[i];

        if (row->parameters[i] == KEYSTORE_KEY) {
            a->key.size = (uint8_t)span->size;
            memcpy(a->key.bytes, bytes + span->offset, span->size);
        } else {
            a->values[i] =
                (struct secret){ (uint8_t *)bytes + span->offset, span->size, SECRET_BORROWED };
        }
    }
}

enum connection_next request_run(struct connection *c, const uint8_t *bytes)
{
    enum keystore_answer answer =
        policy_check(&c->service->policy, c->uid, &c->request, store_state(store_of(c)));
    struct arguments arguments = { 0 };

    if (answer != 0)
        return connection_answer(c, answer);
    find_arguments(c, bytes, &arguments);
    return rows[c->request.action].run(c, &arguments);
}
