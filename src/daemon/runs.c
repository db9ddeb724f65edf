/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/runs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "apply/run-cgroup.h"
#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/change.h"
#include "daemon/reconcile.h"
#include "decide/app.h"
#include "observe/emptied.h"
#include "observe/selectors.h"
#include "wire/words.h"

#define FOLDER "waymark" /* of the cgroups that we make */

enum { RECORD_MAX = 16384, RETRY_SEC = 2 };

struct run {
    char *path;
    uint32_t uid; /* who made it */
    int watch;    /* of emptied_watch(), or negative */
    bool ended;   /* and still to be cleared away */
};

struct runs {
    struct manager *m;
    struct cgroups cgroups;
    struct emptied emptied;
    char *root;   /* where the programs are attached: "/" or "/a" */
    char *folder; /* where we make cgroups: below that */
    struct run *items;
    size_t n, cap;
    struct socket_facts facts;
    sd_event_source *source;
    sd_event_source *retry;
};

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static void run_done(struct run *run)
{
    free(run->path);
    *run = (struct run){ .watch = -1 };
}

static struct run *find(const struct runs *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (streq(name_of(r->items[i].path), name))
            return &r->items[i];
    return NULL;
}

static bool is_ours(const struct runs *r, const char *path)
{
    size_t n = strlen(r->folder);

    return startswith(path, r->folder) && path[n] == '/' && !strchr(path + n + 1, '/');
}

/* Records. */

static char *record_path(const struct runs *r, const char *name)
{
    char *path;

    return asprintf(&path, "%s/runs%s%s", r->m->options.runtime_dir, name ? "/" : "",
                    name ? name : "") < 0
               ? NULL
               : path;
}

