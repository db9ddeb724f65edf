/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef WAYMARK_H
#define WAYMARK_H

/*
 * libwaymark: several networks live at once, and a program chooses among them.
 *
 * In the shape of Android's <android/multinetwork.h>: a network is a handle; a socket, or all new
 * sockets of the process, are put on it. Beyond that: listing and watching the networks, being a VPN,
 * and keeping its secrets. Everything is asked of waymarkd(8), or of waymark-keystored(8), which must run:
 *
 *   <runtime>/fwmarkd   marks sockets (Android's fwmarkd protocol)
 *   <runtime>/bus       names, lists and signals (D-Bus, peer to peer)
 *   <runtime>/keystore  secrets (Android's keystore protocol)
 *
 * where <runtime> is /run/waymark, or the environment's WAYMARK_RUNTIME_DIR at the time the library
 * was loaded (which counts for nothing in a set-user-ID program, see secure_getenv(3)).
 *
 * Convention, as in multinetwork.h: every function that returns `int` returns 0, or -1 with errno
 * set; wm_socket() and wm_…_fd() return a descriptor instead of 0. What is passed by `ret_`
 * pointers is written on success only. On success errno is as it was before the call.
 *
 * Fail closed: where waymarkd cannot be asked, the call fails, nothing is half done, and a socket is
 * never handed out unmarked. (Android's own client lets such sockets pass.) These errors can come
 * from every function that asks the daemon, and are not repeated below:
 *
 *   ECONNREFUSED  waymarkd does not run        EMFILE, ENFILE  no descriptor for the question
 *   ECONNRESET    it hung up                   ENAMETOOLONG    WAYMARK_RUNTIME_DIR is too long
 *   ETIMEDOUT     no answer within 5 seconds   ENOMEM, EACCES
 *
 * Threads: every function may be called from any thread at any time; a struct wm_monitor, wm_vpn or
 * wm_vpn_builder belongs to one thread at a time. The functions on sockets and on the process's
 * network may be called in the child of a fork(), also of a program with threads.
 *
 * Byte order: all numbers are the host's. Strings are UTF-8, lists of strings end with NULL.
 *
 * Manual: libwaymark(3).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A network's handle: (netId << 32) | 0xcafed00d, as Android's net_handle_t. A netId is 1 to 65535.
 * A handle stays valid, and means the same network, until that network is removed.
 */
typedef uint64_t wm_network_t;

/* No network in particular: whatever the app is assigned to, or the default. */
#define WM_NETWORK_UNSPECIFIED ((wm_network_t)0)

/* Only for wm_setprocnetwork(), and from wm_getprocnetwork(): no networking at all. */
#define WM_NETWORK_NONE ((wm_network_t)UINT64_C(0xffffffffcafed00d))

/* --- Handles ------------------------------------------------------------------------------- */

/* The handle of a netId; WM_NETWORK_UNSPECIFIED for 0. Whether there is such a network is not asked. */
wm_network_t wm_network_from_netid(uint32_t netid);

/*
 * The netId of a handle, 0 for WM_NETWORK_UNSPECIFIED.
 * EINVAL: no handle (also WM_NETWORK_NONE, which has no netId), or ret_netid is NULL.
 */
int wm_network_to_netid(wm_network_t network, uint32_t *ret_netid);

/*
 * The network of that name, as `waymark network list` shows it.
 * ENONET: there is none. EINVAL: an argument is NULL.
 */
int wm_network_by_name(const char *name, wm_network_t *ret_network);

/* --- One socket ---------------------------------------------------------------------------- */

/*
 * Puts an AF_INET or AF_INET6 socket on a network, to be called before it is connected or sends;
 * WM_NETWORK_UNSPECIFIED takes it back. The socket stays the caller's.
 *
 * EINVAL        no handle
 * EBADF         not a descriptor
 * ENOTSOCK      not a socket
 * EAFNOSUPPORT  neither AF_INET nor AF_INET6
 * ENONET        no such network
 * EACCES        the network wants a permission that the caller has not
 * EPERM         the caller's traffic is held elsewhere: by an assignment, or by a VPN that cannot be
 *               bypassed; or the network is a VPN that is not for the caller
 * EREMOTEIO     apps are assigned by program or cgroup, and the caller's could not be told
 */
