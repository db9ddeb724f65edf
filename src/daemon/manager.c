/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/manager.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/bus.h"
#include "daemon/change.h"
#include "daemon/netd.h"
#include "daemon/panic.h"
#include "daemon/reconcile.h"
#include "daemon/watch-users.h"
#include "decide/host.h"

const char *notice_kind_to_string(enum notice_kind kind)
{
    static const char *const names[NOTICE_KIND_MAX] = {
        [NOTICE_RESTORED] = "restored", [NOTICE_REJECTED] = "rejected",
        [NOTICE_DEGRADED] = "degraded", [NOTICE_RECOVERED] = "recovered",
        [NOTICE_OFF] = "off",           [NOTICE_ON] = "on",
        [NOTICE_RELOADED] = "reloaded",
    };

    return names[kind];
}

void manager_listen(struct manager *m, const struct listener *listener)
{
    assert(m->n_listeners < LISTENERS_MAX);
    m->listeners[m->n_listeners++] = *listener;
}

void manager_notice(struct manager *m, enum notice_kind kind, const char *format, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    log_full(kind == NOTICE_DEGRADED ? LOG_ERR : LOG_NOTICE, "%s: %s", notice_kind_to_string(kind),
             text);
    for (size_t i = 0; i < m->n_listeners; i++)
        if (m->listeners[i].notice)
            m->listeners[i].notice(m->listeners[i].data, kind, text);
}

/*
 * One daemon per network namespace: a name in the abstract socket space belongs to the namespace
 * and goes with the process.
 */
static int lock_namespace(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "\0waymarkd" };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&addr, offsetof(struct sockaddr_un, sun_path) + 9) < 0) {
        int r = -errno;

        (void)close(fd);
        if (r == -EADDRINUSE)
            log_error("another waymarkd runs in this network namespace");
        return r;
    }
    return 0; /* held until the process ends */
}

/* With --no-host-networks the networks that Android always has are there from the start (§1). */
static int add_builtin(struct model *m, enum network_type type, uint32_t netid, const char *name)
{
    struct network *n;

    if (model_network(m, netid))
        return 0;
    n = network_new();
    if (!n)
        return -ENOMEM;
    (void)str_set(n->name, sizeof(n->name), name);
    n->netid = netid;
    n->type = type;
    n->origin = ORIGIN_RUNTIME;
    return model_put_network(m, n);
}

static int edit_first(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    int r = config_apply(data, m, k, why);

    if (r == 0 && !m->host_networks)
        r = add_builtin(m, NETWORK_LOCAL, NETID_LOCAL, "local");
    if (r == 0 && !m->host_networks)
        r = add_builtin(m, NETWORK_UNREACHABLE, NETID_UNREACHABLE, "unreachable");
    return r < 0 ? r : change_resolve_users(m);
}

/* The command line counts more than the configuration. */
static void use_log_level(const struct manager_options *options, const struct config *config)
{
    int level = options->log_level >= 0 ? options->log_level : config->log_level;

    log_set_max_level(level >= 0 ? level : LOG_INFO);
}

/*
 * The first model: state, configuration, the host. What is in the kernel is adopted by the diff. If
 * the kernel refuses something, the daemon runs on, degraded, and tries again.
 */
static int build_model(struct manager *m, struct config *config, struct why *why)
{
    struct why settle_why = { 0 };
    int r;

    m->model = model_new();
    if (!m->model)
        return -ENOMEM;
    r = store_open(&m->store, m->options.state_dir, m->model, why);
    if (r < 0)
        return r;
    m->model->host_networks = m->options.host_networks;
    r = observer_refresh(&m->observer, &m->kernel);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));

    r = manager_settle(m, edit_first, config, &settle_why);
    if (r < 0) {
        /* was it the configuration, or the kernel? */
        _cleanup_(model_freep) struct model *probe = model_copy(m->model);
        struct model *swap;

        if (!probe)
            return -ENOMEM;
        if (edit_first(probe, &m->kernel, config, why) < 0)
            return r;
        if (host_update(probe, &m->kernel) < 0)
            return -ENOMEM;
        swap = m->model;
        m->model = TAKE_PTR(probe);
        probe = swap;
        m->degraded = true;
        (void)why_set(&m->degraded_why, r, "%s", why_text(&settle_why, r));
        log_error("running degraded: %s", why_text(&settle_why, r));
    }
    return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    struct manager *m = userdata;
    struct why why = { 0 };

    (void)source;
    if (si->ssi_signo == SIGHUP) {
        (void)sd_notify(0, "RELOADING=1");
        if (manager_reload(m, &why) < 0)
            log_error("not reloaded: %s", why.text);
        (void)sd_notify(0, "READY=1");
        return 0;
    }
    return sd_event_exit(m->event, 0);
}

static int start_loop(struct manager *m)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    sigset_t set;
    int r;

    sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    (void)signal(SIGPIPE, SIG_IGN);

    r = sd_event_default(&m->event);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(signals); i++)
        r = sd_event_add_signal(m->event, NULL, signals[i], on_signal, m);
    if (r >= 0)
        r = sd_event_set_watchdog(m->event, true);
    return MIN(r, 0);
}

