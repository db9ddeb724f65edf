/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "decide/app.h"

DEFINE_CLEANUP(DIR *, closedir)

/* Directories that are to be read: paths below the root, that itself "". */
struct queue {
    char **items;
    size_t n, capacity;
};

static void queue_done(struct queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->items[i]);
    free(q->items);
}

static int queue_add(struct queue *q, const char *path)
{
    char *copy;

    if (q->n >= UNITS_DIRS_MAX)
        return 0;
    copy = strdup(path);
    if (!copy || ARRAY_PUSH(q->items, q->n, q->capacity, copy) < 0) {
        free(copy);
        return -ENOMEM;
    }
    return 0;
}

static DIR *open_dir(const struct cgroups *c, const char *path)
{
    int fd = openat(c->fd, path[0] ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        (void)close(fd);
    return dir;
}

static int read_dir(const struct cgroups *c, const char *path, struct queue *q, units_found found,
                    void *data)
{
    _cleanup_(closedirp) DIR *dir = open_dir(c, path);
    const struct dirent *entry;
    char below[PATH_MAX];
    int r = 0;

    while (r == 0 && dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || streq(entry->d_name, ".") || streq(entry->d_name, ".."))
            continue;
        if ((size_t)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= sizeof(below))
            continue;
        r = found(data, app_unit_name(entry->d_name), below);
        if (r == 0 && app_holds_units(entry->d_name))
            r = queue_add(q, below);
    }
    return r;
}

int units_scan(const struct cgroups *c, struct pathwatch *w, uint32_t number, units_found found,
               void *data)
{
    struct queue q = { 0 };
    char path[PATH_MAX];
    int r = queue_add(&q, "");

    pathwatch_forget(w, number);
    if (r == 0)
        r = found(data, "-.slice", "/");
    for (size_t i = 0; r == 0 && i < q.n; i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s%s", c->path, q.items[i]) >= sizeof(path))
            continue;
        /* first look out, then look: else one that comes in between would be missed */
        if (pathwatch_list(w, number, path) == -ENOMEM)
            r = -ENOMEM;
        else
            r = read_dir(c, q.items[i], &q, found, data);
    }
    queue_done(&q);
    return r;
}
