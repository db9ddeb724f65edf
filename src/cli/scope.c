/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/scope.h"

#include <errno.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SYSTEMD         "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

struct scope {
    const char *name, *description;
    usec_t deadline;
    sd_bus *bus;
    const char *result; /* how the job ended: one of systemd's words; NULL = not yet */
    char result_text[32];
};

static void scope_done(struct scope *s)
{
    (void)sd_bus_close_unref(s->bus);
}

static usec_t time_left(const struct scope *s)
{
    usec_t now = clock_monotonic();

    return s->deadline > now ? s->deadline - now : 1; /* 0 would mean the default */
}

/* A scope has a job of its own name only: which unit it is of tells it from others. */
static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct scope *s = userdata;
    const char *unit = "", *result = "";
    int r = sd_bus_message_skip(m, "uo");

    (void)error;
    if (r >= 0)
        r = sd_bus_message_read(m, "ss", &unit, &result);
    if (r < 0 || !streq(unit, s->name))
        return 0;
    (void)str_set(s->result_text, sizeof(s->result_text), result);
    s->result = s->result_text;
    return 0;
}

static int connect_manager(struct scope *s, struct why *why)
{
    bool root = geteuid() == 0;
    int r;

    if (sd_booted() <= 0)
        return why_set(why, -EOPNOTSUPP, "systemd does not run this machine");
    r = root ? sd_bus_open_system(&s->bus) : sd_bus_open_user(&s->bus);
    if (r >= 0)
        r = sd_bus_set_method_call_timeout(s->bus, time_left(s));
    if (r >= 0)
        r = sd_bus_match_signal(s->bus, NULL, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "JobRemoved",
                                on_job_removed, s);
    if (r >= 0)
        return 0;
    return why_set(why, -EOPNOTSUPP, "systemd's %s manager cannot be reached: %s",
                   root ? "system" : "user", strerror(-r));
}

static int append_properties(sd_bus_message *m, const struct scope *s)
{
    int r = sd_bus_message_open_container(m, 'a', "(sv)");

    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)", "Description", "s", s->description);
    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)getpid());
    if (r >= 0) /* a scope whose program failed is of no interest to anybody */
        r = sd_bus_message_append(m, "(sv)", "CollectMode", "s", "inactive-or-failed");
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool is_nobody_there(const sd_bus_error *e)
{
    return sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
           sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
           sd_bus_error_has_name(e, "org.freedesktop.DBus.Error.Spawn.ChildExited");
}

static int start(struct scope *s, struct why *why)
{
    _cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
    sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(s->bus, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                           "StartTransientUnit");

    if (r >= 0)
        r = sd_bus_message_append(m, "ss", s->name, "fail");
    if (r >= 0)
        r = append_properties(m, s);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0); /* no units besides */
    if (r >= 0)
        r = sd_bus_call(s->bus, m, time_left(s), &e, NULL);
    sd_bus_message_unref(m);
    if (r >= 0)
        return 0;
    return why_set(why,
                   is_nobody_there(&e) ? -EOPNOTSUPP
                   : r == -ETIMEDOUT   ? r
                                       : -EREMOTEIO,
                   "systemd does not start the scope %s: %s", s->name,
                   e.message ? e.message : strerror(-r));
}

static int wait_for_result(struct scope *s, struct why *why)
{
    int r = 0;

    while (r >= 0 && !s->result) {
        r = sd_bus_process(s->bus, NULL);
        if (r != 0)
            continue;
        if (s->deadline <= clock_monotonic())
            return why_set(why, -ETIMEDOUT, "systemd did not start the scope %s in time", s->name);
        r = sd_bus_wait(s->bus, time_left(s));
        if (r == -EINTR)
            r = 0;
    }
    if (r >= 0 && streq(s->result, "done"))
        return 0;
    return why_set(why, -EREMOTEIO, "systemd did not start the scope %s: %s", s->name,
                   r < 0 ? strerror(-r) : s->result);
}

int scope_enter(const char *name, const char *description, usec_t deadline, struct why *why)
{
    _cleanup_(scope_done) struct scope s = {
        .name = name,
        .description = description,
        .deadline = deadline,
    };
    int r = connect_manager(&s, why);

    if (r == 0)
        r = start(&s, why);
    return r < 0 ? r : wait_for_result(&s, why);
}
