/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Inside of the bus: connections, calls, and how a call finds its function. */

#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "daemon/bus.h"
#include "daemon/change.h"
#include "observe/exe.h"

#define BUS_NAME         "org.waymark1"
#define BUS_PATH         "/org/waymark1"
#define BUS_NETWORK_PATH "/org/waymark1/network"
#define BUS_MANAGER      "org.waymark1.Manager"
#define BUS_NETWORK      "org.waymark1.Network"

struct bus_intake;

/* A connection: the system bus, or one peer. */
struct bus_end {
    struct bus *bus;
    sd_bus *sd;
    bool system;
    /* of a peer; the system bus is asked per message */
    int fd; /* sd-bus's */
    struct bus_intake *intake;
    struct ucred cred;
    uint64_t start_time;   /* of the process, when it connected; 0 = not known */
    char *cgroup;          /* likewise: where it was; NULL = not known */
    struct exe_id exe;     /* likewise: which file it executed (process_identify_file()) */
    bool shared;           /* another process has written to it, too */
    bool privileged;       /* gets a place that is reserved: root, or in group waymark */
    bool judged, may;      /* may it change things? Found out when it first wants to */
    bool settled;          /* authenticated, and what came with that is processed */
    bool doomed;           /* closed; to be freed when the loop comes to it */
    unsigned unread_calls; /* made since it last had read all that it was sent */
    size_t unread_fds;     /* sent since then, the most of which it has not taken */
};

/* What a network's State property was last told to be. */
struct told_state {
    uint32_t netid;
    const char *state;
};

/* The same of a VPN. */
struct told_vpn {
    char name[NETWORK_NAME_MAX + 1];
    const char *state;
    char reason[128];
};

/* That an interface or address came or went, to be told. */
struct told_event {
    const char *kind;
    char text[96];
};

struct bus_pending; /* a call that waits for polkit */

struct bus {
    struct manager *m;
    struct bus_end **ends;
    size_t n_ends, cap_ends;
    struct bus_end *system; /* also in ends; NULL = no broker */
    int listen_fd;
    sd_event_source *listen_source;
    sd_event_source *post_source;
    sd_event_source *exit_source;
    sd_event_source *system_retry;
    struct told_state *told; /* by netId */
    size_t n_told, cap_told;
    struct told_vpn *told_vpns;
    size_t n_told_vpns, cap_told_vpns;
    struct bus_pending *pending;
    struct told_event *events; /* to be told soon, and then… */
    size_t n_events, cap_events;
    struct model *before; /* …the commit that led from this model to the one now; NULL: none did */
    sd_event_source *telling;
    struct verifier *verifier;
    uint32_t group; /* the gid of group waymark when it was last looked up; UID_INVALID = none */
};

/* A method call while it is handled. */
struct bus_call {
    struct bus_end *end;
    struct manager *m;
    sd_bus_message *msg;
    const char *network; /* name of the network whose object was called; NULL = the manager's */
};

/*
 * A row per method. `run` replies by itself when it succeeds (>= 0; a reply that comes later is one,
 * too); when it fails, the errno and *why become the error reply.
 */
struct bus_method {
    const char *interface, *member;
    bool change; /* needs authorisation */
    int (*run)(struct bus_call *call, struct why *why);
};

/* The handler of all our methods in the vtables: finds the row, checks authorisation, runs it. */
int bus_dispatch(sd_bus_message *msg, void *userdata, sd_bus_error *error);
/* The method Run of the manager (run-bus.c). */
int bus_run_program(struct bus_call *call, struct why *why);
/*
 * Descriptors that are under way are open files of ours, and the kernel lets a user have so many of them. May
 * this peer be sent n more? -EAGAIN: its user's connections have not read those of before. Notes them.
 */
int bus_send_fds(struct bus_end *end, size_t n, struct why *why);
/* Runs a row whose caller is authorised. */
int bus_run(struct bus_end *end, sd_bus_message *msg, const struct bus_method *method);

