/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "apply/bpf-internal.h"
#include "basic/fd.h"
#include "basic/hash.h"
#include "bpf/socket.skel.h"

DEFINE_CLEANUP(DIR *, closedir)
#define _cleanup_dir_ _cleanup_(closedirp)

DEFINE_CLEANUP(struct socket_bpf *, socket_bpf__destroy)
#define _cleanup_skeleton_ _cleanup_(socket_bpf__destroyp)

/* In the order in which they are attached: the guard stands before marks lead anywhere. */
static const struct {
    const char *name;
    uint32_t attach_type;
    size_t program; /* in struct socket_bpf */
} programs[] = {
#define PROGRAM(name, type)                                  \
    {                                                        \
#name, type, offsetof(struct socket_bpf, progs.name) \
    }
    PROGRAM(egress, BPF_CGROUP_INET_EGRESS),      PROGRAM(ingress, BPF_CGROUP_INET_INGRESS),
    PROGRAM(create, BPF_CGROUP_INET_SOCK_CREATE), PROGRAM(connect4, BPF_CGROUP_INET4_CONNECT),
    PROGRAM(connect6, BPF_CGROUP_INET6_CONNECT),  PROGRAM(sendmsg4, BPF_CGROUP_UDP4_SENDMSG),
    PROGRAM(sendmsg6, BPF_CGROUP_UDP6_SENDMSG),
#undef PROGRAM
};

static const struct {
    const char *name;
    size_t program;
} iterators[BPF_ITERATOR_MAX] = {
    [BPF_ITERATOR_FILL] = { "fill", offsetof(struct socket_bpf, progs.fill) },
    [BPF_ITERATOR_OWN_FILES] = { "own_files", offsetof(struct socket_bpf, progs.own_files) },
    [BPF_ITERATOR_RECORDS] = { "records", offsetof(struct socket_bpf, progs.records) },
};

static const struct {
    const char *name;
    size_t map;
} maps[BPF_MAP_ID_MAX] = {
#define ROW(id, name) [BPF_MAP_##id] = { #name, offsetof(struct socket_bpf, maps.name) }
    ROW(UIDS, uids),         ROW(VPNS, vpns),
    ROW(CGROUPS, cgroups),   ROW(EXECUTABLES, executables),
    ROW(PLACES, places),     ROW(PATHS, paths),
    ROW(NETWORKS, networks), ROW(PORTS, ports),
    ROW(OUTSIDE, outside),   ROW(INTERFACES, interfaces),
    ROW(USERS, users),       ROW(SOCKETS, sockets),
    ROW(STATS, stats),       ROW(CONFIG, config),
#undef ROW
};

static struct bpf_program *skeleton_program(struct socket_bpf *skel, size_t offset)
{
    return *(struct bpf_program **)((char *)skel + offset);
}

static struct bpf_map *skeleton_map(struct socket_bpf *skel, size_t offset)
{
    return *(struct bpf_map **)((char *)skel + offset);
}

const char *bpf_map_name(enum bpf_map_id id)
{
    return maps[id].name;
}

static struct bpf *bpf_new(void)
{
    struct bpf *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    for (int i = 0; i < BPF_MAP_ID_MAX; i++)
        b->maps[i] = -1;
    for (int i = 0; i < BPF_ITERATOR_MAX; i++)
        b->iterators[i] = -1;
    return b;
}

static void close_maps(struct bpf *b)
{
    for (int i = 0; i < BPF_MAP_ID_MAX; i++) {
        fd_closep(&b->maps[i]);
        b->maps[i] = -1;
    }
}

void bpf_close(struct bpf *b)
{
    if (!b)
        return;
    close_maps(b);
    for (int i = 0; i < BPF_ITERATOR_MAX; i++)
        fd_closep(&b->iterators[i]);
    free(b->folder);
    free(b->set);
    free(b);
}

bool bpf_has_past(const struct bpf *b)
{
    return b->has_past;
}

