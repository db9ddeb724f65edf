/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/old-exes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/parse.h"

DEFINE_CLEANUP(DIR *, closedir)

static void drop(struct old_exes *o, size_t i)
{
    fd_closep(&o->items[i].fd);
    o->n--;
    memmove(o->items + i, o->items + i + 1, (o->n - i) * sizeof(*o->items));
}

int old_exes_add(struct old_exes *o, uint32_t slot, const struct exe_id *id)
{
    struct old_exe old = { .slot = slot, .fd = -1, .id = *id };

    if (o->n >= OLD_EXES_MAX)
        drop(o, 0);
    return ARRAY_PUSH(o->items, o->n, o->capacity, old);
}

void old_exes_forget(struct old_exes *o, uint32_t slot)
{
    for (size_t i = o->n; i-- > 0;)
        if (o->items[i].slot == slot)
            drop(o, i);
}

void old_exes_drop(struct old_exes *o, bool (*which)(const void *data, const struct exe_id *id),
                   const void *data)
{
    for (size_t i = o->n; i-- > 0;)
        if (which(data, &o->items[i].id))
            drop(o, i);
}

void old_exes_done(struct old_exes *o)
{
    while (o->n > 0)
        drop(o, o->n - 1);
    free(o->items);
    *o = (struct old_exes){ 0 };
}

const struct old_exe *old_exes_next(const struct old_exes *o, uint32_t slot,
                                    const struct old_exe *after)
{
    for (size_t i = after ? (size_t)(after - o->items) + 1 : 0; i < o->n; i++)
        if (o->items[i].slot == slot)
            return &o->items[i];
    return NULL;
}

bool old_exes_has_new(const struct old_exes *o)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->items[i].fd < 0)
            return true;
    return false;
}

/* Holds the file, if it is that one: the process may have changed its own meanwhile. */
static void hold(struct old_exe *old, const char *link)
{
    _cleanup_fd_ int fd = open(link, O_PATH | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != old->id.ino)
        return;
    old->seen = true;
    if (old->fd < 0)
        old->fd = TAKE_FD(fd);
}

static void look_at(struct old_exes *o, uint32_t pid)
{
    struct exe_id id = { 0 };
    char link[64];
    struct stat st;

    (void)snprintf(link, sizeof(link), "/proc/%u/exe", pid);
    if (stat(link, &st) < 0)
        return;
    for (size_t i = 0; i < o->n; i++) {
        struct old_exe *old = &o->items[i];

        /* the inode first: to find the device may take long */
        if (old->id.ino != st.st_ino)
            continue;
        if (id.ino == 0 && exe_identify(link, pid, &id) < 0)
            return;
        if (id.ino == old->id.ino && id.dev == old->id.dev)
            hold(old, link);
    }
}

int old_exes_scan(struct old_exes *o)
{
    _cleanup_(closedirp) DIR *proc = NULL;
    const struct dirent *entry;

    if (o->n == 0)
        return 0;
    proc = opendir("/proc");
    if (!proc)
        return -errno;
    for (size_t i = 0; i < o->n; i++)
        o->items[i].seen = false;
    while ((entry = readdir(proc))) {
        uint32_t pid;

        if (parse_u32(entry->d_name, INT32_MAX, &pid) == 0)
            look_at(o, pid);
    }
    for (size_t i = o->n; i-- > 0;)
        if (!o->items[i].seen)
            drop(o, i);
    return 0;
}
