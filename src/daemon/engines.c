/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/engines.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "apply/spawn.h"
#include "apply/systemd.h"
#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "daemon/bus-end.h"
#include "model/vpn.h"
#include "observe/process.h"
#include "observe/users.h"
#include "wire/words.h"

#define FOLDER         "engines"
#define TRANSIENT_UNIT "waymark-engine-"

enum {
    COMMAND_MAX = 4096,
    PATIENCE_MAX_SEC = 60,
    GID_NOBODY = 65534, /* of a uid without an entry */
};

struct engine {
    struct engines *all;
    char name[NETWORK_NAME_MAX + 1]; /* of the VPN */
    char *text;                      /* unit or command line */
    uint32_t uid;                    /* of a command: who runs it */
    bool wanted;
    unsigned patience; /* seconds until it is tried again */
    usec_t since;      /* when its VPN was last found established; 0 = it is not */
    sd_event_source *timer;
    sd_event_source *source; /* of `pidfd`: the command, while it runs */
    pid_t pid;
    int pidfd;
};

struct engines {
    struct manager *m;
    struct engine **items; /* by no order: there are few */
    size_t n, cap;
    char *folder;
};

static bool is_command(const char *text)
{
    return text[0] == '/';
}

static bool is_unit(const char *text)
{
    size_t n = strlen(text), suffix = STRLEN(".service");

    return n > suffix && streq(text + n - suffix, ".service") && !strpbrk(text, " \t/");
}

int engine_check(const char *text, struct why *why)
{
    if (strlen(text) > COMMAND_MAX)
        return why_set(why, -EINVAL, "an engine has at most %d bytes", COMMAND_MAX);
    if (is_command(text) || is_unit(text))
        return 0;
    return why_set(
        why, -EINVAL,
        "'%.60s' is no engine: use a unit (NAME.service), or a command line with the path "
        "of a program",
        text);
}

/* --- Commands that we start ourselves ------------------------------------------------------- */

static char *note_path(const struct engine *e)
{
    char *path;

    return asprintf(&path, "%s/%s", e->all->folder, e->name) < 0 ? NULL : path;
}

static void note_write(const struct engine *e)
{
    _cleanup_free_ char *path = note_path(e);
    char text[64];
    int n = snprintf(text, sizeof(text), "engine %d %" PRIu64 "\n", (int)e->pid,
                     process_start_time((uint32_t)e->pid));
    int r = path ? fd_replace_file(path, text, (size_t)n, 0600) : -ENOMEM;

    if (r < 0)
        log_warning_errno(r, "cannot note the engine of VPN '%s'", e->name);
}

static void note_remove(const struct engine *e)
{
    _cleanup_free_ char *path = note_path(e);

    if (path)
        (void)unlink(path);
}

static void command_gone(struct engine *e)
{
    e->source = sd_event_source_disable_unref(e->source);
    if (e->pidfd >= 0)
        (void)close(e->pidfd);
    e->pidfd = -1;
    e->pid = 0;
    note_remove(e);
}

static void try_later(struct engine *e);

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct engine *e = userdata;
    siginfo_t status = { 0 };

    (void)source;
    (void)events;
    /* one that an earlier daemon started is not our child: how it ended nobody can tell */
    if (waitid(P_PIDFD, (id_t)fd, &status, WEXITED | WNOHANG) == 0 && status.si_pid != 0)
        log_notice("the engine of VPN '%s' ended: %s %d", e->name,
                   status.si_code == CLD_EXITED ? "exit status" : "signal", status.si_status);
    else
        log_notice("the engine of VPN '%s' ended", e->name);
    command_gone(e);
    try_later(e);
    return 0;
}

static int command_watch(struct engine *e, pid_t pid, int pidfd)
{
    int r = sd_event_add_io(e->all->m->event, &e->source, pidfd, EPOLLIN, on_end, e);

    if (r < 0)
        return r;
    e->pid = pid;
    e->pidfd = pidfd;
    return 0;
}

/* What its program is told, in the memory of *room. */
struct environment {
    char name[NETWORK_NAME_MAX + 32], runtime[PATH_MAX + 32];
    const char *items[3];
};

static const char *const *environment_of(const struct engine *e, struct environment *room)
{
    snprintf(room->name, sizeof(room->name), "WAYMARK_VPN=%s", e->name);
    snprintf(room->runtime, sizeof(room->runtime), "WAYMARK_RUNTIME_DIR=%s",
             e->all->m->options.runtime_dir);
    room->items[0] = room->name;
    room->items[1] = room->runtime;
    room->items[2] = NULL;
    return room->items;
}

