/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A client of the daemon: D-Bus, peer to peer, on <runtime-dir>/bus (docs/dbus.md).
 *
 * A client is one connection with one deadline. Every function that asks the daemon waits until
 * then at most; 0 is success, and a failure is a negative errno with its sentence in *why (which
 * may be NULL). These come from the connection, not from the daemon's judgement:
 *
 *   -ECONNREFUSED  nobody listens on the socket, or there is none: the daemon does not run
 *   -ECONNRESET    the daemon was there and hung up
 *   -ETIMEDOUT     no answer until the deadline
 *   -EBADMSG       the answer is not what docs/dbus.md promises
 *
 * Any other errno of an answered call is the daemon's own, as far as D-Bus carries it: sd-bus sends
 * EPERM as AccessDenied, which comes back as -EACCES.
 *
 * Not thread-safe.
 */

#include <systemd/sd-bus.h>

#include "basic/clock.h"
#include "basic/macro.h"
#include "basic/why.h"

struct client;

/*
 * Connects to `socket`. `deadline` is of clock_monotonic(), or USEC_INFINITY. *ret is the caller's
 * to free. In addition to the above: the errno of connect(2), -ENAMETOOLONG, -ENOMEM.
 */
int client_open(const char *socket, usec_t deadline, struct client **ret, struct why *why);
void client_free(struct client *c);
DEFINE_CLEANUP(struct client *, client_free)

static inline void client_unref_messagep(sd_bus_message **m)
{
    (void)sd_bus_message_unref(*m);
}
#define _cleanup_message_ _cleanup_(client_unref_messagep)

/* Starts a call of a method of org.waymark1.Manager, for the caller to append arguments to. */
int client_new_call(struct client *c, const char *method, sd_bus_message **ret, struct why *why);

/* The same of another interface of that object. */
#define CLIENT_MANAGER     "org.waymark1.Manager"
#define CLIENT_VPN_SERVICE "org.waymark1.VpnService"
int client_new_call_to(struct client *c, const char *interface, const char *method,
                       sd_bus_message **ret, struct why *why);

/*
 * Sends it and waits for the answer; ret_reply may be NULL when the answer does not matter. Descriptors
 * in the answer are the message's, and closed with it.
 */
int client_send(struct client *c, sd_bus_message *m, sd_bus_message **ret_reply, struct why *why);

/* Both, with arguments as sd_bus_message_append() takes them. */
int client_call(struct client *c, const char *method, sd_bus_message **ret_reply, struct why *why,
                const char *types, ...);

/* A connection that is kept has a deadline for each call, or each few. */
void client_set_deadline(struct client *c, usec_t deadline);

/* Of any object, as below. -ENONET: there is no such object, or it has no such interface. */
int client_get_property_of(struct client *c, const char *path, const char *interface,
                           const char *name, sd_bus_message **ret_reply, struct why *why);

/* One property of org.waymark1.Manager; the message stands at the variant. */
int client_get_property(struct client *c, const char *name, sd_bus_message **ret_reply,
                        struct why *why);

/* All properties of org.waymark1.Manager; the message stands at the a{sv}. */
int client_get_properties(struct client *c, sd_bus_message **ret_reply, struct why *why);

/*
 * One object. `m` stands at the a{sv} of its properties, which the function must read, all of it.
 * A negative return value ends the list and becomes that of client_get_objects().
 */
typedef int (*client_object)(void *data, const char *path, sd_bus_message *m);

/* All objects that have an interface, in no order that means anything. */
#define CLIENT_NETWORK "org.waymark1.Network"
#define CLIENT_VPN     "org.waymark1.Vpn"
int client_get_objects(struct client *c, const char *interface, client_object each, void *data,
                       struct why *why);

/* Something happened. The strings are valid during the call; < 0 ends client_listen() with it. */
typedef int (*client_event)(void *data, const char *kind, const char *text);

/*
 * Calls `event` for every Event of the daemon, for as long as there is a daemon: never returns 0.
 * The deadline holds for nothing but the connection, which client_open() has made.
 */
int client_listen(struct client *c, client_event event, void *data, struct why *why);

/*
 * For programs with a loop of their own, instead of client_listen(): `handler` is called, within
 * client_dispatch(), for every such signal from now on. path NULL: of any object.
 */
int client_watch(struct client *c, const char *path, const char *interface, const char *member,
                 sd_bus_message_handler_t handler, void *data, struct why *why);

/* Polls readable when there is something to dispatch; but for what came while a call was waited for. */
int client_fd(const struct client *c);
bool client_has_pending(const struct client *c);

/* Calls the handlers for all that has come; does not wait. -ECHILD: in the child of a fork(). */
int client_dispatch(struct client *c, struct why *why);

/* For an argument that sd-bus would not take (text that is no UTF-8): a refusal that says so. */
int client_bad_argument(int error, const char *method, struct why *why);

/* For a message that could not be read: a refusal that says so, or the caller's own error. */
int client_bad_answer(int error, const char *method, struct why *why);