static int write_record(const struct runs *r, const char *path, uint64_t id, const char *network)
{
    _cleanup_free_ char *folder = record_path(r, NULL), *file = record_path(r, name_of(path));
    _cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
    char number[24];

    if (!folder || !file)
        return -ENOMEM;
    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return -errno;
    (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
    words_add(&line, "run");
    words_add(&line, number);
    words_add(&line, network ? network : "none");
    words_add(&line, path);
    strbuf_add_char(&line, '\n');
    if (line.failed)
        return -ENOMEM;
    return fd_replace_file(file, strbuf_text(&line), line.size, 0644);
}

static void drop_record(const struct runs *r, const char *name)
{
    _cleanup_free_ char *file = record_path(r, name);

    if (file)
        (void)unlink(file);
}

/* What a record says; the strings point into `text`. */
struct record {
    uint64_t id;
    const char *network; /* NULL = none */
    const char *path;
};

static int parse_record(char *text, const char *name, struct record *ret)
{
    const char *words[4];
    char *end;
    size_t n;

    text[strcspn(text, "\n")] = '\0';
    if (words_split(text, words, ELEMENTSOF(words), &n) < 0 || n != 4 || !streq(words[0], "run") ||
        words[3][0] != '/' || !streq(name_of(words[3]), name))
        return -EBADMSG;
    *ret = (struct record){
        .id = strtoull(words[1], &end, 10),
        .network = streq(words[2], "none") ? NULL : words[2],
        .path = words[3],
    };
    return *end == '\0' ? 0 : -EBADMSG;
}

static int make_assignment(const struct model *m, const char *path, const char *network,
                           struct assignment *ret)
{
    struct assignment a = {
        .selector = { .kind = SELECTOR_CGROUP, .text = rstr_new(path) },
        .origin = ORIGIN_RUN,
        .network = network ? rstr_new(network) : NULL,
    };

    if (!a.selector.text || (network && !a.network)) {
        assignment_done(&a);
        return -ENOMEM;
    }
    if (a.network)
        a.network = model_intern_name(m, a.network);
    *ret = a;
    return 0;
}

static int remember(struct runs *r, const char *path, uint32_t uid)
{
    struct run run = { .path = strdup(path), .uid = uid, .watch = -1 };

    if (run.path && ARRAY_PUSH(r->items, r->n, r->cap, run) == 0)
        return 0;
    run_done(&run);
    return -ENOMEM;
}

/* Takes a run over from the daemon before us. -ESTALE: it is over, or was never one. */
static int adopt(struct runs *r, const char *name, char *text)
{
    struct model *m = r->m->model;
    struct record record;
    struct assignment a;
    uint64_t id;
    uint32_t uid;
    int e;

    if (parse_record(text, name, &record) < 0 || !app_run_uid(name, &uid) ||
        cgroups_id(&r->cgroups, record.path, &id) < 0 || id != record.id)
        return -ESTALE;
    e = make_assignment(m, record.path, record.network, &a);
    if (e == 0 && assignments_find(m->assignments, &a.selector) >= 0) {
        assignment_done(&a);
        return -ESTALE;
    }
    if (e == 0)
        e = remember(r, record.path, uid);
    return e < 0 ? e : assignments_put(m->assignments, &a);
}

static int load_record(struct runs *r, const char *name)
{
    _cleanup_free_ char *file = record_path(r, name), *text = NULL;
    int e = file ? fd_read_file(file, RECORD_MAX, &text, NULL) : -ENOMEM;

    if (e == 0)
        e = adopt(r, name, text);
    if (e == -ENOMEM)
        return e;
    if (e < 0)
        drop_record(r, name);
    return 0;
}

static int load_records(struct runs *r)
{
    _cleanup_free_ char *folder = record_path(r, NULL);
    DIR *d = folder ? opendir(folder) : NULL;
    int e = 0;

    if (!d)
        return folder ? 0 : -ENOMEM;
    for (struct dirent *entry; e == 0 && (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            e = load_record(r, entry->d_name);
    (void)closedir(d);
    return e;
}

/* The end of a run. */

static bool has_ended(const struct assignment *a, void *data)
{
    const struct runs *r = data;
    const char *path = rstr_text(a->selector.text);
    const struct run *run = NULL;

    if (a->origin == ORIGIN_RUN && a->selector.kind == SELECTOR_CGROUP)
        run = find(r, name_of(path));
    return run && run->ended && streq(run->path, path);
}

static int edit_drop_ended(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    (void)why;
    return edit_unassign_those(m, has_ended, data);
}

static void forget_ended(struct runs *r)
{
    size_t out = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct run *run = &r->items[i];

        if (!run->ended) {
            r->items[out++] = *run;
            continue;
        }
        emptied_forget(&r->emptied, run->watch);
        drop_record(r, name_of(run->path));
        if (is_ours(r, run->path) && run_cgroup_remove(&r->cgroups, run->path) < 0)
            log_warning("cannot remove the cgroup %s%s", r->cgroups.path, run->path);
        run_done(run);
    }
    r->n = out;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

/* In one change, however many there are. */
static void clear_ended(struct runs *r)
{
    struct why why = { 0 };
    bool any = false;
    int e;

    for (size_t i = 0; i < r->n; i++)
        any |= r->items[i].ended;
    if (!any)
        return;
    e = manager_settle(r->m, edit_drop_ended, r, &why);
    if (e == 0) {
        forget_ended(r);
        return;
    }
    reconcile_failed(r->m, e, &why);
    r->retry = sd_event_source_unref(r->retry);
    e = sd_event_add_time_relative(r->m->event, &r->retry, CLOCK_MONOTONIC,
                                   RETRY_SEC * USEC_PER_SEC, 0, on_retry, r);
    if (e < 0)
        log_warning_errno(e, "cannot set a timer");
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    clear_ended(userdata);
    return 0;
}

static void look(struct runs *r, struct run *run)
{
    bool populated = true;
    int e = cgroups_populated(&r->cgroups, run->path, &populated);

    if (e == -ENOENT || (e == 0 && !populated))
        run->ended = true;
}

static void look_at_number(void *data, int number)
{
    struct runs *r = data;

    for (size_t i = 0; i < r->n; i++)
        if (number < 0 || r->items[i].watch == number)
            look(r, &r->items[i]);
}

static int on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct runs *r = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    (void)emptied_dispatch(&r->emptied, look_at_number, r);
    clear_ended(r);
    return 0;
}

/* Its life. */

/* Without cgroup2, or where the programs are attached elsewhere, there is nothing to run in. */
static int find_root(struct runs *r)
{
    const char *cgroup = r->m->options.cgroup;
    int e = cgroups_open(&r->cgroups, NULL);

    if (e == 0 && cgroup)
        e = cgroups_path_of_directory(&r->cgroups, cgroup, &r->root);
    else if (e == 0)
        e = (r->root = strdup("/")) ? 0 : -ENOMEM;
    if (e == 0 && asprintf(&r->folder, "%s/" FOLDER, streq(r->root, "/") ? "" : r->root) < 0) {
        r->folder = NULL;
        e = -ENOMEM;
    }
    if (e < 0)
        cgroups_close(&r->cgroups);
    return e == -ENOMEM ? e : 0;
}

int runs_new(struct manager *m, struct runs **ret)
{
    struct runs *r = calloc(1, sizeof(*r));
    int e;

    if (!r)
        return -ENOMEM;
    r->m = m;
    r->cgroups = CGROUPS_CLOSED;
    r->emptied = EMPTIED_CLOSED;
    e = find_root(r);
    if (e == 0)
        e = emptied_open(&r->emptied);
    if (e == 0 && r->cgroups.fd >= 0)
        e = load_records(r);
    if (e < 0) {
        runs_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

void runs_free(struct runs *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        run_done(&r->items[i]);
    free(r->items);
    free(r->root);
    free(r->folder);
    socket_facts_done(&r->facts);
    sd_event_source_unref(r->source);
    sd_event_source_unref(r->retry);
    emptied_close(&r->emptied);
    cgroups_close(&r->cgroups);
    free(r);
}

int runs_start(struct runs *r)
{
    int e = sd_event_add_io(r->m->event, &r->source, r->emptied.fd, EPOLLIN, on_event, r);

    if (e < 0)
        return e;
    for (size_t i = 0; i < r->n; i++) {
        struct run *run = &r->items[i];

        run->watch = emptied_watch(&r->emptied, &r->cgroups, run->path);
        if (run->watch < 0 && run->watch != -ENOENT)
            log_warning_errno(run->watch,
                              "cannot watch the cgroup %s: what was run there stays "
                              "assigned until a restart",
                              run->path);
        look(r, run);
    }
    clear_ended(r);
    return 0;
}

/* Beginning one. */

int runs_check(const struct runs *r, struct why *why)
{
    if (!r->m->selectors)
        return why_set(
            why, -EOPNOTSUPP,
            "back-end `rules` knows users only, it cannot hold what is run: see `waymark "
            "doctor` for what keeps waymarkd from back-end `maps`");
    if (r->cgroups.fd < 0)
        return why_set(
            why, -EOPNOTSUPP,
            "the programs are attached outside of cgroup2, nothing can be run there: see "
            "waymarkd's option --cgroup");
    if (r->m->off)
        return why_set(why, -EOPNOTSUPP,
                       "waymark is off, since `waymark panic-off`, and would not hold what is run: "
                       "`waymark reload` ends that");
    return 0;
}

const struct cgroups *runs_cgroups(const struct runs *r)
{
    return &r->cgroups;
}

int runs_facts(struct runs *r, const struct socket_facts **ret)
{
    int e = socket_facts_update(&r->facts, r->m->model, &r->m->kernel);

    if (e == 0)
        *ret = &r->facts;
    return e;
}

char *runs_new_path(const struct runs *r, uint32_t uid)
{
    uint64_t number = 0;
    char *path;

    /* nobody may guess it, or he could take the name of the record before */
    if (getrandom(&number, sizeof(number), 0) != sizeof(number) ||
        asprintf(&path, "%s/waymark-run-%u-%016llx", r->folder, uid, (unsigned long long)number) <
            0)
        return NULL;
    return path;
}

const char *runs_folder(const struct runs *r)
{
    return r->folder;
}

bool runs_sees(const struct runs *r, const char *path)
{
    size_t n = strlen(r->root);

    return streq(r->root, "/") || (startswith(path, r->root) && path[n] == '/');
}

/* Users may have directories of their own above, and name them as they like. */
static int check_path(const char *path, struct why *why)
{
    size_t levels = 0;

    for (const char *p = path; *p; p++) {
        levels += *p == '/';
        if (*p < ' ' || *p > '~')
            return why_set(why, -EINVAL, "the path of your cgroup is not of plain letters (ASCII)");
    }
    if (levels > RUNS_LEVELS_MAX)
        return why_set(why, -EINVAL,
                       "your cgroup is deeper than %d levels, which is as far as it can be held",
                       RUNS_LEVELS_MAX);
    return 0;
}

static int check_room(const struct runs *r, const char *name, uint32_t uid, struct why *why)
{
    size_t same = 0;

    for (size_t i = 0; i < r->n; i++)
        same += r->items[i].uid == uid;
    if (same >= RUNS_PER_UID_MAX)
        return why_set(
            why, -EUSERS,
            "user %u has %d programs under `waymark run` already, which is the most: wait "
            "until one ends",
            uid, RUNS_PER_UID_MAX);
    if (find(r, name))
        return why_set(why, -EBUSY, "%s is on a network already, by `waymark run`", name);
    return 0;
}

static int edit_add(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    struct assignment *a = data;

    (void)k;
    if (assignments_find(m->assignments, &a->selector) >= 0)
        return why_set(why, -EBUSY, "this cgroup is assigned already: see `waymark assignments`");
    return edit_assign(m, a, why);
}

/* Do the programs know it now? What they do not know, they do not hold. */
static int check_held(struct runs *r, const char *path, struct why *why)
{
    _cleanup_(rstr_unrefp) struct rstr *text = rstr_new(path);
    const struct selector selector = { .kind = SELECTOR_CGROUP, .text = text };
    const struct plan_app *app = NULL;
    uint64_t id = 0;
    size_t n = 0;
    ssize_t i;

    if (!text)
        return -ENOMEM;
    i = assignments_find(r->m->model->assignments, &selector);
    if (i >= 0)
        app = selectors_of(r->m->selectors, (size_t)i, &n);
    if (n == 1 && cgroups_id(&r->cgroups, path, &id) == 0 && app->id == id)
        return 0;
    return why_set(why, -ESTALE, "the cgroup %s went away, or cannot be looked up", path);
}

static int assign(struct runs *r, const char *path, const char *network, struct why *why)
{
    struct assignment a;
    int e = make_assignment(r->m->model, path, network, &a);

    if (e < 0)
        return e;
    e = manager_change(r->m, edit_add, &a, why);
    assignment_done(&a); /* empty by now, unless the edit was not reached */
    return e;
}

int runs_add(struct runs *r, const char *path, const char *network, struct why *why)
{
    struct run *run;
    uint32_t uid;
    uint64_t id = 0;
    int e;

    if (!app_run_uid(name_of(path), &uid))
        return -EINVAL;
    e = check_path(path, why);
    if (e == 0)
        e = check_room(r, name_of(path), uid, why);
    if (e == 0)
        e = cgroups_id(&r->cgroups, path, &id);
    if (e == 0)
        e = remember(r, path, uid);
    if (e < 0)
        return e;
    run = &r->items[r->n - 1];
    run->watch = emptied_watch(&r->emptied, &r->cgroups, path);
    e = run->watch < 0 ? why_set(why, run->watch, "cannot watch the cgroup %s: %s", path,
                                 strerror(-run->watch))
                       : write_record(r, path, id, network);
    if (e == 0)
        e = assign(r, path, network, why);
    if (e == 0)
        e = check_held(r, path, why);
    if (e < 0)
        runs_cancel(r, path);
    return e;
}

int runs_confirm(struct runs *r, const char *path)
{
    struct run *run = find(r, name_of(path));

    if (run)
        look(r, run);
    if (run && !run->ended)
        return 0;
    clear_ended(r);
    return -ESRCH;
}

void runs_cancel(struct runs *r, const char *path)
{
    struct run *run = find(r, name_of(path));

    if (run)
        run->ended = true;
    clear_ended(r);
}
