/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/manager.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "basic/fd.h"
#include "basic/linger.h"
#include "basic/log.h"
#include "basic/utf8.h"
#include "daemon/apps.h"
#include "daemon/backend.h"
#include "daemon/bus.h"
#include "daemon/change.h"
#include "daemon/engines.h"
#include "daemon/fwmarkd.h"
#include "daemon/netd.h"
#include "daemon/panic.h"
#include "daemon/reconcile.h"
#include "daemon/resolve-users.h"
#include "daemon/runs.h"
#include "daemon/sweep.h"
#include "daemon/vpn-service.h"
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
    utf8_keep_whole(text);
    log_full(kind == NOTICE_DEGRADED ? LOG_ERR : LOG_NOTICE, "%s: %s", notice_kind_to_string(kind),
             text);
    for (size_t i = 0; i < m->n_listeners; i++)
        if (m->listeners[i].notice)
            m->listeners[i].notice(m->listeners[i].data, kind, text);
}

static const struct sockaddr_un lock_name = { .sun_family = AF_UNIX, .sun_path = "\0waymarkd" };

enum {
    LOCK_NAME_SIZE = offsetof(struct sockaddr_un, sun_path) + 9,
    LOCK_TRIES = 10, /* in which who has just begun gets as far as listening */
    LOCK_PAUSE_MS = 20,
    LOCK_PER_100_MS = 100,
};

/* The uid of who listens under our name. Any user may take it. -errno: nobody listens. */
static int uid_of_holder(uid_t *ret)
{
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (fd < 0 || connect(fd, (const struct sockaddr *)&lock_name, LOCK_NAME_SIZE) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return -errno;
    *ret = cred.uid;
    return 0;
}

/* 0 or -errno of taking the name. */
static int take_name(int fd)
{
    if (bind(fd, (const struct sockaddr *)&lock_name, LOCK_NAME_SIZE) < 0 || listen(fd, 16) < 0)
        return -errno;
    return 0;
}

/*
 * One daemon per network namespace: a name in the abstract socket space belongs to the namespace
 * and goes with the process. Only root's counts, or any user could keep us from starting.
 */
static int lock_namespace(struct manager *m)
{
    uid_t uid = UID_INVALID;
    int r, holder = -ECONNREFUSED;

    m->lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->lock < 0)
        return log_error_errno(-errno, "cannot make a socket");
    r = take_name(m->lock);
    for (int i = 0; r == -EADDRINUSE && holder < 0 && i < LOCK_TRIES; i++) {
        holder = uid_of_holder(&uid);
        if (holder < 0) {
            (void)usleep(LOCK_PAUSE_MS * 1000);
            r = take_name(m->lock);
        }
    }
    if (r == -EADDRINUSE && uid != 0) {
        if (uid == UID_INVALID)
            log_warning("another program has the name @waymarkd, which keeps two waymarkd apart: "
                        "see `ss -xlp`");
        else
            log_warning("a program of user %u has the name @waymarkd, which keeps two waymarkd "
                        "apart: see `ss -xlp`",
                        uid);
        return 0;
    }
    if (r == -EADDRINUSE)
        log_error("another waymarkd runs in this network namespace");
    else if (r < 0)
        log_error_errno(r, "cannot take the name @waymarkd");
    return r;
}

/* Whoever connects wants to know only whose the name is, which the kernel tells. */
static int on_lock(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    (void)source;
    (void)revents;
    (void)userdata;
    linger_begin(); /* he may have sent us something all the same */
    if (peer >= 0)
        (void)close(peer);
    linger_end();
    return 0;
}

static int watch_lock(struct manager *m)
{
    sd_event_source *source = NULL;
    int r = sd_event_add_io(m->event, &source, m->lock, EPOLLIN, on_lock, m);

    if (r >= 0)
        r = sd_event_source_set_ratelimit(source, 100 * USEC_PER_MSEC, LOCK_PER_100_MS);
    if (r >= 0)
        r = sd_event_source_set_floating(source, true);
    sd_event_source_unref(source);
    return MIN(r, 0);
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
    return r < 0 ? r : resolve_users(m);
}