int bpf_cgroup_id(const char *path, uint64_t *ret, struct why *why)
{
    struct statfs fs;
    struct stat st;

    if (statfs(path, &fs) < 0 || stat(path, &st) < 0)
        return why_set(why, -errno, "cannot find the cgroup %s: %m", path);
    if ((uint64_t)fs.f_type != CGROUP2_SUPER_MAGIC)
        return why_set(why, -ENOTDIR, "%s is no cgroup of version 2", path);
    *ret = st.st_ino;
    return 0;
}

/* `<set>/<kind><name>`, opened, or -errno. */
static int get_pin(const char *folder, const char *set, const char *kind, const char *name)
{
    _cleanup_free_ char *path = NULL;
    int fd;

    if (asprintf(&path, "%s/%s/%s%s", folder, set, kind, name) < 0)
        return -ENOMEM;
    fd = bpf_obj_get(path);
    return fd < 0 ? -errno : fd;
}

static int put_pin(const char *folder, const char *set, const char *kind, const char *name, int fd,
                   struct why *why)
{
    _cleanup_free_ char *path = NULL;

    if (asprintf(&path, "%s/%s/%s%s", folder, set, kind, name) < 0)
        return -ENOMEM;
    if (bpf_obj_pin(fd, path) < 0)
        return why_set(why, -errno, "cannot pin %s: %m", path);
    return 0;
}

/* Is this program attached to that cgroup? A link whose cgroup was removed says 0. */
static bool link_stands(const char *folder, const char *set, size_t i, uint64_t cgroup)
{
    _cleanup_fd_ int fd = get_pin(folder, set, "link_", programs[i].name);
    struct bpf_link_info info = { 0 };
    uint32_t size = sizeof(info);

    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
           info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup &&
           info.cgroup.attach_type == programs[i].attach_type;
}

static int read_config(int fd, struct map_config *ret)
{
    struct bpf_map_info info = { 0 };
    uint32_t size = sizeof(info), zero = 0;

    if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
        return -errno;
    if (info.value_size != sizeof(*ret))
        return -EPROTO; /* of another layout */
    return bpf_map_lookup_elem(fd, &zero, ret) < 0 ? -errno : 0;
}

/* What a set is worth to us; the greater the better. */
enum worth { WORTH_NOTHING, WORTH_MAPS, WORTH_MAPS_ENABLED, WORTH_ALL, WORTH_ALL_ENABLED };

static enum worth judge_set(const char *folder, const char *set, const char *ours, uint64_t cgroup)
{
    _cleanup_fd_ int fd = get_pin(folder, set, "", maps[BPF_MAP_CONFIG].name);
    struct map_config c = { 0 };
    bool stands = startswith(set, ours);

    if (fd < 0 || read_config(fd, &c) < 0 || c.abi != MAPS_ABI)
        return WORTH_NOTHING;
    for (size_t i = 0; i < ELEMENTSOF(programs) && stands; i++)
        stands = link_stands(folder, set, i, cgroup);
    return (stands ? WORTH_ALL : WORTH_MAPS) + (c.enabled ? 1U : 0U);
}

static enum worth find_set(const char *folder, const char *ours, uint64_t cgroup, char **ret_set)
{
    _cleanup_dir_ DIR *d = opendir(folder);
    enum worth best = WORTH_NOTHING;

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        enum worth worth =
            e->d_name[0] == '.' ? WORTH_NOTHING : judge_set(folder, e->d_name, ours, cgroup);
        char *name = worth > best ? strdup(e->d_name) : NULL;

        if (!name)
            continue;
        free(*ret_set);
        *ret_set = name;
        best = worth;
    }
    return best;
}

static int adopt_maps(struct bpf *b, const char *set)
{
    int r = 0;

    for (int i = 0; i < BPF_MAP_ID_MAX && r >= 0; i++)
        r = b->maps[i] = get_pin(b->folder, set, "", maps[i].name);
    return r;
}

