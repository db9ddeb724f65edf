/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apply/nft.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"

enum { ROUNDS = 3, PATH_SIZE = 512 };

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

/* One round: dump, delete what is ours, passing over what fails. Returns how many were there. */
static ssize_t one_round(struct observer *o, struct applier *a, struct why *why)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *empty = plan_new_empty();
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_ops_ struct ops ops = { 0 };
    struct rule_list extra = { 0 };
    int r = empty ? observer_snapshot(o, &k) : -ENOMEM;

    if (r == 0)
        r = plan_from_kernel(&k, unknown, &stands, &extra);
    if (r == 0)
        r = plan_diff(stands, empty, &extra, &ops);
    free(extra.items);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
    for (size_t i = 0; i < ops.n; i++)
        (void)applier_apply(a, &ops.items[i], why);
    return (ssize_t)ops.n;
}

int panic_run(const struct manager_options *options, struct observer *o, struct applier *a,
              struct why *why)
{
    int sysctls[SYSCTL_MAX];
    ssize_t left = 1;

    for (int i = 0; i < ROUNDS && left > 0; i++)
        left = one_round(o, a, why);
    if (left > 0)
        left = one_round(o, a, why);

    if (a->has_guard && nft_table_exists(&a->nft) != 0) {
        int r = nft_apply_guard(&a->nft, NULL, NULL, why);
        if (r < 0)
            return r;
    }
    read_noted_sysctls(options, sysctls);
    for (int i = 0; i < SYSCTL_MAX; i++) {
        struct op op = { .kind = OP_SYSCTL, .sysctl = { (enum plan_sysctl)i, -1, sysctls[i] } };

        if (a->has_sysctl[i])
            (void)applier_apply(a, &op, NULL);
    }
    if (left < 0)
        return (int)left;
    return left == 0 ? 0
                     : why_set(why, -EBUSY, "%zd rules or routes are still there: %s", left,
                               why_text(why, -EBUSY));
}

int panic_main(const struct manager_options *options)
{
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    struct why why = { 0 };
    int r;

    r = observer_open(&o);
    if (r == 0)
        r = applier_open(&a);
    if (r == -EPERM)
        (void)why_set(&why, r, "%s: run it as root", strerror(-r));
    if (r == 0) {
        /* before anything is deleted: a daemon that runs must not put it back */
        int marked = manager_mark_off(options, true);

        if (marked < 0)
            log_warning_errno(marked, "cannot mark %s: a running waymarkd will restore everything",
                              options->runtime_dir);
        r = panic_run(options, &o, &a, &why);
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