int wm_setsocknetwork(wm_network_t network, int fd);

/*
 * The network that a socket is on: the netId in its mark, WM_NETWORK_UNSPECIFIED when it has none.
 * Does not ask the daemon. EINVAL: ret_network is NULL. EBADF, ENOTSOCK, EAFNOSUPPORT as above.
 */
int wm_getsocknetwork(int fd, wm_network_t *ret_network);

/*
 * Exempts a socket from the VPNs that would carry it: for a VPN's own transport, to be called
 * before the socket is connected. The socket stays the caller's.
 * EPERM: the caller may not protect sockets; a process may that has prepared a VPN (wm_vpn_prepare()).
 * EBADF, ENOTSOCK, EAFNOSUPPORT as above.
 */
int wm_protect(int fd);

/*
 * Puts a socket on the network that a user's traffic takes, for a service that acts on behalf of
 * others. The socket stays the caller's.
 * EPERM: the caller lacks the permission `system`. EBADF, ENOTSOCK, EAFNOSUPPORT as above.
 */
int wm_select_for_user(int fd, uid_t uid);

/*
 * 0 when that user may select that network.
 * EPERM: the caller lacks the permission `system`; or the user may not (as in wm_setsocknetwork()).
 * ENONET, EACCES, EINVAL as in wm_setsocknetwork().
 */
int wm_query_user_access(uid_t uid, wm_network_t network);

/*
 * socket(2), and the socket is on the process's network, else on that of the app (assigned, or the
 * default) before anybody can use it. Domains other than AF_INET and AF_INET6 are left alone.
 * Returns the descriptor, which is the caller's to close.
 * EPERM: the process's network is WM_NETWORK_NONE. Else the errors of socket(2), wm_getprocnetwork()
 * and wm_setsocknetwork().
 */
int wm_socket(int domain, int type, int protocol);

/* --- The process --------------------------------------------------------------------------- */

/*
 * Puts what wm_socket() makes from now on, and under libwaymark-preload.so what socket(2) makes, on a
 * network. Sockets that exist stay where they are. WM_NETWORK_UNSPECIFIED takes the choice back,
 * WM_NETWORK_NONE refuses IP sockets (EPERM). When the network is removed the choice stays, and new
 * sockets fail with ENONET until another one is made.
 *
 * Children inherit the choice over fork(2); it ends with the process. Whether the network may be
 * selected is tried with a socket that is thrown away. EINVAL: no handle. Else as wm_setsocknetwork().
 */
int wm_setprocnetwork(wm_network_t network);

/*
 * WM_PROC_EXEC: also programs that this one executes are to have the choice. It is put into the
 * environment as WAYMARK_NETWORK=<netId> (`none` for WM_NETWORK_NONE, not set for
 * WM_NETWORK_UNSPECIFIED), which libwaymark and libwaymark-preload.so read when they are loaded.
 * As setenv(3), to be called while no other thread reads the environment. Without this flag the
 * environment stays as it is.
 */
#define WM_PROC_EXEC 1U

/* As wm_setprocnetwork(), with flags. EINVAL: a flag that this library does not know. */
int wm_setprocnetwork_flags(wm_network_t network, unsigned flags);

/*
 * The process's choice: the one made last, else WAYMARK_NETWORK of the environment it was started
 * with (a netId, a network's name, or `none`), else WM_NETWORK_UNSPECIFIED.
 * ENONET: WAYMARK_NETWORK names no network that there is. EINVAL: ret_network is NULL.
 */
int wm_getprocnetwork(wm_network_t *ret_network);

/* --- All networks -------------------------------------------------------------------------- */

/* Values that a newer daemon has and this library does not know are …_UNKNOWN. */
enum wm_network_type {
    WM_TYPE_UNKNOWN,
    WM_TYPE_PHYSICAL,
    WM_TYPE_VPN,
    WM_TYPE_LOCAL,
    WM_TYPE_UNREACHABLE
};

