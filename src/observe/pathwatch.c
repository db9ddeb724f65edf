/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/pathwatch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/hash.h"

enum { ROOT = 0, LINKS_MAX = 40, READS_MAX = 64 };
enum { MASK_DIR = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO };
enum { MASK = MASK_DIR | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW };

/* In by_name: a directory that is watched, too, rather than a number of the caller's. */
#define IS_DIR 0x80000000U

struct pathwatch_dir {
    char *path; /* without links; NULL = free */
    int wd;     /* -1 = not watched */
    bool lost;  /* renamed, or removed: what was known of it is of no use */
    uint32_t refs;
    uint32_t parent; /* of a free one: the next free one + 1 */
};

struct interest {
    uint32_t dir, hash;
};

struct pathwatch_path {
    struct interest *items;
    size_t n, capacity;
    bool changed;
};

static uint32_t hash_text(const char *s)
{
    return hash_bytes(s, strlen(s), 0);
}

static uint32_t hash_name(uint32_t dir, const char *name)
{
    return hash_bytes(name, strlen(name), dir + 1);
}

/* All names of a directory. */
static uint32_t hash_any(uint32_t dir)
{
    return hash_name(dir, "");
}

static const char *last_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

static bool wd_in_use(const struct pathwatch *w, int wd)
{
    MULTIMAP_FOREACH (&w->by_wd, (uint32_t)wd, i)
        if (w->dirs[w->by_wd.nodes[i].value].wd == wd)
            return true;
    return false;
}

static void unwatch(struct pathwatch *w, uint32_t number)
{
    struct pathwatch_dir *d = &w->dirs[number];

    if (d->wd < 0) {
        w->n_unwatched--;
        return;
    }
    multimap_remove(&w->by_wd, (uint32_t)d->wd, number);
    /* one directory at two paths (mount --bind) has one watch; a removed one has none any more */
    if (!wd_in_use(w, d->wd))
        (void)inotify_rm_watch(w->fd, d->wd);
    w->n_watches--;
    d->wd = -1;
}

/* A reference less; at the end, one less of those above. */
static void dir_unref(struct pathwatch *w, uint32_t number)
{
    while (number != ROOT) {
        struct pathwatch_dir *d = &w->dirs[number];
        uint32_t parent = d->parent;

        if (--d->refs > 0)
            return;
        unwatch(w, number);
        multimap_remove(&w->by_path, hash_text(d->path), number);
        multimap_remove(&w->by_name, hash_name(parent, last_name(d->path)), number | IS_DIR);
        free(d->path);
        *d = (struct pathwatch_dir){ .wd = -1, .parent = w->free_dirs };
        w->free_dirs = number + 1;
        number = parent;
    }
}

static uint32_t find_dir(const struct pathwatch *w, const char *path)
{
    MULTIMAP_FOREACH (&w->by_path, hash_text(path), i)
        if (streq(w->dirs[w->by_path.nodes[i].value].path, path))
            return w->by_path.nodes[i].value;
    return UINT32_MAX;
}

/* -ENOTDIR, -ENOENT: it is no directory after all. Any other reason not to watch it is borne. */
static int watch(struct pathwatch *w, uint32_t number)
{
    struct pathwatch_dir *d = &w->dirs[number];
    int wd = -1;

    if (w->n_watches < w->limit) {
        wd = inotify_add_watch(w->fd, d->path, MASK);
        if (wd < 0 && (errno == ENOTDIR || errno == ENOENT || errno == ELOOP)) {
            w->n_unwatched++; /* for unwatch() */
            return -errno;
        }
    }
    if (wd >= 0 && multimap_add(&w->by_wd, (uint32_t)wd, number) < 0) {
        w->n_unwatched++;
        return -ENOMEM;
    }
    d->wd = wd;
    if (wd >= 0)
        w->n_watches++;
    else
        w->n_unwatched++;
    return 0;
}