static int make_runtime_dir(const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return log_error_errno(-errno, "cannot make %s", path);
    return 0;
}

static int open_kernel(struct manager *m)
{
    int r = observer_open(&m->observer);

    if (r < 0)
        return log_error_errno(r, "cannot open a netlink socket");
    r = applier_open(&m->applier);
    if (r < 0)
        return log_error_errno(r, "cannot open a netlink socket");
    m->observer.own_portid = m->applier.rtnl.portid;
    m->applier.names = &m->kernel;
    if (!m->applier.has_guard)
        log_warning("this kernel has no nftables: rules alone hold apps on their networks, see "
                    "`waymark doctor`");
    r = panic_note_sysctls(&m->options, &m->applier);
    if (r < 0)
        log_warning_errno(r, "cannot note the sysctls of before in %s", m->options.runtime_dir);
    return 0;
}

/* The listening ends come last: who can connect is answered from a complete world. */
static int start_front_ends(struct manager *m)
{
    int r = reconcile_start(m);

    if (r < 0)
        return log_error_errno(r, "cannot watch the kernel");
    r = watch_users_start(m);
    if (r < 0)
        log_warning_errno(r, "changes of users and groups will only be seen on reload");
    r = bus_new(m, &m->bus);
    if (r < 0)
        return r;
    return netd_new(m, &m->netd);
}

int manager_new(const struct manager_options *options, struct manager **ret)
{
    _cleanup_(config_freep) struct config *config = NULL;
    struct manager *m = calloc(1, sizeof(*m));
    struct why why = { 0 };
    int r;

    if (!m)
        return log_oom();
    *ret = m;
    m->options = *options;
    m->observer = OBSERVER_INIT;
    m->applier = APPLIER_INIT;
    m->nft_events = NLSOCK_INIT;
    m->store = STORE_INIT;
    m->restoring = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 10 };

    r = config_load(options->config, &config, &why);
    if (r < 0) {
        log_error("%s", why_text(&why, r));
        return r;
    }
    use_log_level(options, config);
    r = lock_namespace();
    if (r == 0)
        r = make_runtime_dir(options->runtime_dir);
    if (r == 0)
        r = start_loop(m);
    if (r == 0)
        r = open_kernel(m);
    if (r < 0)
        return r;
    m->off = manager_off_marked(options);
    r = build_model(m, config, &why);
    if (r < 0) {
        log_error("%s", why_text(&why, r));
        return r;
    }
    return start_front_ends(m);
}

void manager_free(struct manager *m)
{
    if (!m)
        return;
    netd_free(m->netd);
    bus_free(m->bus);
    sd_event_source_unref(m->reconcile_timer);
    nlsock_close(&m->nft_events);
    observer_close(&m->observer);
    applier_close(&m->applier);
    store_close(&m->store);
    plan_unref(m->stands);
    model_free(m->model);
    route_set_unref(m->rejected);
    kernel_done(&m->kernel);
    sd_event_unref(m->event);
    free(m);
}

int manager_run(struct manager *m)
{
    log_info("ready: %zu networks, %zu assignments, default network %s%s", m->model->n_networks,
             m->model->assignments->n,
             m->model->default_network ? m->model->default_network->s : "system",
             m->off ? " (off: see `waymark reload`)" : "");
    (void)sd_notifyf(0, "READY=1\nSTATUS=%zu networks, %zu assignments", m->model->n_networks,
                     m->model->assignments->n);
    return sd_event_loop(m->event);
}

static int edit_reload(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    int r = config_apply(data, m, k, why);

    return r < 0 ? r : change_resolve_users(m);
}

int manager_reload(struct manager *m, struct why *why)
{
    _cleanup_(config_freep) struct config *config = NULL;
    bool was_off = m->off;
    int r = config_load(m->options.config, &config, why);

    if (r == 0) {
        /* what nothing tells of, as sysctls, is looked at again, too */
        m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
        r = reconcile_now(m, why);
    }
    if (r < 0)
        return r;
    m->off = false;
    r = manager_settle(m, edit_reload, config, why);
    if (r < 0) {
        m->off = was_off;
        return r;
    }
    use_log_level(&m->options, config);
    (void)manager_mark_off(&m->options, false);
    if (was_off)
        manager_notice(m, NOTICE_ON, "on again after panic-off");
    manager_notice(m, NOTICE_RELOADED, "the configuration was read again");
    return 0;
}

int manager_panic_off(struct manager *m, struct why *why)
{
    int r = manager_mark_off(&m->options, true);

    if (r < 0)
        log_warning_errno(r, "panic-off will not outlive this process");
    m->off = true;
    r = panic_run(&m->options, &m->observer, &m->applier, why);
    reconcile_forget(m);
    manager_notice(m, NOTICE_OFF,
                   r < 0 ? "panic-off: %s" : "panic-off: nothing is left in the kernel%s",
                   r < 0 ? why_text(why, r) : "");
    return r;
}