enum wm_network_state {
    WM_STATE_UNKNOWN,
    WM_STATE_UP,
    WM_STATE_DOWN,       /* no interface that can be used */
    WM_STATE_ABSENT,     /* none of its interfaces exists */
    WM_STATE_EMPTY,      /* it has no interface */
    WM_STATE_UNREACHABLE /* a network of that type: nothing leaves by it */
};

/* What a user needs to select the network. */
enum wm_permission {
    WM_PERMISSION_UNKNOWN,
    WM_PERMISSION_NONE,
    WM_PERMISSION_NETWORK,
    WM_PERMISSION_SYSTEM
};

#define WM_NETWORK_DEFAULT       1U /* the unassigned go here */
#define WM_NETWORK_SECURE        2U /* a VPN that its users cannot bypass */
#define WM_NETWORK_EXCLUDE_LOCAL 4U /* a VPN that leaves the local network alone */

/*
 * A network. `size` is what the library filled: later versions append fields, and a program that
 * was compiled with a later header asks `size` (WM_HAS()) whether the library knew them.
 */
struct wm_network_info {
    size_t size;          /* bytes of this struct that the library knows */
    wm_network_t network; /* the handle */
    uint32_t netid;       /* 1 to 65535 */
    uint32_t type;        /* enum wm_network_type */
    uint32_t state;       /* enum wm_network_state */
    uint32_t permission;  /* enum wm_permission */
    uint32_t flags;       /* WM_NETWORK_… */
    const char *name;     /* 1 to 64 characters */
    char **interfaces;    /* names */
    char **dns;           /* addresses of its DNS servers */
    char **domains;       /* its search domains */
};

/* Whether the library that filled *info knows a field. */
#define WM_HAS(info, field) \
    ((info)->size >= offsetof(struct wm_network_info, field) + sizeof((info)->field))

/*
 * All networks, in the order of their netIds: *ret_networks points to *ret_n pointers and a NULL,
 * and is freed, with all it points to, by wm_networks_free(). ret_n may be NULL.
 * EINVAL: ret_networks is NULL. EBADMSG: the daemon is of a version that this library cannot read.
 */
int wm_networks_list(struct wm_network_info ***ret_networks, size_t *ret_n);
void wm_networks_free(struct wm_network_info **networks);

/* --- Watching ------------------------------------------------------------------------------ */

enum wm_event_kind {
    WM_EVENT_ADDED,   /* the network is there */
    WM_EVENT_REMOVED, /* it is gone, its handle is invalid */
    WM_EVENT_CHANGED, /* something of it: wm_networks_list() tells */
    WM_EVENT_DEFAULT  /* the default network is another; `network` is WM_NETWORK_UNSPECIFIED */
};

struct wm_event {
    size_t size;   /* as in struct wm_network_info */
    uint32_t kind; /* enum wm_event_kind */
    wm_network_t network;
};

/* `event` is valid during the call. It may call anything but functions of this monitor. */
typedef void (*wm_monitor_callback)(const struct wm_event *event, void *data);

struct wm_monitor;

/*
 * Connects to the daemon: what happens from then on will be told. Who lists the networks after this
 * call misses nothing. *ret_monitor is to be freed by wm_monitor_free(); it cannot be used in the
 * child of a fork(). EINVAL: ret_monitor or callback is NULL.
 */
int wm_monitor_new(wm_monitor_callback callback, void *data, struct wm_monitor **ret_monitor);

/* A descriptor that polls readable (POLLIN) when there is something to dispatch. Not the caller's. */
int wm_monitor_get_fd(struct wm_monitor *monitor);

/*
 * Calls back for everything that has happened; does not wait.
 * ECONNRESET: the daemon is gone, and so is the monitor's use: free it, and make a new one later.
 * EINVAL: monitor is NULL. ECHILD: used in the child of a fork().
 */
int wm_monitor_dispatch(struct wm_monitor *monitor);

/* NULL is fine. */
void wm_monitor_free(struct wm_monitor *monitor);

/* --- Being a VPN --------------------------------------------------------------------------- */