static int new_dir(struct pathwatch *w, uint32_t *ret)
{
    if (w->free_dirs > 0) {
        *ret = w->free_dirs - 1;
        w->free_dirs = w->dirs[*ret].parent;
        return 0;
    }
    if (ARRAY_RESERVE(w->dirs, w->cap_dirs, w->n_dirs + 1) < 0)
        return -ENOMEM;
    *ret = (uint32_t)w->n_dirs++;
    return 0;
}

/* The directory, with one reference. Its parent looks out for it before it is looked at. */
static int add_dir(struct pathwatch *w, uint32_t parent, const char *path, uint32_t *ret)
{
    char *copy = strdup(path);
    uint32_t number = 0;
    int r = copy ? new_dir(w, &number) : -ENOMEM;

    if (r < 0) {
        free(copy);
        return r;
    }
    w->dirs[number] = (struct pathwatch_dir){ .path = copy, .wd = -1, .refs = 1, .parent = parent };
    w->dirs[parent].refs++;
    r = multimap_add(&w->by_path, hash_text(path), number);
    if (r == 0 && number != ROOT)
        r = multimap_add(&w->by_name, hash_name(parent, last_name(path)), number | IS_DIR);
    if (r == 0)
        r = watch(w, number);
    else
        w->n_unwatched++; /* for unwatch() */
    if (r < 0) {
        dir_unref(w, number);
        return r;
    }
    *ret = number;
    return 0;
}

int pathwatch_open(struct pathwatch *w, size_t limit)
{
    uint32_t root;
    int r;

    *w = (struct pathwatch){ .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .limit = limit };
    if (w->fd < 0)
        return -errno;
    if (ARRAY_RESERVE(w->dirs, w->cap_dirs, 1) < 0)
        r = -ENOMEM;
    else
        r = add_dir(w, ROOT, "/", &root);
    if (r < 0)
        pathwatch_close(w);
    return r;
}

void pathwatch_close(struct pathwatch *w)
{
    for (size_t i = 0; i < w->n_dirs; i++)
        free(w->dirs[i].path);
    for (size_t i = 0; i < w->n_paths; i++)
        free(w->paths[i].items);
    free(w->dirs);
    free(w->paths);
    free(w->changed);
    multimap_done(&w->by_path);
    multimap_done(&w->by_wd);
    multimap_done(&w->by_name);
    fd_closep(&w->fd);
    *w = PATHWATCH_CLOSED;
}

static int add_interest(struct pathwatch *w, uint32_t number, uint32_t dir, uint32_t hash)
{
    struct pathwatch_path *p = &w->paths[number];
    struct interest interest = { .dir = dir, .hash = hash };

    if (ARRAY_RESERVE(p->items, p->capacity, p->n + 1) < 0 ||
        multimap_add(&w->by_name, hash, number) < 0)
        return -ENOMEM;
    p->items[p->n++] = interest;
    w->dirs[dir].refs++;
    return 0;
}

void pathwatch_forget(struct pathwatch *w, uint32_t number)
{
    struct pathwatch_path *p = number < w->n_paths ? &w->paths[number] : NULL;

    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        multimap_remove(&w->by_name, p->items[i].hash, number);
        dir_unref(w, p->items[i].dir);
    }
    free(p->items);
    *p = (struct pathwatch_path){ .changed = p->changed };
}

/* A path on its way: where it has come to, and what is left of it. */
struct way {
    uint32_t number;
    uint32_t dir; /* with a reference */
    char rest[2 * PATH_MAX];
    unsigned links;
    pathwatch_named named; /* may be NULL */
    void *data;
};

static void go_to(struct pathwatch *w, struct way *way, uint32_t dir)
{
    w->dirs[dir].refs++;
    dir_unref(w, way->dir);
    way->dir = dir;
}

