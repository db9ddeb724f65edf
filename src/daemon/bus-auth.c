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
#include "basic/uidrange.h"
#include "daemon/bus-end.h"
#include "observe/cgroups.h"
#include "observe/process.h"
#include "observe/users.h"

#define GROUP        "waymark"
#define POLKIT_NAME  "org.freedesktop.PolicyKit1"
#define POLKIT_PATH  "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_IFACE "org.freedesktop.PolicyKit1.Authority"

/* What polkit is asked for, and what is said when nobody allows it. */
static const struct {
    const char *action, *refusal;
} rights[BUS_RIGHT_MAX] = {
    [BUS_RIGHT_CHANGE] = { "org.waymark1.change",
                           "only root and members of group " GROUP
                           " may change networks and assignments: use sudo, or join the group with "
                           "`sudo usermod -aG " GROUP " $USER`" },
    [BUS_RIGHT_RUN] = { "org.waymark1.run",
                        "this network is not for every user: root and members of group " GROUP
                        " may run programs on it, and whom polkit lets (action org.waymark1.run)" },
    [BUS_RIGHT_VPN] = { "org.waymark1.vpn", "you have no consent to make VPNs: an administrator "
                                            "gives it with `waymark vpn "
                                            "consent`, or polkit (action org.waymark1.vpn)" },
    [BUS_RIGHT_VPN_EVERYONE] = { "org.waymark1.vpn-everyone",
                                 "you have no consent to make VPNs for everyone: an administrator "
                                 "gives it with `waymark vpn consent --everyone`, or polkit "
                                 "(action "
                                 "org.waymark1.vpn-everyone)" },
};

enum { PENDING_PER_CALLER_MAX = 8, POLKIT_TIMEOUT_SEC = 120, POLKIT_ALLOW_INTERACTION = 1 };

/* A call that waits for the broker's or polkit's answer; linked from struct bus. */
struct bus_pending {
    struct bus_pending *next;
    struct bus_end *end;
    sd_bus_message *msg;
    const struct bus_method *method;
    enum bus_right right;
    sd_bus_slot *slot;
    bool at_polkit;
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
        if (p->end != end && end->system)
            (void)sd_bus_reply_method_errorf(p->msg, SD_BUS_ERROR_ACCESS_DENIED,
                                             "the system bus went away while polkit was asked: try "
                                             "again when it is back, or use sudo");
        if (p->end == end || end->system)
            pending_free(bus, p);
    }
}

void bus_auth_look_up_group(struct bus *bus)
{
    if (users_gid_of_group(GROUP, &bus->group) < 0)
        bus->group = UID_INVALID;
}