/*
 * Android's VpnService for any program, with no privilege: it asks whether it may be a VPN, describes
 * it, and gets a descriptor. What the VPN's apps send is read from there, one packet at a time, and
 * what is written there they receive. Interface, addresses, routes, DNS and the rule that its apps use
 * nothing else are waymarkd's business, until the last copy of the descriptor is closed.
 *
 *   wm_vpn_builder_new()    a description, and a name
 *   wm_vpn_prepare()        may I? From here on wm_protect() works for this process
 *   wm_vpn_builder_…()      addresses, routes, apps, …
 *   wm_vpn_establish()      there it is: wm_vpn_get_fd()
 *   wm_vpn_dispatch()       has it been taken away? When wm_vpn_get_event_fd() is readable
 *   wm_vpn_establish()      again, with other parameters: *handover*, no packet in the clear between
 *   wm_vpn_disconnect()     the end; or wm_vpn_free()
 *
 * The VPN's own transport (the socket to its server) is the app's like any other, and would go into the
 * tunnel: wm_protect() exempts it.
 *
 * A struct wm_vpn_builder and a struct wm_vpn belong to one thread at a time; several may be used at
 * once. In the child of a fork() what asks the daemon fails with ECHILD, and freeing leaves the VPN
 * alone. Descriptors are closed by exec.
 *
 * Three errors are common to these functions and are not repeated: EINVAL for an argument that is NULL
 * where nothing says that it may be, ENOMEM, and ECHILD. Names in brackets are Android's.
 */

struct wm_vpn_builder;
struct wm_vpn;

/*
 * A description without anything in it yet. `name` is the VPN's, and its network's; what the
 * administrator says of a VPN (`[vpn NAME]` in waymark.conf(5)) he says of that name. It is judged by
 * wm_vpn_prepare(). *ret_builder is to be freed by wm_vpn_builder_free(). Does not ask the daemon.
 */
int wm_vpn_builder_new(const char *name, struct wm_vpn_builder **ret_builder);

/* A VPN that it has established stays. NULL is fine. */
void wm_vpn_builder_free(struct wm_vpn_builder *builder);

/*
 * Why wm_vpn_prepare() or wm_vpn_establish() has failed: the daemon's sentence, what was wrong and what
 * to do; "" if the last call did not fail, or errno says it all. Valid until the next call with this
 * builder. Never NULL.
 */
const char *wm_vpn_builder_get_error(const struct wm_vpn_builder *builder);

/*
 * The setters. None of them asks the daemon: refused at once is what cannot be right, and the rest is
 * judged by wm_vpn_establish(). After an error the builder is as it was. What is not set is Android's
 * default, in the comment. A setter can be called again, before another wm_vpn_establish(), too; lists only grow.
 *
 * E2BIG: all texts together are more than the daemon reads in one message (200 KiB).
 */

/* [setSession] What people call it; NULL: nothing, the default. */
int wm_vpn_builder_set_session(struct wm_vpn_builder *builder, const char *session);

/* [setMtu] Bytes. Default: the kernel's (1500). EINVAL [IllegalArgumentException]: 0, or over 65535. */
int wm_vpn_builder_set_mtu(struct wm_vpn_builder *builder, unsigned mtu);

/*
 * [addAddress] An address of the interface, "192.0.2.7" or "2001:db8::7", and the length of its
 * prefix. At least one is needed.
 * EINVAL [IllegalArgumentException]: no address; a loopback address, 0.0.0.0 or ::; longer than 32 or 128.
 */
int wm_vpn_builder_add_address(struct wm_vpn_builder *builder, const char *address,
                               unsigned prefix_length);

/*
 * [addRoute, excludeRoute] What goes into the tunnel, and what does not though a shorter prefix does.
 * "0.0.0.0" and 0 is everything. Default: none. Of the same prefix the last call holds.
 * EINVAL [IllegalArgumentException]: no address; a loopback address; too long; bits set beyond the length.
 */
int wm_vpn_builder_add_route(struct wm_vpn_builder *builder, const char *address,
                             unsigned prefix_length);
