/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/systemd.h"

#include <inttypes.h>
#include <stdio.h>

#include "apply/spawn.h"
#include "basic/log.h"
#include "basic/macro.h"

#define NAME      "org.freedesktop.systemd1"
#define PATH      "/org/freedesktop/systemd1"
#define INTERFACE "org.freedesktop.systemd1.Manager"

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const sd_bus_error *refusal = sd_bus_message_get_error(reply);

    (void)userdata;
    (void)error;
    if (refusal)
        log_warning("systemd does not start or stop an engine: %s", refusal->message);
    return 0;
}

static int ask(sd_bus *sd, const char *method, const char *unit)
{
    int r = sd_bus_call_method_async(sd, NULL, NAME, PATH, INTERFACE, method, on_answer, NULL, "ss",
                                     unit, "replace");

    return r < 0 ? r : 0;
}

int systemd_start(sd_bus *sd, const char *unit)
{
    return ask(sd, "StartUnit", unit);
}

int systemd_stop(sd_bus *sd, const char *unit)
{
    return ask(sd, "StopUnit", unit);
}

static int append_environment(sd_bus_message *m, const char *const *environment)
{
    int r = sd_bus_message_open_container(m, 'r', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Environment");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(m, (char **)environment);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_properties(sd_bus_message *m, const char *line, uint32_t uid,
                             const char *const *environment)
{
    char user[16];
    int r = sd_bus_message_open_container(m, 'a', "(sv)");

    snprintf(user, sizeof(user), "%" PRIu32, uid);
    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "User", "s", user, "NoNewPrivileges", "b",
                                  1, "CollectMode", "s", "inactive-or-failed", "ExecStart",
                                  "a(sasb)", 1, "/bin/sh", 3, "sh", "-c", line, 0);
    if (r >= 0)
        r = append_environment(m, environment);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int systemd_start_command(sd_bus *sd, const char *unit, const char *command, uint32_t uid,
                          const char *const *environment)
{
    _cleanup_free_ char *line = NULL;
    sd_bus_message *m = NULL;
    int r = spawn_line(command, &line);

    if (r == 0)
        r = sd_bus_message_new_method_call(sd, &m, NAME, PATH, INTERFACE, "StartTransientUnit");
    if (r >= 0)
        r = sd_bus_message_append(m, "ss", unit, "replace");
    if (r >= 0)
        r = append_properties(m, line, uid, environment);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
    if (r >= 0)
        r = sd_bus_call_async(sd, NULL, m, on_answer, NULL, 0);
    sd_bus_message_unref(m);
    return r < 0 ? r : 0;
}
