/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "observe/facts.h"

int cgroups_open(struct cgroups *ret, struct why *why)
{
    char path[PATH_MAX];
    struct statfs fs;

    if (!facts_cgroup2(path, sizeof(path)))
        return why_set(why, -ENOENT, "cgroup2 is not mounted: `mount -t cgroup2 none DIR`");

    _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return why_set(why, -errno, "cannot open %s: %s", path, strerror(errno));
    if ((uint64_t)fs.f_type != CGROUP2_SUPER_MAGIC)
        return why_set(why, -ENOENT, "something is mounted over cgroup2 at %s", path);

    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    *ret = (struct cgroups){ .fd = TAKE_FD(fd), .path = copy };
    return 0;
}

void cgroups_close(struct cgroups *c)
{
    fd_closep(&c->fd);
    free(c->path);
    *c = CGROUPS_CLOSED;
}

int cgroups_id(const struct cgroups *c, const char *path, uint64_t *ret)
{
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + sizeof(uint64_t)];
    } h = { .handle.handle_bytes = sizeof(uint64_t) };
    const char *below = path[1] != '\0' ? path + 1 : ".";
    int mount;

    if (c->fd < 0)
        return -ENOENT;
    /* the handle is the id (kernfs); the inode number is, too, where that has 64 bits */
    if (name_to_handle_at(c->fd, below, &h.handle, &mount, 0) < 0)
        return -errno;
    if (h.handle.handle_bytes != sizeof(*ret))
        return -EPROTO;
    memcpy(ret, h.handle.f_handle, sizeof(*ret));
    return 0;
}

DEFINE_CLEANUP(DIR *, closedir)

static int compare_parents(const void *x, const void *y)
{
    const struct cgroup_parent *a = x, *b = y;
    return CMP(a->id, b->id);
}

/* An inode's number here is the id. */
static int read_below(int at, const char *name, uint64_t id, int depth, struct cgroup_tree *t)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;
    _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return errno == ENOENT || errno == ENODEV || errno == EACCES ? 0 : -errno;
    }
    for (const struct dirent *e = readdir(d); r == 0 && e; e = readdir(d)) {
        if (e->d_type != DT_DIR || streq(e->d_name, ".") || streq(e->d_name, ".."))
            continue;
        r = ARRAY_PUSH(t->items, t->n, t->cap,
                       ((struct cgroup_parent){ .id = e->d_ino, .parent = id }));
        if (r == 0 && depth < CGROUPS_DEPTH_MAX)
            r = read_below(fd, e->d_name, e->d_ino, depth + 1, t);
    }
    return r;
}

int cgroups_read_tree(const struct cgroups *c, struct cgroup_tree *ret)
{
    struct cgroup_tree t = { 0 };
    uint64_t root = 0;
    int r = cgroups_id(c, "/", &root);

    if (r == 0)
        r = ARRAY_PUSH(t.items, t.n, t.cap, ((struct cgroup_parent){ .id = root }));
    if (r == 0)
        r = read_below(c->fd, ".", root, 1, &t);
    if (r < 0) {
        cgroup_tree_done(&t);
        return r;
    }
    qsort(t.items, t.n, sizeof(*t.items), compare_parents);
    *ret = t;
    return 0;
}

void cgroup_tree_done(struct cgroup_tree *t)
{
    free(t->items);
    *t = (struct cgroup_tree){ 0 };
}

size_t cgroup_tree_ancestors(const struct cgroup_tree *t, uint64_t id,
                             uint64_t ret[static CGROUPS_DEPTH_MAX])
{
    size_t n = 0;

    while (id != 0 && n < CGROUPS_DEPTH_MAX) {
        const struct cgroup_parent key = { .id = id }, *found = NULL;

        ret[n++] = id;
        if (t->n > 0)
            found = bsearch(&key, t->items, t->n, sizeof(key), compare_parents);
        id = found ? found->parent : 0;
    }
    return n;
}

int cgroups_populated(const struct cgroups *c, const char *path, bool *ret)
{
    char name[PATH_MAX], text[256];

    if ((size_t)snprintf(name, sizeof(name), "%s/cgroup.events", path + 1) >= sizeof(name))
        return -ENAMETOOLONG;
    _cleanup_fd_ int fd = openat(c->fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n < 0)
        return errno == ENODEV ? -ENOENT : -errno; /* removed while it was open */
    text[n] = '\0';
    *ret = strstr(text, "populated 1");
    return 0;
}

int cgroups_owner(const struct cgroups *c, const char *path, uint32_t *ret_uid)
{
    struct stat st;

    if (fstatat(c->fd, path[1] != '\0' ? path + 1 : ".", &st, 0) < 0)
        return -errno;
    *ret_uid = st.st_uid;
    return 0;
}

int cgroups_path_of_directory(const struct cgroups *c, const char *directory, char **ret)
{
    _cleanup_free_ char *root = realpath(c->path, NULL), *path = realpath(directory, NULL);
    size_t n;

    if (!root || !path)
        return -errno;
    n = strlen(root);
    if (!startswith(path, root) || (path[n] != '/' && path[n] != '\0'))
        return -EXDEV;
    *ret = strdup(path[n] ? path + n : "/");
    return *ret ? 0 : -ENOMEM;
}

int cgroups_path_of_pid(uint32_t pid, char **ret)
{
    _cleanup_free_ char *text = NULL;
    char file[64], *line, *path;

    (void)snprintf(file, sizeof(file), "/proc/%u/cgroup", pid);
    if (fd_read_file(file, 1 << 20, &text, NULL) < 0)
        return -ESRCH;
    line = startswith(text, "0::") ? text : strstr(text, "\n0::");
    if (!line)
        return -ENOENT;
    path = strstr(line, "0::") + STRLEN("0::");
    path[strcspn(path, "\n")] = '\0';
    if (path[0] != '/' || startswith(path, "/.."))
        return -ENOENT;
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}
