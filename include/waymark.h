/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef WAYMARK_H
#define WAYMARK_H

/*
 * libwaymark: several networks live at once, and a program chooses among them.
 *
 * In the shape of Android's <android/multinetwork.h>: a network is a handle; a socket, or all new
 * sockets of the process, are put on it. Beyond that: listing and watching the networks. Everything
 * is asked of waymarkd(8), which must run:
 *
 *   <runtime>/fwmarkd  marks sockets (Android's fwmarkd protocol)
 *   <runtime>/bus      names, lists and signals (D-Bus, peer to peer)
 *
 * where <runtime> is /run/waymark, or the environment's WAYMARK_RUNTIME_DIR at the time the library
 * was loaded (which counts for nothing in a set-user-ID program, see secure_getenv(3)).
 *
 * Convention, as in multinetwork.h: every function that returns `int` returns 0, or -1 with errno
 * set; wm_socket() and wm_monitor_get_fd() return a descriptor instead of 0. What is passed by `ret_`
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
 * Threads: every function may be called from any thread at any time; a struct wm_monitor belongs to
 * one thread at a time. The functions on sockets and on the process's network may be called in the
 * child of a fork(), also of a program with threads.
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
 * EPERM: the caller may not protect sockets. EBADF, ENOTSOCK, EAFNOSUPPORT as above.
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

#ifdef __cplusplus
}
#endif

#endif
