/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What makes changes count, and what existed before.
 */
#include "apply/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "apply/bpf-internal.h"
#include "basic/array.h"
#include "basic/fd.h"

static const struct {
    enum bpf_map_id map;
    uint32_t flag;
} flags[] = {
    { BPF_MAP_UIDS, MAP_CONFIG_UIDS },       { BPF_MAP_VPNS, MAP_CONFIG_VPNS },
    { BPF_MAP_CGROUPS, MAP_CONFIG_CGROUPS }, { BPF_MAP_EXECUTABLES, MAP_CONFIG_EXECUTABLES },
    { BPF_MAP_USERS, MAP_CONFIG_USERS },     { BPF_MAP_PLACES, MAP_CONFIG_PLACES },
    { BPF_MAP_PATHS, MAP_CONFIG_PATHS },     { BPF_MAP_OUTSIDE, MAP_CONFIG_OUTSIDE },
};

static int write_config(struct bpf *b, const struct map_config *c, struct why *why)
{
    uint32_t zero = 0;

    if (bpf_map_update_elem(b->maps[BPF_MAP_CONFIG], &zero, c, BPF_ANY) < 0)
        return why_set(why, -errno, "cannot write the BPF map config: %m");
    return 0;
}

/* To find that out the kernel looks into every bucket: up to a millisecond. */
static bool is_empty(struct bpf *b, enum bpf_map_id map)
{
    union bpf_key key;

    if (!b->empty[map])
        b->empty[map] = bpf_map_get_next_key(b->maps[map], NULL, &key) == -ENOENT;
    return b->empty[map];
}

/*
 * Written twice: the kernel copies a value piece by piece, and programs that see the new generation
 * are to see all else new, too.
 */
static int write_generation(struct bpf *b, const struct bpf_settings *settings, struct why *why)
{
    uint32_t zero = 0;
    struct map_config c;
    int r;

    if (bpf_map_lookup_elem(b->maps[BPF_MAP_CONFIG], &zero, &c) < 0)
        return why_set(why, -errno, "cannot read the BPF map config: %m");
    c.enabled = settings->enabled;
    c.default_netid = settings->default_netid;
    c.first_application_uid = settings->first_application_uid;
    c.flags = settings->mark_all ? MAP_CONFIG_MARK_ALL : 0U;
    for (size_t i = 0; i < ELEMENTSOF(flags); i++)
        if (!is_empty(b, flags[i].map))
            c.flags |= flags[i].flag;
    r = write_config(b, &c, why);
    c.generation++;
    return r < 0 ? r : write_config(b, &c, why);
}

/*
 * Sockets of an executable that nobody had assigned have no record that tells of it: they get one just
 * before that counts, and those that were made in the meantime get one after.
 */
int bpf_commit(struct bpf *b, const struct bpf_settings *settings, struct why *why)
{
    bool fill = settings->enabled && b->new_executables;
    int r = fill ? bpf_fill(b, why) : 0;

    if (r == 0)
        r = write_generation(b, settings, why);
    if (r == 0 && fill)
        r = bpf_fill(b, why);
    if (r < 0)
        return r;
    b->new_executables = b->new_executables && !fill;
    if (!settings->enabled || !b->others)
        return 0;
    r = bpf_remove_sets(b->folder, b->set, why);
    b->others = r < 0;
    return r;
}

int bpf_commit_again(struct bpf *b, struct bpf_settings *ret, struct why *why)
{
    union bpf_key key;
    uint32_t zero = 0;
    struct map_config c;

    if (bpf_map_lookup_elem(b->maps[BPF_MAP_CONFIG], &zero, &c) < 0)
        return why_set(why, -errno, "cannot read the BPF map config: %m");
    if (!c.enabled)
        return -ENODATA;
    b->new_executables = bpf_map_get_next_key(b->maps[BPF_MAP_EXECUTABLES], NULL, &key) == 0;
    *ret = (struct bpf_settings){
        .enabled = true,
        .mark_all = c.flags & MAP_CONFIG_MARK_ALL,
        .default_netid = c.default_netid,
        .first_application_uid = c.first_application_uid,
    };
    return bpf_commit(b, ret, why);
}