static int command_start(struct engine *e)
{
    struct spawn how = { .command = e->text, .uid = e->uid, .gid = GID_NOBODY };
    struct environment room = { 0 };
    int pidfd, r;
    pid_t pid;

    (void)users_gid_of_uid(e->uid, &how.gid);
    how.environment = environment_of(e, &room);
    r = spawn_start(&how, &pid, &pidfd);
    if (r < 0)
        return r;
    r = command_watch(e, pid, pidfd);
    if (r < 0) {
        spawn_abort(pid, pidfd);
        return r;
    }
    note_write(e);
    log_info("the engine of VPN '%s' is started: process %d", e->name, (int)pid);
    return 0;
}

/* --- By systemd ------------------------------------------------------------------------------ */

/* The connection to it; NULL = there is none, or none yet. */
static sd_bus *systemd_bus(const struct engine *e)
{
    const struct bus *bus = e->all->m->bus;

    return bus && bus->system && bus->system->settled ? bus->system->sd : NULL;
}

/* The unit's name; the caller frees it. */
static char *unit_name(const struct engine *e)
{
    char *name;

    if (!is_command(e->text))
        return strdup(e->text);
    return asprintf(&name, TRANSIENT_UNIT "%s.service", e->name) < 0 ? NULL : name;
}

/* Asks, and does not wait: what comes of it shows when the VPN is established, or is not. */
static int unit_start(const struct engine *e, sd_bus *sd, const char *unit)
{
    struct environment room = { 0 };

    if (!is_command(e->text))
        return systemd_start(sd, unit);
    return systemd_start_command(sd, unit, e->text, e->uid, environment_of(e, &room));
}

/* --- What is wanted -------------------------------------------------------------------------- */

static void start(struct engine *e)
{
    _cleanup_free_ char *unit = unit_name(e);
    sd_bus *sd = systemd_bus(e);
    int r = -ENOMEM;

    if (e->pid != 0)
        return;
    if (is_command(e->text) && e->uid == UID_INVALID) {
        log_info("the engine of VPN '%s' waits: its owner is no user now", e->name);
        return;
    }
    if (unit && sd)
        r = unit_start(e, sd, unit);
    else if (unit)
        r = is_command(e->text) ? command_start(e) : -EHOSTDOWN;
    if (r == -EHOSTDOWN)
        log_info("%s, the engine of VPN '%s', cannot be started: systemd does not answer", e->text,
                 e->name);
    else if (r < 0)
        log_warning_errno(r, "cannot start the engine of VPN '%s'", e->name);
}

static void stop(struct engine *e)
{
    _cleanup_free_ char *unit = unit_name(e);
    sd_bus *sd = systemd_bus(e);

    if (e->pid != 0)
        (void)spawn_stop(e->pidfd);
    else if (unit && sd && systemd_stop(sd, unit) < 0)
        log_warning("cannot stop the engine of VPN '%s'", e->name);
}

static bool is_established(const struct engine *e)
{
    const struct vpn *v = model_vpn(e->all->m->model, e->name);

    return v && vpn_is_active(v);
}

/* Looks whether its VPN is there; starts it when it is not, and comes again. */
static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct engine *e = userdata;
    usec_t now = clock_monotonic();

    (void)source;
    (void)usec;
    if (!e->wanted)
        return 0;
    if (is_established(e)) {
        if (e->since == 0)
            e->since = now;
        if (now - e->since >= PATIENCE_MAX_SEC * USEC_PER_SEC)
            e->patience = 1;
    } else {
        e->since = 0;
        start(e);
        e->patience = MIN(2 * e->patience, (unsigned)PATIENCE_MAX_SEC);
    }
    try_later(e);
    return 0;
}

static void try_at(struct engine *e, usec_t when)
{
    int r;

    if (e->timer) {
        r = sd_event_source_set_time(e->timer, when);
        if (r >= 0)
            r = sd_event_source_set_enabled(e->timer, SD_EVENT_ONESHOT);
    } else
        r = sd_event_add_time(e->all->m->event, &e->timer, CLOCK_MONOTONIC, when, 0, on_time, e);
    if (r < 0)
        log_error_errno(r, "the engine of VPN '%s' is not looked after", e->name);
}

static void try_later(struct engine *e)
{
    try_at(e, clock_monotonic() + e->patience * USEC_PER_SEC);
}

static void engine_free(struct engine *e)
{
    sd_event_source_disable_unref(e->timer);
    sd_event_source_disable_unref(e->source);
    if (e->pidfd >= 0)
        (void)close(e->pidfd);
    free(e->text);
    free(e);
}