static int adopt_iterators(struct bpf *b, const char *set)
{
    int r = 0;

    for (int i = 0; i < BPF_ITERATOR_MAX && r >= 0; i++)
        r = b->iterators[i] = get_pin(b->folder, set, "prog_", iterators[i].name);
    return r;
}

/* Programs in, on the maps of b where it has some; then b has all fds. */
static int load(struct bpf *b, struct socket_bpf *skel, struct why *why)
{
    int r = 0;

    for (int i = 0; i < BPF_MAP_ID_MAX && r == 0; i++)
        if (b->maps[i] >= 0)
            r = bpf_map__reuse_fd(skeleton_map(skel, maps[i].map), b->maps[i]);
    if (r < 0)
        return why_set(why, r, "cannot take over a map: %s", strerror(-r));
    r = bpf_load(skel, why);
    for (int i = 0; i < BPF_MAP_ID_MAX && r == 0; i++) {
        fd_closep(&b->maps[i]);
        b->maps[i] = fcntl(bpf_map__fd(skeleton_map(skel, maps[i].map)), F_DUPFD_CLOEXEC, 3);
        r = b->maps[i] < 0 ? -errno : 0;
    }
    for (int i = 0; i < BPF_ITERATOR_MAX && r == 0; i++) {
        fd_closep(&b->iterators[i]);
        b->iterators[i] = fcntl(bpf_program__fd(skeleton_program(skel, iterators[i].program)),
                                F_DUPFD_CLOEXEC, 3);
        r = b->iterators[i] < 0 ? -errno : 0;
    }
    return r;
}

/* The first config of new maps: whose sockets are ours; and nothing to be done about them yet. */
static int write_first_config(struct bpf *b, struct why *why)
{
    struct map_config c = { .abi = MAPS_ABI, .netns = b->netns, .generation = 1 };
    uint32_t zero = 0;

    if (bpf_map_update_elem(b->maps[BPF_MAP_CONFIG], &zero, &c, BPF_ANY) < 0)
        return why_set(why, -errno, "cannot write the map config: %m");
    return 0;
}

static int attach(struct bpf *b, struct socket_bpf *skel, int cgroup, struct why *why)
{
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(programs) && r == 0; i++) {
        struct bpf_program *p = skeleton_program(skel, programs[i].program);
        struct bpf_link *link = bpf_program__attach_cgroup(p, cgroup);

        if (!link)
            return why_set(why, -errno, "cannot attach the BPF program %s to the cgroup: %m",
                           programs[i].name);
        r = put_pin(b->folder, b->set, "link_", programs[i].name, bpf_link__fd(link), why);
        (void)bpf_link__destroy(link); /* an fd: pinned, it stays attached */
    }
    return r;
}

static int pin(struct bpf *b, struct why *why)
{
    int r = 0;

    for (int i = 0; i < BPF_ITERATOR_MAX && r == 0; i++)
        r = put_pin(b->folder, b->set, "prog_", iterators[i].name, b->iterators[i], why);
    for (int i = 0; i < BPF_MAP_ID_MAX && r == 0; i++)
        r = put_pin(b->folder, b->set, "", maps[i].name, b->maps[i], why);
    return r;
}

static int make_folder(const char *path, struct why *why)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return why_set(why, -errno, "cannot make the folder %s: %m", path);
    return 0;
}

/* `<ours>-<n>`, the first that is not taken. (A bpffs allows no dots.) */
static int make_set(struct bpf *b, const char *ours, struct why *why)
{
    for (int n = 0;; n++) {
        _cleanup_free_ char *path = NULL;

        free(b->set);
        b->set = NULL;
        if (asprintf(&b->set, "%s-%d", ours, n) < 0) {
            b->set = NULL;
            return -ENOMEM;
        }
        if (asprintf(&path, "%s/%s", b->folder, b->set) < 0) {
            path = NULL;
            return -ENOMEM;
        }
        if (mkdir(path, 0700) == 0)
            return 0;
        if (errno != EEXIST)
            return why_set(why, -errno, "cannot make the folder %s: %m", path);
    }
}