/* Reads the configuration; what was there once has to be there. */
static int load_config(struct manager *m, struct config **ret, struct why *why)
{
    _cleanup_(config_freep) struct config *config = NULL;
    int r = config_load(m->options.config, &config, why);

    if (r == 0)
        r = config_check_found(config, m->options.config, m->options.config_found, why);
    if (r == 0)
        *ret = TAKE_PTR(config);
    return r;
}

/* The command line counts more than the configuration. */
static void use_log_level(const struct manager *m, const struct config *config)
{
    int level = m->options.log_level >= 0 ? m->options.log_level : config->log_level;

    log_set_max_level(level >= 0 ? level : LOG_INFO);
}

/*
 * Programs of an earlier run hold apps that rules cannot hold. To go on with rules would be to let them
 * go, for want of memory perhaps; without us they go on being held.
 */
static int check_left_maps(struct manager *m, struct config *config, struct why *why)
{
    _cleanup_(model_freep) struct model *probe = NULL;
    size_t n;
    int r;

    if (!m->maps_left || m->applier.has_maps || m->options.backend == BACKEND_RULES)
        return 0;
    probe = model_copy(m->model);
    r = probe ? edit_first(probe, &m->kernel, config, why) : -ENOMEM;
    if (r < 0)
        return r;
    n = backend_count_unsupported(probe);
    if (n == 0)
        return 0;
    return why_set(
        why, -EBUSY,
        "the programs that an earlier waymarkd has left at the cgroup cannot be taken over "
        "(see above), and rules cannot hold the %zu assignments of programs, cgroups and "
        "units: nothing is changed, they go on holding; mend that, or do without them by "
        "--backend rules",
        n);
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
    m->model->process_selectors = m->applier.has_maps;
    r = runs_new(m, &m->runs);
    if (r < 0)
        return why_set(why, r, "cannot find what `waymark run` runs: %s", strerror(-r));
    r = observer_refresh(&m->observer, &m->kernel);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));

    r = check_left_maps(m, config, why);
    if (r < 0)
        return r;
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
        /* a file that cannot be written keeps nobody from being where they must be */
        (void)store_commit(&m->store, m->model, probe);
        swap = m->model;
        m->model = TAKE_PTR(probe);
        probe = swap;
        reconcile_failed(m, r, &settle_why);
    }
    return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    struct manager *m = userdata;
    struct why why = { 0 };
    int r;

    (void)source;
    if (si->ssi_signo == SIGHUP) {
        (void)sd_notify(0, "RELOADING=1");
        r = manager_reload(m, &why);
        if (r < 0)
            log_error("not reloaded: %s", why_text(&why, r));
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
    else if (!m->applier.has_arp)
        log_info("nftables has no tables of ARP: it is answered for the addresses of VPNs on other "
                 "links, too");
    r = panic_note_sysctls(&m->options, &m->applier);
    if (r < 0)
        log_warning_errno(r, "cannot note the sysctls of before in %s", m->options.runtime_dir);
    backend_open(m);
    m->sweeper = sweeper_new(m);
    return m->sweeper ? 0 : log_oom();
}

/* The listening ends come last: who can connect is answered from a complete world. */
static int start_front_ends(struct manager *m)
{
    int r = reconcile_start(m);

    if (r < 0)
        return log_error_errno(r, "cannot watch the kernel");
    r = watch_lock(m);
    if (r < 0)
        return log_error_errno(r, "cannot watch a socket");
    r = backend_watch(m);
    if (r < 0)
        return log_error_errno(r, "cannot watch programs and cgroups");
    r = runs_start(m->runs);
    if (r < 0)
        return log_error_errno(r, "cannot watch cgroups");
    r = watch_users_start(m);
    if (r < 0)
        log_warning_errno(r, "changes of users and groups will only be seen on reload");
    r = vpn_service_new(m, &m->vpn_service);
    if (r == 0)
        r = bus_new(m, &m->bus);
    if (r < 0)
        return r;
    r = netd_new(m, &m->netd);
    if (r == 0)
        r = fwmarkd_new(m, &m->fwmarkd);
    if (r < 0)
        return r;
    /* they connect at once */
    r = engines_new(m, &m->engines);
    return r < 0 ? log_error_errno(r, "cannot look after the engines of VPNs") : 0;
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
    m->lock = -1;
    m->guard_unknown = true;
    m->restoring = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 10 };

    r = load_config(m, &config, &why);
    if (r < 0) {
        log_error("%s", why_text(&why, r));
        return r;
    }
    use_log_level(m, config);
    if (!config->found)
        log_notice("there is no %s: nothing is configured", options->config);
    r = lock_namespace(m);
    if (r == 0)
        r = make_runtime_dir(options->runtime_dir);
    if (r == 0)
        r = start_loop(m);
    if (r == 0)
        r = open_kernel(m);
    if (r < 0)
        return r;
    m->off = manager_is_off(m);
    r = build_model(m, config, &why);
    if (r < 0) {
        log_error("%s", why_text(&why, r));
        return r;
    }
    m->options.config_found |= config->found;
    apps_start(m);
    return start_front_ends(m);
}