/* What an earlier daemon noted of it: 0 and the process, or -errno. */
static int note_read(const struct engine *e, uint32_t *ret_pid, uint64_t *ret_started)
{
    _cleanup_free_ char *path = note_path(e), *text = NULL;
    const char *words[3];
    size_t n;
    int r = path ? fd_read_file(path, 128, &text, NULL) : -ENOMEM;

    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    r = words_split(text, words, ELEMENTSOF(words), &n);
    if (r < 0 || n != ELEMENTSOF(words))
        return -EBADMSG;
    *ret_started = strtoull(words[2], NULL, 10);
    return parse_u32(words[1], INT32_MAX, ret_pid);
}

/* A command that an earlier daemon started, if it still runs. */
static void adopt(struct engine *e)
{
    uint64_t started;
    uint32_t pid;
    int pidfd;

    if (note_read(e, &pid, &started) < 0)
        return;
    pidfd = pidfd_open((pid_t)pid, 0);
    if (pidfd >= 0 && process_start_time(pid) == started &&
        command_watch(e, (pid_t)pid, pidfd) == 0)
        return;
    if (pidfd >= 0)
        (void)close(pidfd);
    note_remove(e);
}

static struct engine *find(const struct engines *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (streq(all->items[i]->name, name))
            return all->items[i];
    return NULL;
}

static struct engine *add(struct engines *all, const char *name)
{
    struct engine *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->all = all;
    e->pidfd = -1;
    (void)str_set(e->name, sizeof(e->name), name);
    if (ARRAY_PUSH(all->items, all->n, all->cap, e) < 0) {
        free(e);
        return NULL;
    }
    adopt(e);
    return e;
}

static bool wants(const struct vpn *v)
{
    return v->engine && !v->down;
}

/* It is to run: as it is now, and at once, when it was not to run before. */
static int want(struct engines *all, const struct vpn *v)
{
    struct engine *e = find(all, v->name);
    bool other;

    if (!e)
        e = add(all, v->name);
    if (!e)
        return -ENOMEM;
    other = !e->text || !streq(e->text, v->engine->s);
    if (other) {
        char *text = strdup(v->engine->s);

        if (!text)
            return -ENOMEM;
        if (e->text && e->wanted)
            stop(e);
        free(e->text);
        e->text = text;
    }
    e->uid = v->owner_resolved; /* UID_INVALID: no such user now */
    /* its VPN is gone: soon, but not all the time */
    if (!vpn_is_active(v) && e->since != 0)
        try_later(e);
    if (!e->wanted || other) {
        e->wanted = true;
        e->patience = 1;
        try_at(e, clock_monotonic());
    }
    return 0;
}

static void follow(struct engines *all)
{
    const struct model *m = all->m->model;

    for (size_t i = 0; i < all->n; i++) {
        struct engine *e = all->items[i];
        const struct vpn *v = model_vpn(m, e->name);

        if (!e->wanted || (v && wants(v)))
            continue;
        e->wanted = false;
        e->since = 0;
        stop(e);
    }
    for (size_t i = 0; i < m->n_vpns; i++)
        if (wants(m->vpns[i]) && want(all, m->vpns[i]) < 0)
            log_oom();
}

static bool have_changed(const struct model *old, const struct model *new)
{
    bool changed = old->n_vpns != new->n_vpns;

    for (size_t i = 0; !changed && i < new->n_vpns; i++)
        changed = old->vpns[i] != new->vpns[i];
    return changed;
}

static void on_commit(void *data, const struct model *old, const struct model *new)
{
    if (have_changed(old, new))
        follow(data);
}

int engines_new(struct manager *m, struct engines **ret)
{
    struct engines *all = calloc(1, sizeof(*all));
    int r = all ? 0 : -ENOMEM;

    if (r == 0 && asprintf(&all->folder, "%s/" FOLDER, m->options.runtime_dir) < 0) {
        all->folder = NULL;
        r = -ENOMEM;
    }
    if (r == 0 && mkdir(all->folder, 0700) < 0 && errno != EEXIST)
        r = -errno;
    if (r < 0) {
        engines_free(all);
        return r;
    }
    all->m = m;
    manager_listen(m, &(struct listener){ .data = all, .commit = on_commit });
    follow(all);
    *ret = all;
    return 0;
}

void engines_free(struct engines *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++)
        engine_free(all->items[i]);
    free(all->items);
    free(all->folder);
    free(all);
}