/* Had the process the group when it connected? The kernel knows. */
static bool had_group(const struct bus_end *end)
{
    _cleanup_free_ gid_t *groups = NULL;
    socklen_t size = 0;

    if (end->bus->group == UID_INVALID)
        return false;
    if (end->cred.gid == end->bus->group)
        return true;
    /* how many there are is told by what does not fit */
    if (getsockopt(end->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
        return false;
    groups = malloc(size);
    if (!groups || getsockopt(end->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof(gid_t); i++)
        if (groups[i] == end->bus->group)
            return true;
    return false;
}

void bus_auth_meet(struct bus_end *end)
{
    end->privileged = end->cred.uid == 0 || had_group(end);
    /* now: later the number may be that of another process, and the process elsewhere */
    end->start_time = process_start_time((uint32_t)end->cred.pid);
    (void)cgroups_path_of_pid((uint32_t)end->cred.pid, &end->cgroup);
    (void)process_identify_file((uint32_t)end->cred.pid, &end->exe);
}

bool bus_auth_is_same(const struct bus_end *end)
{
    return end->start_time != 0 && process_start_time((uint32_t)end->cred.pid) == end->start_time;
}

bool bus_auth_is_same_program(const struct bus_end *end)
{
    struct exe_id now;

    return end->exe.ino != 0 && process_identify_file((uint32_t)end->cred.pid, &now) == 0 &&
           now.dev == end->exe.dev && now.ino == end->exe.ino;
}

/* The groups that the process had when it connected count, and what the database says. */
static bool judge_peer(struct bus_end *end)
{
    if (end->judged)
        return end->may;
    if (end->cred.uid != 0)
        bus_auth_look_up_group(end->bus);
    end->may = end->cred.uid == 0 || had_group(end) ||
               (end->bus->group != UID_INVALID && users_in_group(end->cred.uid, GROUP));
    end->judged = true;
    return end->may;
}

bool bus_auth_is_privileged(struct bus_end *end)
{
    return !end->system && judge_peer(end);
}

static int refuse(enum bus_right right, struct why *why)
{
    return why_set(why, -EACCES, "%s", rights[right].refusal);
}

/* Answers a call whose caller may not do that, and forgets it. */
static void deny(struct bus_pending *p)
{
    struct why why;

    (void)refuse(p->right, &why);
    (void)sd_bus_reply_method_errorf(p->msg, SD_BUS_ERROR_ACCESS_DENIED, "%s", why.text);
    pending_free(p->end->bus, p);
}

static void let(struct bus_pending *p)
{
    const struct bus_method *method = p->method;
    sd_bus_message *msg = sd_bus_message_ref(p->msg);
    struct bus_end *end = p->end;

    pending_free(end->bus, p); /* first: what is run may forget all that waits */
    if (!end->doomed)
        (void)bus_run(end, msg, method);
    sd_bus_message_unref(msg);
}

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct bus_pending *p = userdata;
    int authorized = 0, challenge;

    (void)error;
    if (!sd_bus_message_is_method_error(reply, NULL) &&
        sd_bus_message_enter_container(reply, 'r', "bba{ss}") >= 0)
        (void)sd_bus_message_read(reply, "bb", &authorized, &challenge);
    if (authorized)
        let(p);
    else
        deny(p);
    return 0;
}

static int append_subject(sd_bus_message *m, const struct bus_pending *p)
{
    const struct bus_end *end = p->end;

    if (end->system)
        return sd_bus_message_append(m, "(sa{sv})", "system-bus-name", 1, "name", "s",
                                     sd_bus_message_get_sender(p->msg));
    return sd_bus_message_append(m, "(sa{sv})", "unix-process", 3, "pid", "u",
                                 (uint32_t)end->cred.pid, "start-time", "t", end->start_time, "uid",
                                 "i", (int32_t)end->cred.uid);
}

/* Nobody can keep polkit busy: neither a peer nor a sender on the system bus. */
static bool asks_too_much(const struct bus_pending *p)
{
    size_t n = 0;

    for (const struct bus_pending *q = p->end->bus->pending; q; q = q->next)
        n += q->at_polkit && q->end == p->end &&
             (!p->end->system ||
              streq(sd_bus_message_get_sender(q->msg), sd_bus_message_get_sender(p->msg)));
    return n >= PENDING_PER_CALLER_MAX;
}

static int ask_polkit(struct bus_pending *p)
{
    /* who asks to be a VPN says so among the options, and is only asked about then */
    bool interactive = p->right == BUS_RIGHT_VPN || p->right == BUS_RIGHT_VPN_EVERYONE ||
                       sd_bus_message_get_allow_interactive_authorization(p->msg) > 0;
    uint32_t flags = interactive ? POLKIT_ALLOW_INTERACTION : 0;
    struct bus_end *system = p->end->bus->system;
    sd_bus_message *m = NULL;
    int r;

    if (!system || asks_too_much(p))
        return -EACCES;
    p->at_polkit = true;
    r = sd_bus_message_new_method_call(system->sd, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_IFACE,
                                       "CheckAuthorization");
    if (r >= 0)
        r = append_subject(m, p);
    if (r >= 0)
        r = sd_bus_message_append(m, "sa{ss}us", rights[p->right].action, 0, flags, "");
    if (r >= 0) {
        p->slot = sd_bus_slot_unref(p->slot);
        r = sd_bus_call_async(system->sd, &p->slot, m, on_polkit, p,
                              POLKIT_TIMEOUT_SEC * USEC_PER_SEC);
    }
    sd_bus_message_unref(m);
    return r;
}

static int on_sender(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct bus_pending *p = userdata;
    bool known = !sd_bus_message_is_method_error(reply, NULL);
    uint32_t uid = UID_INVALID;

    (void)error;
    known = known && sd_bus_message_read(reply, "u", &uid) >= 0;
    if (known && (uid == 0 || users_in_group(uid, GROUP)))
        let(p);
    else if (!known || ask_polkit(p) < 0)
        deny(p);
    return 0;
}

/* Not sd_bus_query_sender_creds(), which waits for the answer. */
static int ask_broker(struct bus_pending *p)
{
    const char *sender = sd_bus_message_get_sender(p->msg);

    return !sender ? -EACCES
                   : sd_bus_call_method_async(p->end->sd, &p->slot, "org.freedesktop.DBus",
                                              "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                              "GetConnectionUnixUser", on_sender, p, "s", sender);
}

int bus_authorize(struct bus_end *end, sd_bus_message *msg, const struct bus_method *method,
                  enum bus_right right, struct why *why)
{
    struct bus *bus = end->bus;
    struct bus_pending *p;

    if (!end->system && judge_peer(end))
        return 1;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->end = end;
    p->method = method;
    p->right = right;
    p->msg = sd_bus_message_ref(msg);
    p->next = bus->pending;
    bus->pending = p;
    if ((end->system ? ask_broker(p) : ask_polkit(p)) < 0) {
        pending_free(bus, p);
        return refuse(right, why);
    }
    return 0;
}