/* Tables of the interfaces; each ends with a row without member. */
extern const struct bus_method manager_bus_methods[];
extern const struct bus_method network_bus_methods[];
extern const struct bus_method vpn_service_bus_methods[];
/* The rows of the vtables, and only there. */
#define METHOD(name, in, in_names, out, out_names)                             \
    SD_BUS_METHOD_WITH_NAMES(name, in, in_names, out, out_names, bus_dispatch, \
                             SD_BUS_VTABLE_UNPRIVILEGED)
#define PROPERTY(name, type, flags) SD_BUS_PROPERTY(name, type, get_property, 0, flags)
#define CONSTANT                    SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES                     SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define ARG(name)                   SD_BUS_PARAM(name)

extern const sd_bus_vtable manager_bus_vtable[];
extern const sd_bus_vtable network_bus_vtable[];

/* Which network an object path names; NULL when there is none. */
const struct network *network_bus_find(const struct manager *m, const char *path);
/* The object path of a network; free with free(). NULL: no memory. */
char *network_bus_path(uint32_t netid);
/* sd-bus callbacks for the folder of network objects. */
int network_bus_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                          sd_bus_error *error);
int network_bus_object(sd_bus *sd, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error);

/* "up", "down", "absent", "empty" or "unreachable": can it carry traffic? */
const char *network_bus_state(const struct manager *m, const struct network *n);

/* Reads a{sv} of a network's options into a draft; *ret_fields are FIELD_*. */
int network_bus_read_options(sd_bus_message *msg, struct network *draft, unsigned *ret_fields,
                             struct why *why);

/*
 * Tells all ends what changed from one model to the next, and what interfaces and addresses did
 * (bus-signals.c). Soon: when the loop comes to it, or something else is told before. So who asked for
 * the change has his answer first, and does not wait while everybody else is told.
 */
void bus_tell_commit(void *data, const struct model *old, const struct model *new);
void bus_tell_event(void *data, const struct observe_event *event);
/* At once what is to be told soon; of that, what interfaces and addresses did. */
void bus_tell_now(struct bus *bus);
void bus_tell_events(struct bus *bus);
/* The loop's source for that. 0 or -errno. */
int bus_telling_start(struct bus *bus);
void bus_tell_notice(void *data, enum notice_kind kind, const char *text);
/* Emits the signal Event of the manager on all ends. */
void bus_tell(struct bus *bus, const char *kind, const char *text);

/* What polkit has an action for, each. */
enum bus_right {
    BUS_RIGHT_CHANGE, /* networks and assignments */
    BUS_RIGHT_RUN,    /* use a network that is not for everybody */
    BUS_RIGHT_VPN,    /* be a VPN, for one's own apps */
    BUS_RIGHT_VPN_EVERYONE,
    BUS_RIGHT_MAX,
};

/*
 * May the sender do that? 1: yes. 0: somebody is asked, and `method` is run by itself later.
 * -EACCES: no, with the reason.
 */
int bus_authorize(struct bus_end *end, sd_bus_message *msg, const struct bus_method *method,
                  enum bus_right right, struct why *why);
/* Root, or in group waymark, whom nobody is asked about? Of a peer; it may look the group up. */
bool bus_auth_is_privileged(struct bus_end *end);
/* Is the peer's process, which has that number, still the one that connected? */
bool bus_auth_is_same(const struct bus_end *end);
/* Likewise: has it not executed another program since? */
bool bus_auth_is_same_program(const struct bus_end *end);
/* An end is about to go: forgets its calls that wait. With the system bus go the answers to others. */
void bus_auth_forget(struct bus *bus, const struct bus_end *end);
/* Learns of a peer what only now is sure, and whether it gets a reserved place. Does not wait. */
void bus_auth_meet(struct bus_end *end);
/* Looks the group up. It may take long: not for every connection. */
void bus_auth_look_up_group(struct bus *bus);
