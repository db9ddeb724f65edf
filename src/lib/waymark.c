/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark.h: handles, sockets, the process. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "lib/netname.h"
#include "lib/process.h"
#include "lib/public.h"

#define HANDLE_MAGIC UINT64_C(0xcafed00d)

/* Handles. */

WM_PUBLIC wm_network_t wm_network_from_netid(uint32_t netid)
{
    return netid == 0 ? WM_NETWORK_UNSPECIFIED : (wm_network_t)netid << 32 | HANDLE_MAGIC;
}

/* WM_NETWORK_NONE is none of a socket: its "netId" is out of range. */
static int netid_of(wm_network_t network, uint32_t *ret_netid)
{
    uint64_t netid = network >> 32;

    if (network != WM_NETWORK_UNSPECIFIED &&
        ((network & UINT32_MAX) != HANDLE_MAGIC || netid == 0 || netid > FWMARK_NETID_MAX))
        return -EINVAL;
    *ret_netid = (uint32_t)netid;
    return 0;
}

WM_PUBLIC int wm_network_to_netid(wm_network_t network, uint32_t *ret_netid)
{
    return public_result(ret_netid ? netid_of(network, ret_netid) : -EINVAL);
}

WM_PUBLIC int wm_network_by_name(const char *name, wm_network_t *ret_network)
{
    char path[PROCESS_PATH_MAX];
    uint32_t netid = 0;
    int r = name && ret_network ? process_path("bus", path) : -EINVAL;

    if (r == 0)
        r = netname_resolve(path, name, &netid);
    if (r == 0)
        *ret_network = wm_network_from_netid(netid);
    return public_result(r);
}

/* Sockets. */

/* The daemon would refuse others, too; but a file that is no socket is none of its business. */
static int check_socket(int fd)
{
    socklen_t n = sizeof(int);
    int error = errno, domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0) {
        int r = -errno;

        errno = error;
        return r;
    }
    return domain == AF_INET || domain == AF_INET6 ? 0 : -EAFNOSUPPORT;
}

static int ask_about(int fd, const struct fwmark_command *command)
{
    int r = check_socket(fd);

    return r < 0 ? r : process_ask(command, NULL, fd);
}

WM_PUBLIC int wm_setsocknetwork(wm_network_t network, int fd)
{
    struct fwmark_command command = { .id = FWMARK_SELECT_NETWORK };
    int r = netid_of(network, &command.netid);

    return public_result(r < 0 ? r : ask_about(fd, &command));
}

WM_PUBLIC int wm_getsocknetwork(int fd, wm_network_t *ret_network)
{
    socklen_t n = sizeof(uint32_t);
    uint32_t mark;
    int r = ret_network ? check_socket(fd) : -EINVAL;

    if (r < 0)
        return public_result(r);
    if (getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &n) < 0)
        return -1;
    *ret_network = wm_network_from_netid(mark & FWMARK_NETID_MASK);
    return 0;
}

WM_PUBLIC int wm_protect(int fd)
{
    struct fwmark_command command = { .id = FWMARK_PROTECT_FROM_VPN };

    return public_result(ask_about(fd, &command));
}

WM_PUBLIC int wm_select_for_user(int fd, uid_t uid)
{
    struct fwmark_command command = { .id = FWMARK_SELECT_FOR_USER, .uid = uid };

    return public_result(ask_about(fd, &command));
}

WM_PUBLIC int wm_query_user_access(uid_t uid, wm_network_t network)
{
    struct fwmark_command command = { .id = FWMARK_QUERY_USER_ACCESS, .uid = uid };
    int r = netid_of(network, &command.netid);

    return public_result(r < 0 ? r : process_ask(&command, NULL, -1));
}

/* Not by way of the preload library, whose socket() would first want the choice that holds so far. */
static int plain_socket(int domain, int type, int protocol)
{
    return (int)syscall(SYS_socket, domain, type, protocol);
}

WM_PUBLIC int wm_socket(int domain, int type, int protocol)
{
    _cleanup_fd_ int fd = plain_socket(domain, type, protocol);
    int r = 0;

    if (fd < 0)
        return -1;
    if (domain == AF_INET || domain == AF_INET6)
        r = process_mark_new(fd);
    return r < 0 ? public_result(r) : TAKE_FD(fd);
}

/* The process. */

/* As Android does: whether the network may be selected is tried with a socket that nobody needs. */
static int try_network(uint32_t netid)
{
    const struct fwmark_command command = { .id = FWMARK_SELECT_NETWORK, .netid = netid };
    int error = errno;
    _cleanup_fd_ int fd = plain_socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 && errno == EAFNOSUPPORT)
        fd = plain_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    errno = error;
    return process_ask(&command, NULL, fd);
}

static int put_into_environment(uint32_t choice)
{
    char text[sizeof("65535")] = "none";
    int r;

    if (choice != PROCESS_DISABLED)
        (void)snprintf(text, sizeof(text), "%u", (unsigned)(uint16_t)choice);
    r = choice == 0 ? unsetenv("WAYMARK_NETWORK") : setenv("WAYMARK_NETWORK", text, 1);
    return r < 0 ? -errno : 0;
}

static int set_process(wm_network_t network, unsigned flags)
{
    uint32_t choice = PROCESS_DISABLED;
    int r = flags & ~WM_PROC_EXEC ? -EINVAL : 0;

    if (r == 0 && network != WM_NETWORK_NONE)
        r = netid_of(network, &choice);
    if (r == 0 && choice != 0 && choice != PROCESS_DISABLED)
        r = try_network(choice);
    if (r == 0 && flags & WM_PROC_EXEC)
        r = put_into_environment(choice);
    if (r == 0)
        process_set(choice);
    return r;
}

WM_PUBLIC int wm_setprocnetwork_flags(wm_network_t network, unsigned flags)
{
    return public_result(set_process(network, flags));
}

WM_PUBLIC int wm_setprocnetwork(wm_network_t network)
{
    return public_result(set_process(network, 0));
}

WM_PUBLIC int wm_getprocnetwork(wm_network_t *ret_network)
{
    uint32_t choice = 0;
    int r = ret_network ? process_get(&choice) : -EINVAL;

    if (r == 0)
        *ret_network = wm_network_from_netid(choice); /* PROCESS_DISABLED: WM_NETWORK_NONE */
    return public_result(r);
}
