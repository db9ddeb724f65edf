/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading the programs, and finding out what a kernel lacks that cannot.
 */
#include "apply/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "apply/bpf-internal.h"
#include "basic/strbuf.h"
#include "bpf/socket.skel.h"

enum { VERIFIER_LOG = 64 * 1024 };

struct socket_bpf *bpf_load_open(struct why *why)
{
    struct socket_bpf *skel;

    (void)libbpf_set_print(NULL); /* what it has to say goes into `why` */
    skel = socket_bpf__open();
    if (!skel)
        (void)why_set(why, -errno, "cannot read the BPF programs: %m");
    return skel;
}

/* The last line of a verifier's log that says something; the very last are statistics. */
static const char *last_line(char *log)
{
    const char *found = "";

    for (char *rest = log, *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        if (*line && !startswith(line, "processed ") && !startswith(line, "verification time") &&
            !startswith(line, "stack depth"))
            found = line;
    return found;
}

int bpf_load(struct socket_bpf *skel, struct why *why)
{
    _cleanup_free_ char *log = calloc(1, VERIFIER_LOG);
    struct bpf_program *p;
    int r;

    if (!log)
        return -ENOMEM;
    /* programs are loaded one after the other, up to the one that fails: they can share it */
    bpf_object__for_each_program(p, skel->obj)(void) bpf_program__set_log_buf(p, log, VERIFIER_LOG);
    r = socket_bpf__load(skel);
    if (r < 0 && *log)
        return why_set(why, r, "the kernel refuses a BPF program: %s", last_line(log));
    return r < 0 ? why_set(why, r, "cannot load the BPF programs: %s", strerror(-r)) : 0;
}

static bool is_fs(const char *path, uint64_t magic)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && (uint64_t)fs.f_type == magic;
}

/* What libbpf can ask for one by one, so that all that is missing is said at once. */
static const struct {
    const char *name;
    enum bpf_prog_type type;
} program_types[] = {
    { "programs of type cgroup/sock", BPF_PROG_TYPE_CGROUP_SOCK },
    { "programs of type cgroup/sock_addr", BPF_PROG_TYPE_CGROUP_SOCK_ADDR },
    { "programs of type cgroup/skb", BPF_PROG_TYPE_CGROUP_SKB },
};

static const struct {
    const char *name;
    enum bpf_map_type type;
} map_types[] = {
    { "LPM tries", BPF_MAP_TYPE_LPM_TRIE },
    { "storage in sockets", BPF_MAP_TYPE_SK_STORAGE },
    { "LRU hashes per processor", BPF_MAP_TYPE_LRU_PERCPU_HASH },
};

static const struct {
    const char *name;
    enum bpf_prog_type type;
    enum bpf_func_id helper;
} helpers[] = {
    { "bpf_get_netns_cookie", BPF_PROG_TYPE_CGROUP_SOCK, BPF_FUNC_get_netns_cookie },
    { "bpf_sk_storage_get for new sockets", BPF_PROG_TYPE_CGROUP_SOCK, BPF_FUNC_sk_storage_get },
    { "bpf_get_current_task_btf", BPF_PROG_TYPE_CGROUP_SOCK, BPF_FUNC_get_current_task_btf },
    { "bpf_probe_read_kernel", BPF_PROG_TYPE_CGROUP_SKB, BPF_FUNC_probe_read_kernel },
    { "bpf_setsockopt at connect()", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_setsockopt },
};

static void miss(struct strbuf *missing, const char *what)
{
    strbuf_add(missing, "%s%s", strbuf_text(missing)[0] ? ", " : "", what);
}

static void probe_features(struct strbuf *missing)
{
    if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
        miss(missing, "BTF (/sys/kernel/btf/vmlinux: CONFIG_DEBUG_INFO_BTF)");
    for (size_t i = 0; i < ELEMENTSOF(program_types); i++)
        if (libbpf_probe_bpf_prog_type(program_types[i].type, NULL) == 0)
            miss(missing, program_types[i].name);
    for (size_t i = 0; i < ELEMENTSOF(map_types); i++)
        if (libbpf_probe_bpf_map_type(map_types[i].type, NULL) == 0)
            miss(missing, map_types[i].name);
    for (size_t i = 0; i < ELEMENTSOF(helpers); i++)
        if (libbpf_probe_bpf_helper(helpers[i].type, helpers[i].helper, NULL) == 0)
            miss(missing, helpers[i].name);
}

/* 0, or why bpf(2) is not for us at all. */
static int probe_call(struct why *why)
{
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "waymark_probe", 4, 4, 1, NULL);

    if (fd >= 0)
        return close(fd);
    if (fd == -EPERM)
        return why_set(why, -EOPNOTSUPP,
                       "bpf(2) is not allowed: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed");
    return why_set(why, -EOPNOTSUPP, "the kernel has no BPF (CONFIG_BPF_SYSCALL): %s",
                   strerror(-fd));
}

static int probe_load(struct why *why)
{
    struct socket_bpf *skel = bpf_load_open(why);
    int r;

    if (!skel)
        return -EOPNOTSUPP;
    r = bpf_load(skel, why);
    socket_bpf__destroy(skel);
    return r < 0 ? -EOPNOTSUPP : 0;
}

int bpf_probe(const char *cgroup, const char *fs, struct why *why)
{
    struct strbuf missing = STRBUF_INIT;
    int r;

    (void)libbpf_set_print(NULL);
    r = probe_call(why);
    if (r < 0)
        return r;
    if (!is_fs(cgroup, CGROUP2_SUPER_MAGIC))
        strbuf_add(&missing, "cgroup2 at %s", cgroup);
    if (!is_fs(fs, BPF_FS_MAGIC)) {
        miss(&missing, "a bpffs at ");
        strbuf_add(&missing, "%s (mount -t bpf bpf %s)", fs, fs);
    }
    probe_features(&missing);
    if (strbuf_text(&missing)[0])
        r = why_set(why, -EOPNOTSUPP, "missing: %s", strbuf_text(&missing));
    strbuf_done(&missing);
    return r < 0 ? r : probe_load(why);
}
