/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apply/nft.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"

enum { ROUNDS = 8, PATH_SIZE = 512 };

static int runtime_path(const struct manager_options *options, const char *name,
                        char path[static PATH_SIZE])
{
    return snprintf(path, PATH_SIZE, "%s/%s", options->runtime_dir, name) < PATH_SIZE
               ? 0
               : -ENAMETOOLONG;
}

bool manager_off_marked(const struct manager_options *options)
{
    char path[PATH_SIZE];

    return runtime_path(options, "panic-off", path) == 0 && access(path, F_OK) == 0;
}

bool manager_is_off(const struct manager *m)
{
    return m->off_unmarked || manager_off_marked(&m->options);
}

int manager_mark_off(const struct manager_options *options, bool off)
{
    char path[PATH_SIZE];
    int r = runtime_path(options, "panic-off", path);

    if (r < 0)
        return r;
    if (!off)
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    (void)mkdir(options->runtime_dir, 0755);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : 0;
}

int panic_note_sysctls(const struct manager_options *options, struct applier *a)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    int values[SYSCTL_MAX];
    char path[PATH_SIZE];
    int r = runtime_path(options, "sysctls", path);

    if (r < 0 || access(path, F_OK) == 0)
        return r;
    applier_read_sysctls(a, values);
    for (int i = 0; i < SYSCTL_MAX; i++)
        strbuf_add(&b, "%d\n", values[i]);
    return b.failed ? -ENOMEM : fd_replace_file(path, b.data, b.size, 0644);
}

/* The values that were noted; 0, the kernel's default, for those that were not. */
static void read_noted_sysctls(const struct manager_options *options, int values[static SYSCTL_MAX])
{
    _cleanup_free_ char *text = NULL;
    char path[PATH_SIZE], *save = NULL, *line;

    memset(values, 0, SYSCTL_MAX * sizeof(*values));
    if (runtime_path(options, "sysctls", path) < 0 || fd_read_file(path, 256, &text, NULL) < 0)
        return;
    line = strtok_r(text, "\n", &save);
    for (int i = 0; line && i < SYSCTL_MAX; i++, line = strtok_r(NULL, "\n", &save)) {
        uint32_t value;

        if (parse_u32(line, 1, &value) == 0)
            values[i] = (int)value;
    }
}

int panic_note_bpffs(const struct manager_options *options)
{
    char path[PATH_SIZE];
    int r = runtime_path(options, "bpffs", path);

    return r < 0 ? r : fd_replace_file(path, options->bpffs, strlen(options->bpffs), 0644);
}

/* Where the options say, and where a daemon with other options has noted that its are. */
static int take_out_maps(const struct manager_options *options, struct applier *a, struct why *why)
{
    _cleanup_free_ char *noted = NULL;
    char path[PATH_SIZE];
    int r;

    a->bpffs = options->bpffs;
    r = applier_remove_maps(a, why);
    if (runtime_path(options, "bpffs", path) < 0 || fd_read_file(path, PATH_MAX, &noted, NULL) < 0)
        return r;
    a->bpffs = noted;
    r = MIN(r, streq(noted, options->bpffs) ? 0 : applier_remove_maps(a, why));
    a->bpffs = options->bpffs;
    return r;
}

/* What could not be taken out, as a list for people; the first error is the one that counts. */
struct leftovers {
    struct strbuf text;
    int error;
};

static void note_left(struct leftovers *l, int error, const char *what, const struct why *why)
{
    if (error >= 0)
        return;
    if (l->error == 0)
        l->error = error;
    strbuf_add(&l->text, "%s%s: %s", l->text.size > 0 ? "; " : "", what, why_text(why, error));
}

/*
 * One round: dump, delete what is ours, passing over what fails. Returns how many were there; -EINTR
 * when there were none, but others' changes tore the dump apart.
 */
static ssize_t one_round(struct observer *o, struct applier *a, struct why *why)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *empty = plan_new_empty();
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_ops_ struct ops ops = { 0 };
    struct rule_list extra = { 0 };
    int torn = empty ? observer_glimpse(o, &k) : -ENOMEM, r = torn == -EINTR ? 0 : torn;

    if (r == 0)
        r = plan_from_kernel(&k, unknown, &stands, &extra);
    if (r == 0)
        r = plan_diff(stands, empty, &extra, &ops);
    free(extra.items);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
    for (size_t i = 0; i < ops.n; i++)
        (void)applier_apply(a, &ops.items[i], why);
    return ops.n > 0 ? (ssize_t)ops.n : torn;
}

