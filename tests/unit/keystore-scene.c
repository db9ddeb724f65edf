/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit/keystore-scene.h"

#include <fcntl.h>
#include <stdio.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/strbuf.h"
#include "unit/check.h"

enum { WORDS_MAX = 6, LISTED_MAX = 64, LINE_MAX_SIZE = 1024 };

struct answered {
    unsigned n;
    enum keystore_answer answer;
};

static void on_done(void *data, enum keystore_answer answer)
{
    struct answered *a = data;

    a->n++;
    a->answer = answer;
}

void keystore_scene_wait(struct keystore_scene *s, const unsigned *answers, unsigned n)
{
    while (*answers < n)
        assert_true(sd_event_run(s->event, UINT64_MAX) >= 0);
}

/* "-" and "\xNN" undone, in place; the size. */
static size_t unescape(char *text)
{
    size_t n = 0;

    if (streq(text, "-"))
        return 0;
    for (const char *p = text; *p; n++) {
        unsigned byte;

        if (sscanf(p, "\\x%2x", &byte) == 1) {
            text[n] = (char)byte;
            p += 4;
        } else
            text[n] = *p++;
    }
    return n;
}

struct keystore_key keystore_scene_key(const char *text)
{
    _cleanup_free_ char *copy = strdup(text);
    struct keystore_key key = { .size = (uint8_t)unescape(copy) };

    assert_true(key.size <= KEYSTORE_KEY_MAX);
    memcpy(key.bytes, copy, key.size);
    return key;
}

struct secret keystore_scene_secret(const char *text)
{
    _cleanup_free_ char *copy = strdup(text);
    struct secret s = SECRET_NONE;

    assert_int_equal(secret_copy(copy, unescape(copy), &s), 0);
    return s;
}

int keystore_scene_open(struct keystore_scene *s, struct why *why)
{
    int r;

    s->fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(s->fd >= 0);
    s->settings.dir_fd = s->fd;
    s->settings.key_file = secret_is_set(&s->key_file) ? &s->key_file : NULL;
    r = store_open(s->event, &s->settings, &s->store, why);
    if (r < 0)
        keystore_scene_close(s);
    return r;
}

void keystore_scene_close(struct keystore_scene *s)
{
    s->store = store_free(s->store);
    fd_closep(&s->fd);
    s->fd = -1;
}

void keystore_scene_restart(struct keystore_scene *s)
{
    struct why why = { 0 };

    keystore_scene_close(s);
    if (keystore_scene_open(s, &why) < 0)
        fail_msg("%s", why.text);
}

