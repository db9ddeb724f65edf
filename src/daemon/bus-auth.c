/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who may change things: root, members of group `waymark`, and whom polkit lets.
 *
 * It is always the sender of the message who is judged, by credentials that the kernel or the broker
 * vouches for, never by what the message says of itself.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/bus-end.h"
#include "observe/users.h"

#define GROUP         "waymark"
#define POLKIT_NAME   "org.freedesktop.PolicyKit1"
#define POLKIT_PATH   "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_IFACE  "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ACTION "org.waymark1.change"

enum { PENDING_PER_END_MAX = 8, POLKIT_TIMEOUT_SEC = 120, POLKIT_ALLOW_INTERACTION = 1 };

/* A call that waits for polkit's answer; linked from struct bus. */
struct bus_pending {
    struct bus_pending *next;
    struct bus_end *end;
    sd_bus_message *msg;
    const struct bus_method *method;
    sd_bus_slot *slot;
};

static void pending_free(struct bus *bus, struct bus_pending *p)
{
    struct bus_pending **link = &bus->pending;

    while (*link && *link != p)
        link = &(*link)->next;
    if (*link)
        *link = p->next;
    sd_bus_slot_unref(p->slot);
    sd_bus_message_unref(p->msg);
    free(p);
}

void bus_auth_forget(struct bus *bus, const struct bus_end *end)
{
    struct bus_pending *next;

    for (struct bus_pending *p = bus->pending; p; p = next) {
        next = p->next;
        /* polkit is asked through the system bus: with it, all answers are lost */
        if (p->end == end || end->system)
            pending_free(bus, p);
    }
}

bool bus_auth_is_privileged(int fd, const struct ucred *cred)
{
    gid_t groups[256];
    socklen_t size = sizeof(groups);
    uint32_t gid;

    if (cred->uid == 0)
        return true;
    if (users_gid_of_group(GROUP, &gid) < 0)
        return false;
    /* the groups that the process had when it connected; then what the database says */
    if (cred->gid == gid)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
        for (size_t i = 0; i < size / sizeof(gid_t); i++)
            if (groups[i] == gid)
                return true;
    return users_in_group(cred->uid, GROUP);
}

/* The sender of a message on the system bus. */
static int system_sender(sd_bus_message *msg, uid_t *ret_uid)
{
    sd_bus_creds *creds = NULL;
    int r = sd_bus_query_sender_creds(msg, SD_BUS_CREDS_EUID, &creds);

    if (r >= 0)
        r = sd_bus_creds_get_euid(creds, ret_uid);
    sd_bus_creds_unref(creds);
    return MIN(r, 0);
}

static int refuse(struct why *why)
{
    return why_set(why, -EACCES,
                   "only root and members of group " GROUP " may change networks and assignments: "
                   "use sudo, or join the group with `sudo usermod -aG " GROUP " $USER`");
}

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct bus_pending *p = userdata;
    const struct bus_method *method = p->method;
    sd_bus_message *msg = sd_bus_message_ref(p->msg);
    struct bus_end *end = p->end;
    int authorized = 0, challenge;
    struct why why;

    (void)error;
    pending_free(end->bus, p); /* first: what is run may drop the end, and all that waits for it */
    if (!sd_bus_message_is_method_error(reply, NULL) &&
        sd_bus_message_enter_container(reply, 'r', "bba{ss}") >= 0)
        (void)sd_bus_message_read(reply, "bb", &authorized, &challenge);
    if (authorized)
        (void)bus_run(end, msg, method);
    else {
        (void)refuse(&why);
        (void)sd_bus_reply_method_errorf(msg, SD_BUS_ERROR_ACCESS_DENIED, "%s", why.text);
    }
    sd_bus_message_unref(msg);
    return 0;
}

/* Field 22 of /proc/PID/stat, which tells this process from a later one with the same number. */
static uint64_t start_time(pid_t pid)
{
    _cleanup_free_ char *text = NULL;
    char path[64], *p;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (fd_read_file(path, 4096, &text, NULL) < 0)
        return 0;
    p = strrchr(text, ')'); /* the command's name may hold anything */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p, NULL, 10) : 0;
}

static int append_subject(sd_bus_message *m, const struct bus_end *end, sd_bus_message *msg)
{
    if (end->system)
        return sd_bus_message_append(m, "(sa{sv})", "system-bus-name", 1, "name", "s",
                                     sd_bus_message_get_sender(msg));
    return sd_bus_message_append(m, "(sa{sv})", "unix-process", 3, "pid", "u", (uint32_t)end->pid,
                                 "start-time", "t", start_time(end->pid), "uid", "i",
                                 (int32_t)end->uid);
}

static int ask_polkit(struct bus_end *end, sd_bus_message *msg, struct bus_pending *p)
{
    sd_bus *system = end->bus->system->sd;
    uint32_t flags =
        sd_bus_message_get_allow_interactive_authorization(msg) > 0 ? POLKIT_ALLOW_INTERACTION : 0;
    sd_bus_message *m = NULL;
    int r;

    r = sd_bus_message_new_method_call(system, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_IFACE,
                                       "CheckAuthorization");
    if (r >= 0)
        r = append_subject(m, end, msg);
    if (r >= 0)
        r = sd_bus_message_append(m, "sa{ss}us", POLKIT_ACTION, 0, flags, "");
    if (r >= 0)
        r = sd_bus_call_async(system, &p->slot, m, on_polkit, p, POLKIT_TIMEOUT_SEC * USEC_PER_SEC);
    sd_bus_message_unref(m);
    return r;
}

static size_t count_pending(const struct bus_end *end)
{
    size_t n = 0;

    for (const struct bus_pending *p = end->bus->pending; p; p = p->next)
        n += p->end == end;
    return n;
}

int bus_authorize(struct bus_end *end, sd_bus_message *msg, const struct bus_method *method,
                  struct why *why)
{
    struct bus *bus = end->bus;
    bool privileged = end->privileged;
    struct bus_pending *p;
    uid_t uid;

    if (end->system && system_sender(msg, &uid) == 0)
        privileged = uid == 0 || users_in_group(uid, GROUP);
    if (privileged)
        return 1;
    if (!bus->system || (!end->system && count_pending(end) >= PENDING_PER_END_MAX))
        return refuse(why);

    p = calloc(1, sizeof(*p));
    if (!p)
        return refuse(why);
    p->end = end;
    p->method = method;
    p->msg = sd_bus_message_ref(msg);
    p->next = bus->pending;
    bus->pending = p;
    if (ask_polkit(end, msg, p) < 0) {
        pending_free(bus, p);
        return refuse(why);
    }
    return 0;
}