/* Takes the next name off what is left; false at the end. */
static bool next_name(struct way *way, char name[static NAME_MAX + 1], int *r)
{
    const char *start = way->rest + strspn(way->rest, "/");
    size_t n = strcspn(start, "/");

    *r = n > NAME_MAX ? -ENAMETOOLONG : 0;
    if (n == 0 || *r < 0)
        return false;
    memcpy(name, start, n);
    name[n] = '\0';
    memmove(way->rest, start + n, strlen(start + n) + 1);
    return true;
}

/* What a link says comes before the rest. */
static int follow_link(struct pathwatch *w, struct way *way, const char *path)
{
    char target[PATH_MAX], rest[sizeof(way->rest)];
    ssize_t n = readlink(path, target, sizeof(target) - 1);

    if (n < 0)
        return errno == EINVAL ? -ENOENT : -errno; /* no link any more: an event has been sent */
    target[n] = '\0';
    if (++way->links > LINKS_MAX)
        return -ELOOP;
    if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", target, way->rest) >= sizeof(rest))
        return -ENAMETOOLONG;
    memcpy(way->rest, rest, strlen(rest) + 1);
    if (target[0] == '/')
        go_to(w, way, ROOT);
    return 0;
}

static int enter(struct pathwatch *w, struct way *way, const char *path)
{
    uint32_t dir;
    int r = add_dir(w, way->dir, path, &dir);

    if (r < 0)
        return r;
    dir_unref(w, way->dir);
    way->dir = dir; /* with the reference that it was made with */
    return 0;
}

/* One step, by name. 1: there; 0: go on; -errno: here it ends. */
static int step(struct pathwatch *w, struct way *way, const char *name)
{
    const char *at = w->dirs[way->dir].path;
    bool last = way->rest[strspn(way->rest, "/")] == '\0';
    char path[PATH_MAX];
    struct stat st;
    uint32_t dir;
    int r;

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", way->dir == ROOT ? "" : at, name) >=
        sizeof(path))
        return -ENAMETOOLONG;
    dir = last ? UINT32_MAX : find_dir(w, path);
    if (dir != UINT32_MAX && !w->dirs[dir].lost) {
        go_to(w, way, dir);
        return 0;
    }
    r = add_interest(w, way->number, way->dir, hash_name(way->dir, name));
    if (r == 0 && last && way->named)
        r = way->named(way->data, at, name);
    if (r < 0)
        return r;
    if (lstat(path, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return follow_link(w, way, path);
    if (last)
        return 1;
    return S_ISDIR(st.st_mode) ? enter(w, way, path) : -ENOTDIR;
}

/* 1: by a name; 0: to where it is, by "/", "." or ".." at the end; -errno. */
static int walk(struct pathwatch *w, struct way *way)
{
    char name[NAME_MAX + 1];
    int r = 0;

    while (r == 0 && next_name(way, name, &r)) {
        if (streq(name, "."))
            continue;
        if (streq(name, ".."))
            go_to(w, way, w->dirs[way->dir].parent);
        else
            r = step(w, way, name);
    }
    return r;
}

static int follow(struct pathwatch *w, uint32_t number, const char *path, bool list,
                  pathwatch_named named, void *data)
{
    struct way way = { .number = number, .dir = ROOT, .named = named, .data = data };
    int r;

    if (number >= w->n_paths) {
        if (ARRAY_RESERVE(w->paths, w->cap_paths, (size_t)number + 1) < 0)
            return -ENOMEM;
        memset(w->paths + w->n_paths, 0, (number + 1 - w->n_paths) * sizeof(*w->paths));
        w->n_paths = (size_t)number + 1;
    }
    if ((size_t)snprintf(way.rest, sizeof(way.rest), "%s%s", path, list ? "/." : "") >=
        sizeof(way.rest))
        return -ENAMETOOLONG;
    w->dirs[ROOT].refs++;
    r = walk(w, &way);
    if (r == 0) /* "." is in no event: then only that the directory goes is of interest */
        r = add_interest(w, number, way.dir, list ? hash_any(way.dir) : hash_name(way.dir, "."));
    dir_unref(w, way.dir);
    return r < 0 ? r : 0;
}

int pathwatch_follow(struct pathwatch *w, uint32_t number, const char *path)
{
    return pathwatch_follow_named(w, number, path, NULL, NULL);
}

int pathwatch_follow_named(struct pathwatch *w, uint32_t number, const char *path,
                           pathwatch_named named, void *data)
{
    pathwatch_forget(w, number);
    return follow(w, number, path, false, named, data);
}

int pathwatch_list(struct pathwatch *w, uint32_t number, const char *path)
{
    return follow(w, number, path, true, NULL, NULL);
}

static int note_changed(struct pathwatch *w, uint32_t number)
{
    if (w->paths[number].changed)
        return 0;
    w->paths[number].changed = true;
    return ARRAY_PUSH(w->changed, w->n_changed, w->cap_changed, number);
}

static void lose_dir(struct pathwatch *w, uint32_t dir)
{
    w->dirs[dir].lost = true;
    w->lost_dirs = true;
}

static int note_names(struct pathwatch *w, uint32_t hash)
{
    int r = 0;

    MULTIMAP_FOREACH (&w->by_name, hash, i) {
        uint32_t value = w->by_name.nodes[i].value;

        if (value & IS_DIR)
            lose_dir(w, value & ~IS_DIR);
        else if (r == 0)
            r = note_changed(w, value);
    }
    return r;
}

static int on_event(struct pathwatch *w, const struct inotify_event *e, bool wanted)
{
    int r = 0;

    if (e->mask & IN_Q_OVERFLOW)
        w->lost_all = true;
    MULTIMAP_FOREACH (&w->by_wd, (uint32_t)e->wd, i) {
        uint32_t dir = w->by_wd.nodes[i].value;

        if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
            lose_dir(w, dir);
        if (r == 0 && e->len > 0)
            r = note_names(w, hash_name(dir, e->name));
        if (r == 0 && e->len > 0 && wanted)
            r = note_names(w, hash_any(dir));
    }
    return r;
}

static int read_events(struct pathwatch *w, pathwatch_wanted wanted, void *data)
{
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t n;
    int r = 0;

    for (int i = 0; r == 0 && i < READS_MAX && (n = read(w->fd, buffer, sizeof(buffer))) > 0; i++)
        for (const char *at = buffer; r == 0 && at < buffer + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)at;

            r = on_event(w, e, e->len > 0 && wanted && wanted(data, e->name));
            at += sizeof(*e) + e->len;
        }
    return r;
}