/* A run of the iterator, to be read to its end. An fd, or -errno. */
static int start_iterator(struct bpf *b, enum bpf_iterator i)
{
    _cleanup_fd_ int link = bpf_link_create(b->iterators[i], 0, BPF_TRACE_ITER, NULL);

    return link < 0 ? link : bpf_iter_create(link);
}

int bpf_fill(struct bpf *b, struct why *why)
{
    _cleanup_fd_ int fd = start_iterator(b, BPF_ITERATOR_FILL);
    ssize_t n = fd;
    char buf[64];

    while (n >= 0) {
        n = read(fd, buf, sizeof(buf));
        if (n == 0)
            return 0;
        n = n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
    }
    return why_set(why, (int)n, "cannot go through the open files: %s", strerror((int)-n));
}

int bpf_identify(struct bpf *b, int wanted, struct map_executable *ret, struct why *why)
{
    _cleanup_fd_ int fd = start_iterator(b, BPF_ITERATOR_OWN_FILES);
    struct map_own_file files[64];
    ssize_t n = fd;

    while (n >= 0) {
        n = read(fd, files, sizeof(files)); /* whole records: the kernel's buffer is full of them */
        if (n == 0)
            return why_set(why, -EBADF, "cannot identify a file: the fd %d is not open", wanted);
        n = n < 0 && errno != EAGAIN && errno != EINTR ? -errno : n;
        for (ssize_t i = 0; i < n / (ssize_t)sizeof(files[0]); i++)
            if (files[i].fd == (uint32_t)wanted) {
                *ret = files[i].executable;
                return 0;
            }
    }
    return why_set(why, (int)n, "cannot identify a file: %s", strerror((int)-n));
}

struct map_executable bpf_executable(dev_t dev, ino_t ino)
{
    return (struct map_executable){ .dev = ((uint64_t)major(dev) << 20) | minor(dev), .ino = ino };
}

dev_t bpf_executable_device(const struct map_executable *executable)
{
    return makedev((unsigned)(executable->dev >> 20), (unsigned)(executable->dev & 0xfffff));
}

static int compare_sockets(const void *x, const void *y)
{
    const struct map_socket *a = x, *b = y;
    return CMP(a->cookie, b->cookie);
}

/* A run over the storages of the map of sockets. An fd, or -errno. */
static int start_records(struct bpf *b)
{
    union bpf_iter_link_info info = { .map.map_fd = (uint32_t)b->maps[BPF_MAP_SOCKETS] };
    const struct bpf_link_create_opts options = { .sz = sizeof(options),
                                                  .iter_info = &info,
                                                  .iter_info_len = sizeof(info) };
    _cleanup_fd_ int link =
        bpf_link_create(b->iterators[BPF_ITERATOR_RECORDS], 0, BPF_TRACE_ITER, &options);

    return link < 0 ? link : bpf_iter_create(link);
}

int bpf_read_sockets(struct bpf *b, struct map_socket **ret, size_t *n, size_t *cap,
                     struct why *why)
{
    _cleanup_fd_ int fd = start_records(b);
    struct map_socket some[64];
    ssize_t got = fd;

    *n = 0;
    while (got >= 0) {
        got = read(fd, some, sizeof(some)); /* whole records, as in bpf_identify() */
        if (got == 0)
            break;
        got = got < 0 && errno != EAGAIN && errno != EINTR ? -errno : got;
        for (ssize_t i = 0; i < got / (ssize_t)sizeof(some[0]); i++)
            if (ARRAY_PUSH(*ret, *n, *cap, some[i]) < 0)
                return -ENOMEM;
    }
    if (*n > 0)
        qsort(*ret, *n, sizeof(**ret), compare_sockets);
    return got < 0 ? why_set(why, (int)got, "cannot go through the records of sockets: %s",
                             strerror((int)-got))
                   : 0;
}