void keystore_scene_init(struct keystore_scene *s)
{
    *s = (struct keystore_scene){ .fd = -1, .settings = STORE_SETTINGS_DEFAULT };
    s->settings.argon2_memory = STORE_ARGON2_MEMORY_MIN;
    s->settings.argon2_passes = 1;
    s->settings.retry_delay = 0;
    log_set_max_level(LOG_CRIT); /* what is wrong here is so on purpose */
    /* in memory, where there is such a folder: all is synced */
    snprintf(s->folder, sizeof(s->folder), "%s/waymark-test-keystore-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(s->folder));
    assert_true(sd_event_new(&s->event) >= 0);
    assert_int_equal(secret_init(true), 0);
    keystore_scene_restart(s);
}

void keystore_scene_done(struct keystore_scene *s)
{
    char command[128];

    keystore_scene_close(s);
    secret_done(&s->key_file);
    sd_event_unref(s->event);
    snprintf(command, sizeof(command), "rm -rf %s", s->folder);
    assert_int_equal(system(command), 0);
}

struct listed {
    char *names[LISTED_MAX];
    size_t n;
};

static void add_listed(void *data, const uint8_t *rest, size_t size)
{
    struct listed *l = data;

    assert_true(l->n < LISTED_MAX);
    l->names[l->n++] = strndup((const char *)rest, size);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(struct keystore_scene *s, uid_t owner, const char *prefix, struct strbuf *out)
{
    struct keystore_key key = keystore_scene_key(prefix);
    struct listed l = { .n = 0 };

    store_list(s->store, owner, &key, add_listed, &l);
    qsort(l.names, l.n, sizeof(l.names[0]), compare_names);
    for (size_t i = 0; i < l.n; i++) {
        strbuf_add(out, "%s%s", i > 0 ? "," : "", l.names[i]);
        free(l.names[i]);
    }
}

static void get(struct keystore_scene *s, uid_t owner, const char *name, struct strbuf *out)
{
    _cleanup_secret_ struct secret value = SECRET_NONE;
    struct keystore_key key = keystore_scene_key(name);
    enum keystore_answer a = store_get(s->store, owner, &key, &value);

    strbuf_add(out, "%d", a);
    if (value.size > 0)
        strbuf_add(out, " %.*s", (int)value.size, (const char *)value.data);
}

static void find(struct keystore_scene *s, uid_t reader, const char *name, struct strbuf *out)
{
    struct keystore_key asked = keystore_scene_key(name), key;
    uid_t owner;

    if (store_find_granted(s->store, reader, &asked, &owner, &key))
        strbuf_add(out, "%u %.*s", owner, key.size, (const char *)key.bytes);
    else
        strbuf_add(out, "7");
}

static int write_keys(struct keystore_scene *s, char **w, struct answered *a)
{
    struct keystore_key key = keystore_scene_key(w[2] ? w[2] : "-");
    _cleanup_secret_ struct secret value = keystore_scene_secret(w[3] ? w[3] : "-");
    uid_t owner = (uid_t)strtoul(w[1], NULL, 10),
          reader = w[3] ? (uid_t)strtoul(w[3], NULL, 10) : 0;

    switch (w[0][0]) {
    case 'i':
        return store_put(s->store, owner, &key, &value, on_done, a);
    case 'd':
        return store_delete(s->store, owner, &key, on_done, a);
    case 'x':
        return store_grant(s->store, owner, &key, reader, on_done, a);
    default:
        return store_ungrant(s->store, owner, &key, reader, on_done, a);
    }
}

static int write_master(struct keystore_scene *s, char **w, struct answered *a)
{
    _cleanup_secret_ struct secret first = keystore_scene_secret(w[1] ? w[1] : "-");
    _cleanup_secret_ struct secret second = keystore_scene_secret(w[1] && w[2] ? w[2] : "-");

    switch (w[0][0]) {
    case 'p':
        return store_password(s->store, &first, &second, on_done, a);
    case 'u':
        return store_unlock(s->store, &first, on_done, a);
    case 'l':
        return store_lock(s->store, on_done, a);
    default:
        return store_reset(s->store, on_done, a);
    }
}

static void write_and_wait(struct keystore_scene *s, char **w, struct strbuf *out)
{
    struct answered a = { 0 };
    int r = strchr("idxy", w[0][0]) ? write_keys(s, w, &a) : write_master(s, w, &a);

    assert_int_equal(r, 0);
    assert_int_equal(a.n, 0); /* never from within */
    keystore_scene_wait(s, &a.n, 1);
    strbuf_add(out, "%d", a.answer);
}

static void set_key_file(struct keystore_scene *s, const char *text)
{
    secret_done(&s->key_file);
    if (!streq(text, "-"))
        s->key_file = keystore_scene_secret(text);
}

static void read_store(struct keystore_scene *s, char **w, struct strbuf *out)
{
    uid_t uid = w[1] ? (uid_t)strtoul(w[1], NULL, 10) : 0;
    struct keystore_key key = keystore_scene_key(w[1] && w[2] ? w[2] : "-");

    switch (w[0][0]) {
    case 'g':
        get(s, uid, w[2], out);
        break;
    case 'e':
        strbuf_add(out, "%d", store_exists(s->store, uid, &key) ? 1 : 7);
        break;
    case 's':
        list(s, uid, w[2], out);
        break;
    case 'f':
        find(s, uid, w[2], out);
        break;
    case 'z':
        strbuf_add(out, "%d", store_is_empty(s->store) ? 7 : 1);
        break;
    case 't':
        strbuf_add(out, "%d", store_state(s->store));
        break;
    case 'n':
        strbuf_add(out, "%u", store_tries(s->store));
        break;
    default:
        fail_msg("no such command: %s", w[0]);
    }
}

static void run_line(struct keystore_scene *s, const char *row, const char *line, size_t size)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    char text[LINE_MAX_SIZE], name[LINE_MAX_SIZE + 64], *expected, *save, *w[WORDS_MAX] = { 0 };

    assert_true(size < sizeof(text));
    memcpy(text, line, size);
    text[size] = '\0';
    snprintf(name, sizeof(name), "%s: %s", row, text);
    expected = strstr(text, " ->");
    if (expected) {
        *expected = '\0';
        expected += expected[3] == ' ' ? 4 : 3;
    }
    w[0] = strtok_r(text, " ", &save);
    for (size_t i = 1; i < WORDS_MAX && w[i - 1]; i++)
        w[i] = strtok_r(NULL, " ", &save);
    if (!w[0])
        return;
    if (streq(w[0], "restart"))
        keystore_scene_restart(s);
    else if (streq(w[0], "key-file"))
        set_key_file(s, w[1]);
    else if (strchr("pulridxy", w[0][0]))
        write_and_wait(s, w, &out);
    else
        read_store(s, w, &out);
    if (expected)
        CHECK_TEXT(name, strbuf_text(&out), expected);
}

void keystore_scene_run(struct keystore_scene *s, const char *row, const char *script)
{
    while (*script) {
        size_t size = strcspn(script, "\n");

        run_line(s, row, script, size);
        script += size + (script[size] == '\n');
    }
}