int wm_vpn_builder_exclude_route(struct wm_vpn_builder *builder, const char *address,
                                 unsigned prefix_length);

/*
 * [addDnsServer, addSearchDomain] Default: none.
 * EINVAL [IllegalArgumentException]: the server is no address, a loopback address, 0.0.0.0 or ::; the
 * domain is empty.
 */
int wm_vpn_builder_add_dns_server(struct wm_vpn_builder *builder, const char *address);
int wm_vpn_builder_add_search_domain(struct wm_vpn_builder *builder, const char *domain);

/*
 * [setHttpProxy] A proxy that its apps are told of: a name or address, and a port. host NULL: none, the
 * default. EINVAL: the port is 0 or over 65535, or the host is empty.
 */
int wm_vpn_builder_set_http_proxy(struct wm_vpn_builder *builder, const char *host, unsigned port);

/*
 * [allowFamily] AF_INET or AF_INET6 need not be blocked, although the VPN has no address, route or DNS
 * server of that family. Default: it is. EINVAL [IllegalArgumentException]: another family.
 */
int wm_vpn_builder_allow_family(struct wm_vpn_builder *builder, int family);

/* [allowBypass] Its apps may choose another network. Default: they may not. */
int wm_vpn_builder_allow_bypass(struct wm_vpn_builder *builder);

/* [setBlocking] Not 0: read(2) of the descriptor waits. Default: it does not (O_NONBLOCK). */
int wm_vpn_builder_set_blocking(struct wm_vpn_builder *builder, int blocking);

/*
 * [addAllowedApplication, addDisallowedApplication] Which apps it is for, or for all but which: by any
 * selector, "uid:1000", "user:alice", "unit:firefox.service", "exe:/usr/bin/firefox", … Default: all of
 * the user's (with WM_VPN_EVERYONE: of all users, root excepted). The program itself is among them, if
 * it is not excluded: see wm_protect().
 * An app that is not there (Android: NameNotFoundException) is no error: it counts from when it is.
 * EPERM [UnsupportedOperationException]: allowed while others are disallowed, or the other way round.
 */
int wm_vpn_builder_add_allowed_app(struct wm_vpn_builder *builder, const char *selector);
int wm_vpn_builder_add_disallowed_app(struct wm_vpn_builder *builder, const char *selector);

/*
 * [setUnderlyingNetworks] By which networks the VPN itself goes: from these follow whether it is metered,
 * and the like. NULL: the default network, whatever that is, the default. Not NULL and n = 0: by none.
 * EINVAL: no handle of a network.
 */
int wm_vpn_builder_set_underlying_networks(struct wm_vpn_builder *builder,
                                           const wm_network_t *networks, size_t n);

/* [setMetered] Default: as the underlying networks. */
int wm_vpn_builder_set_metered(struct wm_vpn_builder *builder, int metered);

/*
 * What its apps reach beside the tunnel, of the network around the machine: a list that ends with NULL,
 * of "link-local" (printers, multicast DNS), or of prefixes as "192.168.1.0/24". NULL or empty: nothing,
 * the default. What the administrator says, and lockdown, is stronger. EINVAL: no such word, no prefix.
 */
int wm_vpn_builder_set_lan(struct wm_vpn_builder *builder, const char *const *lan);

/*
 * How many descriptors there are to be, 1 (the default) to 16: each is a queue, and gets the packets of
 * some of the connections. EINVAL: another number.
 */
int wm_vpn_builder_set_queues(struct wm_vpn_builder *builder, unsigned queues);

/*
 * Not 0: packets are up to 64 KiB, with checksums to be filled in, and each begins with a struct
 * virtio_net_hdr (<linux/virtio_net.h>, 10 bytes) that says so. For a program that cuts them up itself,
 * or hands them on whole. Default: plain packets.
 */
int wm_vpn_builder_set_offloads(struct wm_vpn_builder *builder, int offloads);

#define WM_VPN_INTERACTIVE 1U /* where nobody has consented, ask the person: may take minutes */
#define WM_VPN_EVERYONE    2U /* for all users' apps, not only for those of this one */

