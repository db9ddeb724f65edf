/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark.h: the keystore. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/keystore-client.h"
#include "lib/process.h"
#include "lib/public.h"

/* NULL is nothing, and may be given for nothing. */
static struct keystore_blob blob(const void *data, size_t size)
{
    return (struct keystore_blob){ data, size };
}

static bool is_whole(const struct keystore_blob *parameters, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!parameters[i].data && parameters[i].size > 0)
            return false;
    return true;
}

/* 0 with *ret, which is empty unless the answer is "no error"; *ret is set for a refusal, too. */
static int ask(enum keystore_action action, const struct keystore_blob *parameters, size_t n,
               struct keystore_reply *ret)
{
    char path[PROCESS_PATH_MAX];
    int r = is_whole(parameters, n) ? process_path("keystore", path) : -EINVAL;

    if (r == 0)
        r = keystore_client_ask(path, 0, action, parameters, n, ret);
    return r < 0 ? r : keystore_answer_error(ret->answer);
}

/* Of which only the answer counts. */
static int tell(enum keystore_action action, const struct keystore_blob *parameters, size_t n)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };

    return ask(action, parameters, n, &reply);
}

static int tell_password(enum keystore_action action, const struct keystore_blob *parameters,
                         size_t n, unsigned *tries_left)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    int r = ask(action, parameters, n, &reply);

    if (r == -EKEYREJECTED && tries_left)
        *tries_left = keystore_answer_tries(reply.answer);
    return r;
}

static int tell_of_reader(enum keystore_action action, const void *key, size_t key_size, uid_t uid)
{
    char digits[KEYSTORE_UID_MAX + 1];
    int n = snprintf(digits, sizeof(digits), "%u", uid);
    const struct keystore_blob parameters[] = { blob(key, key_size), blob(digits, (size_t)n) };

    return uid == (uid_t)-1 ? -EINVAL : tell(action, parameters, ELEMENTSOF(parameters));
}

/* How it is. */

/* The state is the answer. */
static int get_state(uint32_t *ret)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    int r = ask(KEYSTORE_TEST, NULL, 0, &reply);

    if (r < 0 && r != -ENOKEY && r != -ENODATA)
        return r;
    *ret = reply.answer;
    return 0;
}

WM_PUBLIC int wm_keystore_get_state(uint32_t *ret_state)
{
    return public_result(ret_state ? get_state(ret_state) : -EINVAL);
}

static int is_empty(int *ret)
{
    int r = tell(KEYSTORE_ZERO, NULL, 0);

    if (r < 0 && r != -ENOENT)
        return r;
    *ret = r == -ENOENT;
    return 0;
}

WM_PUBLIC int wm_keystore_is_empty(int *ret_empty)
{
    return public_result(ret_empty ? is_empty(ret_empty) : -EINVAL);
}

/* Keys. */

static int copy_value(const struct keystore_reply *reply, void **ret, size_t *ret_size)
{
    const uint8_t *rest = reply->bytes;
    size_t left = reply->size;
    struct keystore_blob value;
    char *copy;

    if (keystore_message_next(&rest, &left, &value) != 1 || left > 0)
        return -EPROTO;
    copy = malloc(value.size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, value.data, value.size);
    copy[value.size] = '\0';
    *ret = copy;
    *ret_size = value.size;
    return 0;
}

WM_PUBLIC int wm_keystore_get(const void *key, size_t key_size, void **ret_value, size_t *ret_size)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    const struct keystore_blob name = blob(key, key_size);
    int error = errno, r = ret_value && ret_size ? 0 : -EINVAL;

    if (r == 0)
        r = ask(KEYSTORE_GET, &name, 1, &reply);
    if (r == 0)
        r = copy_value(&reply, ret_value, ret_size);
    return public_result_quiet(error, r);
}

WM_PUBLIC void wm_keystore_free(void *value, size_t size)
{
    int error = errno;

    if (value)
        explicit_bzero(value, size);
    free(value);
    errno = error;
}

WM_PUBLIC int wm_keystore_put(const void *key, size_t key_size, const void *value,
                              size_t value_size)
{
    const struct keystore_blob parameters[] = { blob(key, key_size), blob(value, value_size) };

    return public_result(tell(KEYSTORE_INSERT, parameters, ELEMENTSOF(parameters)));
}

