/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/epoll.h>

#include "apply/bpf.h"
#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/change.h"
#include "daemon/panic.h"
#include "daemon/reconcile.h"
#include "observe/facts.h"
#include "observe/selectors.h"

/*
 * Whoever replaces files all the time must not keep us from all else. What is late is known by its
 * place meanwhile.
 */
enum { EVENTS_PER_SEC = 50, MOUNTS_MSEC = 1000 };

/*
 * Asked first: a sandbox that does not give the capability may not let anybody ask for programs either,
 * by a signal instead of an errno.
 */
static int check_capabilities(struct why *why)
{
    if (facts_has_capability(CAP_SYS_ADMIN) ||
        (facts_has_capability(CAP_BPF) && facts_has_capability(CAP_PERFMON)))
        return 0;
    return why_set(why, -EPERM, "waymarkd has not the capabilities CAP_BPF and CAP_PERFMON");
}

int backend_find_cgroup(const struct manager_options *options, struct backend_root *root,
                        const char **ret, struct why *why)
{
    int r = check_capabilities(why);

    if (r < 0)
        return r;
    if (!options->cgroup && !facts_cgroup2(root->path, sizeof(root->path)))
        return why_set(why, -ENOENT, "cgroup2 is mounted nowhere");
    *ret = options->cgroup ? options->cgroup : root->path;
    return 0;
}

static int open_maps(struct manager *m, struct why *why)
{
    struct backend_root root;
    const char *cgroup;
    int r = backend_find_cgroup(&m->options, &root, &cgroup, why);

    if (r < 0)
        return r;
    r = selectors_open(&m->selectors);
    if (r < 0)
        return why_set(why, r, "cannot watch programs and cgroups: %s", strerror(-r));
    r = applier_open_maps(&m->applier, cgroup, m->options.bpffs, why);
    if (r < 0) /* with an errno, where the kernel lacks something; the probe knows what */
        (void)bpf_probe(cgroup, m->options.bpffs, why);
    return r;
}

void backend_open(struct manager *m)
{
    struct why why = { 0 };
    int r;

    m->maps_unknown = m->maps_left = applier_has_left_maps(m->options.bpffs);
    m->applier.bpffs = m->options.bpffs;
    if (m->options.backend == BACKEND_RULES)
        return;
    r = open_maps(m, &why);
    if (r < 0) {
        log_full(m->options.backend == BACKEND_MAPS ? LOG_WARNING : LOG_NOTICE,
                 "back-end maps cannot be had, so it is rules: %s", why_text(&why, r));
        selectors_close(m->selectors);
        m->selectors = NULL;
        return;
    }
    r = panic_note_bpffs(&m->options);
    if (r < 0)
        log_warning_errno(r,
                          "cannot note in %s where the programs are kept: panic-off without a "
                          "daemon will look in /sys/fs/bpf",
                          m->options.runtime_dir);
    m->maps_unknown = true;
}

void backend_close(struct manager *m)
{
    sd_event_source_unref(m->selectors_source);
    sd_event_source_unref(m->mounts_source);
    selectors_close(m->selectors);
}

/* Programs and cgroups are looked up; what follows from that is applied as after any event. */
static void settle(struct manager *m, int changed)
{
    struct why why = { 0 };
    int r = changed;

    if (r > 0)
        r = manager_settle(m, NULL, NULL, &why);
    if (r < 0)
        reconcile_failed(m, r, &why);
}

static int on_selectors(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct manager *m = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    settle(m, selectors_dispatch(m->selectors));
    return 0;
}

/* What lies at a path may be something else when there is another mount. */
static int on_mounts(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct manager *m = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    settle(m, selectors_refresh(m->selectors));
    return 0;
}

static int watch_mounts(struct manager *m)
{
    _cleanup_fd_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0)
        return -errno;
    r = sd_event_add_io(m->event, &m->mounts_source, fd, EPOLLPRI, on_mounts, m);
    if (r >= 0)
        r = sd_event_source_set_io_fd_own(m->mounts_source, true);
    if (r < 0)
        return r;
    (void)TAKE_FD(fd);
    return sd_event_source_set_ratelimit(m->mounts_source, MOUNTS_MSEC * USEC_PER_MSEC, 1);
}

int backend_watch(struct manager *m)
{
    int r;

    if (!m->selectors)
        return 0;
    r = sd_event_add_io(m->event, &m->selectors_source, selectors_fd(m->selectors), EPOLLIN,
                        on_selectors, m);
    if (r >= 0)
        r = sd_event_source_set_ratelimit(m->selectors_source, USEC_PER_SEC, EVENTS_PER_SEC);
    if (r >= 0)
        r = watch_mounts(m);
    return MIN(r, 0);
}

size_t backend_count_unsupported(const struct model *model)
{
    size_t n = 0;

    for (size_t i = 0; i < model->assignments->n; i++)
        n += selector_check_supported(&model->assignments->items[i].selector, false, NULL) < 0;
    return n;
}

int backend_apps(struct manager *m, const struct model *model, const struct plan_app **ret,
                 size_t *ret_n)
{
    int r = m->selectors ? selectors_update(m->selectors, model->assignments) : 0;

    if (r < 0)
        return r;
    *ret_n = 0;
    *ret = m->selectors ? selectors_apps(m->selectors, ret_n) : NULL;
    return 0;
}

const struct plan_place *backend_places(const struct manager *m, size_t *ret_n)
{
    *ret_n = 0;
    return m->selectors ? selectors_places(m->selectors, ret_n) : NULL;
}

bool backend_wants_scan(const struct manager *m)
{
    return m->selectors && selectors_n_old(m->selectors) > 0;
}

void backend_scan(struct manager *m)
{
    if (backend_wants_scan(m))
        settle(m, selectors_scan(m->selectors));
}