/*
 * [VpnService.prepare] Asks whether the caller may be this VPN. From then on its process may wm_protect()
 * sockets. The builder keeps the connection, for wm_vpn_establish().
 *
 * EACCES  nobody has consented: `waymark vpn consent` is for the administrator, WM_VPN_INTERACTIVE for
 *         the person
 * EPERM   the VPN is another owner's
 * EEXIST  a network is called so that is no VPN
 * EUSERS  the user has prepared 64 VPNs
 * EINVAL  a flag that this library does not know; the name is none; the VPN is one that is adopted
 */
int wm_vpn_prepare(struct wm_vpn_builder *builder, unsigned flags);

/*
 * [establish] The VPN as it is described, all of it or nothing. Without wm_vpn_prepare() that is done
 * first, with no flags. *ret_vpn is to be freed by wm_vpn_free(). The builder may be changed and used
 * again; if the name is established already, that is a *handover*: from now on packets go to the new
 * VPN. The old one still has those that came before: read them, then free it. When a handover fails the old
 * one goes on.
 *
 * EINVAL  [IllegalArgumentException] no address; or what is described does not go together
 * EACCES  [null] nobody has consented, or not any more
 * EPERM   [null, SecurityException] the VPN is another owner's; or apps are, and WM_VPN_EVERYONE was not
 *         asked for
 * EBUSY   an app is another VPN's, or the administrator has assigned it elsewhere
 * EUSERS  the user has established 64 VPNs
 * E2BIG   more addresses, routes or apps than the daemon takes
 * ENONET  an underlying network is not there
 * Others  [IllegalStateException] the kernel would not make the interface
 */
int wm_vpn_establish(struct wm_vpn_builder *builder, struct wm_vpn **ret_vpn);

/*
 * Closes the descriptors and the connection. When nobody else has the descriptors the VPN ends; after a
 * handover it is the new one's, and goes on. A program that does so and ends within a second has *died*,
 * for all that is known: the apps of a VPN that cannot be bypassed are then blocked, until it is back or
 * is taken down. Who means to end says so: wm_vpn_disconnect(). NULL is fine.
 */
void wm_vpn_free(struct wm_vpn *vpn);

/* The descriptor, or the first of them. Closed by wm_vpn_free(): dup(2) it to keep it. */
int wm_vpn_get_fd(const struct wm_vpn *vpn);

/* All of them: *ret_fds points to *ret_n descriptors, valid as long as the VPN. */
int wm_vpn_get_fds(const struct wm_vpn *vpn, const int **ret_fds, size_t *ret_n);

/* The interface's name when it was made; valid as long as the VPN. NULL: vpn is NULL. */
const char *wm_vpn_get_interface(const struct wm_vpn *vpn);

/* The VPN's network; the same one over a handover. WM_NETWORK_UNSPECIFIED: vpn is NULL. */
wm_network_t wm_vpn_get_network(const struct wm_vpn *vpn);

/* As wm_vpn_builder_get_error(), for the functions below. */
const char *wm_vpn_get_error(const struct wm_vpn *vpn);

enum wm_vpn_event_kind {
    WM_VPN_REVOKED /* [onRevoke] it is over: another VPN, the administrator, or consent was taken back */
};

struct wm_vpn_event {
    size_t size;        /* as in struct wm_network_info */
    uint32_t kind;      /* enum wm_vpn_event_kind */
    const char *reason; /* a sentence; valid during the call */
};

/* May call everything, also wm_vpn_free() of this VPN. */
typedef void (*wm_vpn_callback)(struct wm_vpn *vpn, const struct wm_vpn_event *event, void *data);

/* Who is called by wm_vpn_dispatch(), also of what has happened before. callback NULL: nobody. */
int wm_vpn_set_callback(struct wm_vpn *vpn, wm_vpn_callback callback, void *data);

/*
 * A descriptor that polls readable (POLLIN) when there is something to dispatch, which need not be an
 * event. Not the caller's; the same as long as the VPN. It has to be watched: the daemon hangs up on who
 * does not listen.
 */
int wm_vpn_get_event_fd(const struct wm_vpn *vpn);