WM_PUBLIC int wm_keystore_delete(const void *key, size_t key_size)
{
    const struct keystore_blob name = blob(key, key_size);

    return public_result(tell(KEYSTORE_DELETE, &name, 1));
}

WM_PUBLIC int wm_keystore_exists(const void *key, size_t key_size)
{
    const struct keystore_blob name = blob(key, key_size);

    return public_result(tell(KEYSTORE_EXIST, &name, 1));
}

/* How many names the reply has, and how long they are together; -EPROTO when they are none. */
static int measure(const struct keystore_reply *reply, size_t *ret_n, size_t *ret_size)
{
    const uint8_t *rest = reply->bytes;
    size_t left = reply->size, n = 0, size = 0;
    struct keystore_blob name;
    int r;

    while ((r = keystore_message_next(&rest, &left, &name)) > 0) {
        n++;
        size += name.size;
    }
    if (r < 0)
        return -EPROTO;
    *ret_n = n;
    *ret_size = size;
    return 0;
}

/* What is answered is the rest of each name; told is the whole. All is one piece of memory. */
static int copy_names(const struct keystore_reply *reply, struct keystore_blob prefix,
                      struct wm_keystore_key **ret, size_t *ret_n)
{
    const uint8_t *rest = reply->bytes;
    size_t left = reply->size, n = 0, size = 0;
    struct wm_keystore_key *keys;
    struct keystore_blob name;
    char *at;
    int r = measure(reply, &n, &size);

    if (r < 0)
        return r;
    keys = malloc((n + 1) * (sizeof(*keys) + prefix.size + 1) + size);
    if (!keys)
        return -ENOMEM;
    at = (char *)(keys + n + 1);
    for (size_t i = 0; i < n && keystore_message_next(&rest, &left, &name) > 0; i++) {
        keys[i] = (struct wm_keystore_key){ at, prefix.size + name.size };
        if (prefix.size > 0)
            at = mempcpy(at, prefix.data, prefix.size);
        at = mempcpy(at, name.data, name.size);
        *at++ = '\0';
    }
    keys[n] = (struct wm_keystore_key){ NULL, 0 };
    *ret = keys;
    *ret_n = n;
    return 0;
}

WM_PUBLIC int wm_keystore_list(const void *prefix, size_t prefix_size,
                               struct wm_keystore_key **ret_keys, size_t *ret_n)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    const struct keystore_blob start = blob(prefix, prefix_size);
    int error = errno, r = ret_keys && ret_n ? 0 : -EINVAL;

    if (r == 0)
        r = ask(KEYSTORE_SAW, &start, 1, &reply);
    if (r == 0)
        r = copy_names(&reply, start, ret_keys, ret_n);
    return public_result_quiet(error, r);
}

WM_PUBLIC void wm_keystore_keys_free(struct wm_keystore_key *keys)
{
    int error = errno;

    free(keys);
    errno = error;
}

/* Who else reads one. */

WM_PUBLIC int wm_keystore_grant(const void *key, size_t key_size, uid_t reader)
{
    return public_result(tell_of_reader(KEYSTORE_GRANT, key, key_size, reader));
}

WM_PUBLIC int wm_keystore_ungrant(const void *key, size_t key_size, uid_t reader)
{
    return public_result(tell_of_reader(KEYSTORE_UNGRANT, key, key_size, reader));
}

/* The whole. */

/* Android's refuses to lock what is locked; here it is what was asked for. */
WM_PUBLIC int wm_keystore_lock(void)
{
    int r = tell(KEYSTORE_LOCK, NULL, 0);

    return public_result(r == -ENOKEY ? 0 : r);
}

WM_PUBLIC int wm_keystore_unlock(const void *password, size_t size, unsigned *tries_left)
{
    const struct keystore_blob given = blob(password, size);

    return public_result(tell_password(KEYSTORE_UNLOCK, &given, 1, tries_left));
}

WM_PUBLIC int wm_keystore_set_password(const void *old_password, size_t old_size,
                                       const void *new_password, size_t new_size,
                                       unsigned *tries_left)
{
    const struct keystore_blob parameters[] = { blob(old_password, old_size),
                                                blob(new_password, new_size) };

    return public_result(
        tell_password(KEYSTORE_PASSWORD, parameters, ELEMENTSOF(parameters), tries_left));
}

WM_PUBLIC int wm_keystore_reset(void)
{
    return public_result(tell(KEYSTORE_RESET, NULL, 0));
}