static bool is_below_lost(const struct pathwatch *w, uint32_t dir)
{
    for (; dir != ROOT; dir = w->dirs[dir].parent)
        if (w->dirs[dir].lost)
            return true;
    return w->dirs[ROOT].lost;
}

/* All whose way goes through a directory that was lost, or just all. */
static int note_lost(struct pathwatch *w)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < w->n_paths; i++) {
        const struct pathwatch_path *p = &w->paths[i];
        bool lost = w->lost_all && p->n > 0;

        for (size_t j = 0; !lost && j < p->n; j++)
            lost = is_below_lost(w, p->items[j].dir);
        if (lost)
            r = note_changed(w, i);
    }
    return r;
}

int pathwatch_dispatch(struct pathwatch *w, pathwatch_wanted wanted, void *data)
{
    int r;

    w->n_changed = 0;
    r = read_events(w, wanted, data);
    if (r == 0 && (w->lost_all || w->lost_dirs))
        r = note_lost(w);
    /* out of memory: what was noticed must not be forgotten */
    w->lost_all = r < 0;
    for (size_t i = 0; i < w->n_changed; i++) {
        w->paths[w->changed[i]].changed = false;
        if (r == 0)
            pathwatch_forget(w, w->changed[i]);
    }
    if (r == 0)
        w->lost_dirs = w->dirs[ROOT].lost = false;
    return r;
}

void pathwatch_lose_all(struct pathwatch *w)
{
    w->lost_all = true;
}