/*
 * Calls back for what has happened; does not wait.
 * ECONNRESET: the daemon is gone. That does not end the VPN, but the event descriptor stays readable:
 * leave it alone until wm_vpn_reconnect() has succeeded.
 */
int wm_vpn_dispatch(struct wm_vpn *vpn);

/*
 * Connects again, to a daemon that was restarted: it has kept the VPN, and learns by this whose it is.
 * EACCES, EPERM: as wm_vpn_prepare(). Else the daemon may not be back yet: try again later.
 */
int wm_vpn_reconnect(struct wm_vpn *vpn);

/*
 * [addAddress, removeAddress] While it is established. EINVAL as wm_vpn_builder_add_address().
 * EADDRNOTAVAIL: to be removed, and not there.
 *
 * These errors are common to the functions from here on [IllegalStateException, false]:
 *
 * ENOTCONN  the VPN is over
 * EPERM     it is another process's now
 */
int wm_vpn_add_address(struct wm_vpn *vpn, const char *address, unsigned prefix_length);
int wm_vpn_remove_address(struct wm_vpn *vpn, const char *address, unsigned prefix_length);

/*
 * [setUnderlyingNetworks] As wm_vpn_builder_set_underlying_networks(), while it is established.
 * ENONET: one of them is not there.
 */
int wm_vpn_set_underlying_networks(struct wm_vpn *vpn, const wm_network_t *networks, size_t n);

/* How the VPN does, for `waymark vpn show` and for who waits for it. */
enum wm_vpn_state { WM_VPN_CONNECTING, WM_VPN_CONNECTED, WM_VPN_FAILED };

/*
 * Tells how it does, and in a few words why (NULL: nothing to say). Traffic does not depend on it.
 * EINVAL: no such state.
 */
int wm_vpn_report_state(struct wm_vpn *vpn, enum wm_vpn_state state, const char *reason);

/*
 * Ends the VPN by choice: its apps go by their other networks again, unless lockdown or always-on hold
 * them. The descriptors stay readable until wm_vpn_free().
 */
int wm_vpn_disconnect(struct wm_vpn *vpn);

/* --- The keystore -------------------------------------------------------------------------- */

/*
 * Secrets by name: pre-shared keys, passwords, private keys. waymark-keystored(8) keeps them, encrypted
 * by a password; it must run, and waymarkd need not. A key belongs to the uid that stored it, and nobody
 * else reads it, unless its owner grants that one key to one reader.
 *
 * Asked as the effective uid of the process. What that may is as on Android: the *system* user
 * (`waymark`) may do all but get; the *vpn* and *wifi* users and root only get, and have the system's
 * names; everybody else has names of his own, and may not lock, unlock, reset or set the password.
 *
 * Keys, values and passwords are bytes of any kind, NUL included, and may be empty: at most
 * WM_KEYSTORE_KEY_MAX, WM_KEYSTORE_VALUE_MAX and WM_KEYSTORE_VALUE_MAX bytes. NULL is fine where the size
 * is 0. What the library copies of values and passwords for itself is wiped before the call returns.
 *
 * May be called from any thread, also in the child of a fork(), if that may allocate memory. Waits up to
 * 5 seconds for what only looks, 60 for what changes something, and 120 where there is a password: that
 * takes its time by intent, and more after a wrong one. After ETIMEDOUT a change may have been made.
 *
 * These errors are common to the functions that ask, and are not repeated (each is one of Android's
 * answers; ECONNREFUSED is here: waymark-keystored does not run):
 *
 *   EACCES      the caller may not do that (6)
 *   EIO         the keystore could not: a full disk, a quota, damage; its log says which (4)
 *   EPROTO      the keystore and the library do not understand each other (5)
 *   EOPNOTSUPP  the keystore does not know this action (9)
 *   EMSGSIZE    a key, a value or a password is too long
 *   EINVAL      a pointer is NULL that may not be
 */
#define WM_KEYSTORE_KEY_MAX   120   /* bytes */
#define WM_KEYSTORE_VALUE_MAX 32768 /* bytes */