/* Also when a dump fails or is torn apart: the next one may be better, and has less to tell. */
static int take_out_rules(struct observer *o, struct applier *a, struct why *why)
{
    ssize_t left = -EINTR;

    for (int i = 0; i < ROUNDS && left != 0; i++)
        left = one_round(o, a, why);
    if (left == -EINTR)
        return why_set(why, -EBUSY,
                       "others change rules and routes so fast that nobody can tell whether all of "
                       "ours are gone: run it again");
    if (left > 0)
        return why_set(why, -EBUSY, "%zd are still there: %s", left, why_text(why, -EBUSY));
    return (int)left;
}

/* Also when the probe of nftables failed: it may have been another failure than its absence. */
static int take_out_table(struct applier *a, struct why *why)
{
    struct nlsock own = NLSOCK_INIT, *s = a->has_guard ? &a->nft : &own;
    int r = a->has_guard ? 0 : nlsock_open(&own, NETLINK_NETFILTER);
    unsigned commits = 0;

    if (r < 0)
        return 0; /* no nftables at all */
    r = nft_table_exists(s);
    if (r > 0 || (r < 0 && a->has_guard))
        r = nft_apply_guard(s, NULL, NULL, false, &commits, why);
    else
        r = 0;
    nlsock_close(&own);
    return r;
}

int panic_run(const struct manager_options *options, struct observer *o, struct applier *a,
              struct why *why)
{
    struct leftovers left = { .text = STRBUF_INIT };
    struct why reason = { 0 };
    int sysctls[SYSCTL_MAX];

    note_left(&left, take_out_rules(o, a, &reason), "rules and routes", &reason);
    reason = (struct why){ 0 };
    note_left(&left, take_out_table(a, &reason), "the nftables table", &reason);
    reason = (struct why){ 0 };
    note_left(&left, take_out_maps(options, a, &reason), "programs at the cgroup", &reason);
    read_noted_sysctls(options, sysctls);
    for (int i = 0; i < SYSCTL_MAX; i++) {
        struct op op = { .kind = OP_SYSCTL, .sysctl = { (enum plan_sysctl)i, -1, sysctls[i] } };

        reason = (struct why){ 0 };
        if (a->has_sysctl[i])
            note_left(&left, applier_apply(a, &op, &reason), "a sysctl", &reason);
    }
    if (left.error < 0)
        (void)why_set(why, left.error, "not all of it is gone. %s", strbuf_text(&left.text));
    strbuf_done(&left.text);
    return left.error;
}

int panic_mark(const struct manager_options *options, struct why *why)
{
    int r = manager_mark_off(options, true);

    return r < 0 ? why_set(why, r, "cannot write %s/panic-off: %s", options->runtime_dir,
                           strerror(-r))
                 : 0;
}

int panic_main(const struct manager_options *options)
{
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    struct why why = { 0 }, unmarked = { 0 };
    int r;

    r = observer_open(&o);
    if (r == 0)
        r = applier_open(&a);
    if (r == -EPERM)
        (void)why_set(&why, r, "%s: run it as root", strerror(-r));
    if (r == 0) {
        /* before anything is deleted: a daemon that runs must not put it back */
        int marked = panic_mark(options, &unmarked);

        r = panic_run(options, &o, &a, &why);
        if (r == 0 && marked < 0)
            r = why_set(&why, marked,
                        "nothing of waymark is left in the kernel, but a waymarkd that runs or "
                        "starts will put it back: stop it. %s",
                        unmarked.text);
    }
    applier_close(&a);
    observer_close(&o);
    if (r < 0) {
        log_error("panic-off: %s", why_text(&why, r));
        return EXIT_FAILURE;
    }
    log_notice(
        "panic-off: nothing of waymark is left in the kernel; `waymark reload` turns it on again");
    return EXIT_SUCCESS;
}