void manager_free(struct manager *m)
{
    if (!m)
        return;
    fwmarkd_free(m->fwmarkd);
    netd_free(m->netd);
    bus_free(m->bus);
    engines_free(m->engines);
    vpn_service_free(m->vpn_service);
    runs_free(m->runs);
    backend_close(m);
    sweeper_free(m->sweeper);
    sd_event_source_unref(m->reconcile_timer);
    sd_event_source_unref(m->slow_timer);
    nlsock_close(&m->nft_events);
    observer_close(&m->observer);
    applier_close(&m->applier);
    store_close(&m->store);
    plan_unref(m->stands);
    model_free(m->model);
    refusals_done(&m->refusals);
    free(m->surplus.items);
    guard_unref(m->last_guard);
    kernel_done(&m->kernel);
    sd_event_unref(m->event);
    if (m->lock >= 0)
        (void)close(m->lock);
    free(m);
}

void manager_add_guards(const struct manager *m, struct kernel *k)
{
    k->guard = guard_ref(m->kernel.guard);
    k->maps = guard_ref(m->kernel.maps);
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

    return r < 0 ? r : resolve_users(m);
}

/* Ends panic-off, as far as files go. */
static int forget_off(struct manager *m, struct why *why)
{
    /* on a read-only file system nothing can be removed, not even what is not there */
    int r = manager_off_marked(&m->options) ? manager_mark_off(&m->options, false) : 0;

    if (r < 0)
        return why_set(why, r, "cannot remove %s/panic-off: %s", m->options.runtime_dir,
                       strerror(-r));
    m->off = m->off_unmarked = false;
    return 0;
}

static void remember_off(struct manager *m)
{
    m->off = true;
    m->off_unmarked = panic_mark(&m->options, NULL) < 0;
}

int manager_reload(struct manager *m, struct why *why)
{
    _cleanup_(config_freep) struct config *config = NULL;
    bool was_off;
    int r = load_config(m, &config, why);

    if (r == 0) {
        /* what nothing tells of, as sysctls, is looked at again, too */
        m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
        r = reconcile_now(m, why);
    }
    was_off = m->off;
    if (r == 0 && was_off)
        r = forget_off(m, why);
    if (r < 0)
        return r;
    r = manager_settle(m, edit_reload, config, why);
    if (r < 0) {
        if (was_off)
            remember_off(m);
        return r;
    }
    use_log_level(m, config);
    m->options.config_found |= config->found;
    if (was_off)
        manager_notice(m, NOTICE_ON, "on again after panic-off");
    manager_notice(m, NOTICE_RELOADED, "the configuration was read again");
    return 0;
}

int manager_panic_off(struct manager *m, struct why *why)
{
    struct why unmarked = { 0 };
    int r, marked = panic_mark(&m->options, &unmarked);

    m->off = true;
    m->off_unmarked = marked < 0;
    r = panic_run(&m->options, &m->observer, &m->applier, why);
    reconcile_forget(m);
    if (r == 0 && marked < 0)
        r = why_set(
            why, marked,
            "nothing of waymark is left in the kernel, but only until this waymarkd ends: %s",
            unmarked.text);
    manager_notice(m, NOTICE_OFF,
                   r < 0 ? "panic-off: %s" : "panic-off: nothing is left in the kernel%s",
                   r < 0 ? why_text(why, r) : "");
    return r;
}