/* Android's numbers. */
enum wm_keystore_state {
    WM_KEYSTORE_UNLOCKED = 1,     /* values can be read and stored */
    WM_KEYSTORE_LOCKED = 2,       /* until the password comes */
    WM_KEYSTORE_UNINITIALIZED = 3 /* no password was ever set, or all was wiped */
};

/* *ret_state: enum wm_keystore_state. */
int wm_keystore_get_state(uint32_t *ret_state);

/*
 * The value of a key: the caller's own; "UID_KEY", another uid's that was granted to the caller; or KEY,
 * where just one of that name was granted. A program that is granted keys, as a VPN's engine, should use
 * "UID_KEY": for KEY alone it gets a stranger's value where only he has granted one of that name, and
 * none where he is the second. *ret_value is the caller's, to be wiped and freed by
 * wm_keystore_free(); a NUL stands behind its *ret_size bytes, which do not count it.
 *
 * ENOENT   no such key that the caller may read (7)
 * ENOKEY   locked (2)                     ENODATA  uninitialized (3)
 * EBADMSG  the stored value is damaged (8)
 */
int wm_keystore_get(const void *key, size_t key_size, void **ret_value, size_t *ret_size);

/* Overwrites a value of that size and frees it. NULL is fine. */
void wm_keystore_free(void *value, size_t size);

/*
 * Stores a value, in place of the one that is there; grants stay. When it returns 0 the value is on the
 * disk; when it fails the old one is as it was. ENOKEY, ENODATA as above. EIO: also more keys, or more
 * bytes, than one uid may have.
 */
int wm_keystore_put(const void *key, size_t key_size, const void *value, size_t value_size);

/* Deletes a key of the caller's, with its grants. 0 also when there was none. */
int wm_keystore_delete(const void *key, size_t key_size);

/* 0 when the caller has such a key of his own. ENOENT: he has not (7). */
int wm_keystore_exists(const void *key, size_t key_size);

/* The name of a key; a NUL stands behind it, which `size` does not count. */
struct wm_keystore_key {
    const char *name;
    size_t size;
};

/*
 * The caller's own keys whose names begin with a prefix (of size 0: all of them), in no order. *ret_keys
 * points to *ret_n keys, and one with a NULL name; to be freed by wm_keystore_keys_free().
 */
int wm_keystore_list(const void *prefix, size_t prefix_size, struct wm_keystore_key **ret_keys,
                     size_t *ret_n);

/* NULL is fine. */
void wm_keystore_keys_free(struct wm_keystore_key *keys);

/*
 * Lets another uid get this key of the caller's, until it is taken back or the key is deleted.
 * ENOENT: there is no such key; or (ungrant) it was not granted (7). EINVAL: (uid_t)-1 is nobody.
 */
int wm_keystore_grant(const void *key, size_t key_size, uid_t reader);
int wm_keystore_ungrant(const void *key, size_t key_size, uid_t reader);

/* Forgets the master key until the password comes. 0 also when it is locked. ENODATA: uninitialized (3). */
int wm_keystore_lock(void);

/*
 * The password. 0 also when it is unlocked, whatever the password is.
 *
 * EKEYREJECTED  wrong (13 to 10). *tries_left (may be NULL) is how many tries there are still, 4 to 1: when
 *               the last is wrong, too, everything is wiped (unless the administrator has turned that off)
 * ENODATA       uninitialized: it was before, or this try was the last one, and wrong (3)
 * EBADMSG       the master key's file is damaged; counts as no try (8)
 */
int wm_keystore_unlock(const void *password, size_t size, unsigned *tries_left);

/*
 * Sets the password and unlocks. While the keystore is uninitialized there is no old one, and what is
 * given is ignored; else it must be right, as for wm_keystore_unlock(). Values stay readable.
 */
int wm_keystore_set_password(const void *old_password, size_t old_size, const void *new_password,
                             size_t new_size, unsigned *tries_left);

/* Wipes all keys, of all users, the grants and the password. */
int wm_keystore_reset(void);

/* *ret_empty: not 0 when there is no key, of any user. */
int wm_keystore_is_empty(int *ret_empty);

#ifdef __cplusplus
}
#endif

#endif