static int open_new(struct bpf *b, struct socket_bpf *skel, const char *ours, const char *cgroup,
                    struct why *why)
{
    _cleanup_fd_ int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fresh = b->maps[0] < 0;
    int r;

    if (fd < 0)
        return why_set(why, -errno, "cannot open the cgroup %s: %m", cgroup);
    r = load(b, skel, why);
    if (r == 0 && fresh)
        r = write_first_config(b, why);
    if (r == 0)
        r = make_set(b, ours, why);
    if (r < 0)
        return r;
    r = attach(b, skel, fd, why);
    if (r == 0)
        r = pin(b, why);
    if (r < 0)
        (void)bpf_remove_set(b->folder, b->set, NULL);
    return r;
}

static int make_folders(struct bpf *b, const char *fs, struct why *why)
{
    _cleanup_free_ char *top = NULL;
    struct statfs st;
    int r;

    if (statfs(fs, &st) < 0 || (uint64_t)st.f_type != BPF_FS_MAGIC)
        return why_set(why, -ENOTDIR, "%s is no bpffs: mount -t bpf bpf %s", fs, fs);
    if (asprintf(&top, "%s/waymark", fs) < 0) {
        top = NULL;
        return -ENOMEM;
    }
    if (asprintf(&b->folder, "%s/%llu", top, (unsigned long long)b->netns) < 0) {
        b->folder = NULL;
        return -ENOMEM;
    }
    r = make_folder(top, why);
    return r < 0 ? r : make_folder(b->folder, why);
}

/* What the programs are compiled from, as 16 digits. */
static void fingerprint(char ours[static 17])
{
    size_t size;
    const void *object = socket_bpf__elf_bytes(&size);

    snprintf(ours, 17, "%08x%08x", hash_bytes(object, size, 0), hash_bytes(object, size, 1));
}

/* Takes over what there is, as far as it goes. True when nothing is to be loaded. */
static bool adopt(struct bpf *b, const char *ours, uint64_t cgroup)
{
    _cleanup_free_ char *set = NULL;
    enum worth worth = find_set(b->folder, ours, cgroup, &set);

    if (worth == WORTH_NOTHING || adopt_maps(b, set) < 0) {
        close_maps(b);
        return false;
    }
    b->has_past = true;
    if (worth < WORTH_ALL || adopt_iterators(b, set) < 0)
        return false;
    b->set = TAKE_PTR(set);
    return true;
}

/* Sets that ours replaces go now, when ours enforces; or else with the first bpf_commit(). */
static int retire_others(struct bpf *b, struct why *why)
{
    struct map_config c = { 0 };
    int r = read_config(b->maps[BPF_MAP_CONFIG], &c);

    if (r < 0)
        return why_set(why, r, "cannot read the map config: %s", strerror(-r));
    b->others = true;
    if (!c.enabled)
        return 0;
    r = bpf_remove_sets(b->folder, b->set, why);
    b->others = r < 0;
    return r;
}

int bpf_open(const char *cgroup, const char *fs, struct bpf **ret, struct why *why)
{
    _cleanup_bpf_ struct bpf *b = bpf_new();
    uint64_t id = 0;
    char ours[17];
    int r;

    if (!b)
        return -ENOMEM;
    r = bpf_netns_cookie(&b->netns);
    if (r < 0)
        return why_set(why, r, "the kernel numbers no network namespaces (before 5.14): %s",
                       strerror(-r));
    r = bpf_cgroup_id(cgroup, &id, why);
    if (r == 0)
        r = make_folders(b, fs, why);
    if (r < 0)
        return r;

    fingerprint(ours);
    if (!adopt(b, ours, id)) {
        _cleanup_skeleton_ struct socket_bpf *skel = bpf_load_open(why);

        r = skel ? open_new(b, skel, ours, cgroup, why) : -ENOEXEC;
    }
    if (r == 0)
        r = retire_others(b, why);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(b);
    return 0;
}
