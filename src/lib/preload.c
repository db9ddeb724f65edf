/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libwaymark-preload.so: the C library's socket functions, with the mark (android.md §1.7).
 *
 * For kernels that cannot mark sockets themselves (BPF at the cgroup). Loaded by LD_PRELOAD, it asks
 * fwmarkd about every AF_INET and AF_INET6 socket:
 *
 *   socket      marked before the program has it: with the process's choice, else as the app's, so
 *               that also what never connects (UDP, ping, raw) is right from its first packet on
 *   listen      the app's mark is taken back, unless a network was chosen or is required: what comes
 *               in is answered where it came from, by the mark that the kernel gives (tcp_fwmark_accept)
 *   accept      as Android: what the packet brought stays, the app's permission is added
 *   connect     as Android: decided again, with the destination; then the result is told
 *   sendto, …   with a destination, on a socket without any mark of ours: one that was not made
 *               here, or when nothing was to be marked. Decided as for connect. (Android's ON_SENDTO
 *               commands never change a mark: of no use here.) TCP fast open is a connect.
 *
 * It fails closed: where the answer is an error, or nobody answers, the function fails with that
 * errno and nothing has been sent; a new socket is closed.
 *
 * It cannot see: statically linked programs and runtimes that make system calls themselves (Go),
 * syscall(2), io_uring, set-user-ID programs, the C library's own sockets (getaddrinfo(3) asking DNS
 * servers), connections through descriptors that were passed in connected. For these remain the rules
 * by uid and the guard.
 */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "basic/macro.h"
#include "lib/process.h"

/* The functions whose place we take: the next ones that the linker finds. */
static struct {
    pthread_once_t once;
    bool off; /* WAYMARK_NO_FWMARK_CLIENT: for root only */
    int (*socket)(int domain, int type, int protocol);
    int (*listen)(int fd, int backlog);
    int (*accept)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags);
    int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
    ssize_t (*sendto)(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
                      socklen_t len);
    ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
    int (*sendmmsg)(int fd, struct mmsghdr *msgs, unsigned n, int flags);
} next = { .once = PTHREAD_ONCE_INIT };

static void find_next(void)
{
    const struct {
        const char *name;
        void *place; /* of a function pointer */
    } functions[] = {
        { "socket", &next.socket },   { "listen", &next.listen },     { "accept", &next.accept },
        { "accept4", &next.accept4 }, { "connect", &next.connect },   { "sendto", &next.sendto },
        { "sendmsg", &next.sendmsg }, { "sendmmsg", &next.sendmmsg },
    };

    for (size_t i = 0; i < ELEMENTSOF(functions); i++) {
        void *function = dlsym(RTLD_NEXT, functions[i].name);

        if (!function)
            abort(); /* no C library: nothing can go on */
        memcpy(functions[i].place, &function, sizeof(function));
    }
    next.off = secure_getenv("WAYMARK_NO_FWMARK_CLIENT") != NULL;
}

/* Before main(), while nothing else runs; a constructor that is earlier does it by its first call. */
__attribute__((constructor)) static void ready(void)
{
    (void)pthread_once(&next.once, find_next);
}

/* As on Android: only root may go without. */
static bool is_off(void)
{
    return next.off && geteuid() == 0;
}

static bool is_inet(int family)
{
    return family == AF_INET || family == AF_INET6;
}

/* -1 when it has none. errno stays as it is. */
static int64_t get_option(int fd, int option)
{
    int error = errno, value;
    socklen_t n = sizeof(value);

    if (getsockopt(fd, SOL_SOCKET, option, &value, &n) == 0)
        return (uint32_t)value;
    errno = error;
    return -1;
}

static bool is_ours(int fd)
{
    return !is_off() && is_inet((int)get_option(fd, SO_DOMAIN));
}

static int fail(int r)
{
    errno = -r;
    return -1;
}

/* The program never gets it. Not close(): that is a point where threads are cancelled. */
static int take_back(int fd, int r)
{
    (void)syscall(SYS_close, fd);
    return fail(r);
}

static int ask(enum fwmark_command_id id, const struct fwmark_connect_info *info, int fd)
{
    const struct fwmark_command command = { .id = id };
    uint32_t choice;
    int r = process_get(&choice);

    if (r == 0 && choice == PROCESS_DISABLED)
        r = -EPERM;
    return r < 0 ? r : process_ask(&command, info, fd);
}

/* False: no IP address, or one that the kernel will refuse as too short. */
static bool read_destination(const struct sockaddr *addr, socklen_t len,
                             struct fwmark_connect_info *ret_info)
{
    size_t shortest = offsetof(struct sockaddr_in6, sin6_scope_id); /* SIN6_LEN_RFC2133 */

    if (!addr || len < sizeof(struct sockaddr_in) || !is_inet(addr->sa_family) ||
        (addr->sa_family == AF_INET6 && len < shortest))
        return false;
    *ret_info = (struct fwmark_connect_info){ 0 };
    memcpy(&ret_info->destination, addr,
           MIN((size_t)len, addr->sa_family == AF_INET ? sizeof(ret_info->destination.in)
                                                       : sizeof(ret_info->destination.in6)));
    return true;
}

/* Exported under the names that <sys/socket.h> has, whose declarations differ among C libraries. */
#define HOOK(type, name, ...)                                                            \
    type hook_##name(__VA_ARGS__) __asm__(#name) __attribute__((visibility("default"))); \
    type hook_##name(__VA_ARGS__)

HOOK(int, socket, int domain, int type, int protocol)
{
    int fd, r;

    ready();
    fd = next.socket(domain, type, protocol);
    if (fd < 0 || !is_inet(domain) || is_off())
        return fd;
    r = process_mark_new(fd);
    return r < 0 ? take_back(fd, r) : fd;
}

HOOK(int, listen, int fd, int backlog)
{
    const struct fwmark_command reset = { .id = FWMARK_SELECT_NETWORK };
    int64_t mark;
    int r = 0;

    ready();
    mark = is_ours(fd) ? get_option(fd, SO_MARK) : -1;
    if (mark > 0 && mark & FWMARK_ALL && !(mark & FWMARK_EXPLICIT))
        r = process_ask(&reset, NULL, fd);
    return r < 0 ? fail(r) : next.listen(fd, backlog);
}

static int accepted(int fd)
{
    int r;

    if (fd < 0 || !is_ours(fd))
        return fd;
    r = ask(FWMARK_ON_ACCEPT, NULL, fd);
    return r < 0 ? take_back(fd, r) : fd;
}

HOOK(int, accept, int fd, struct sockaddr *addr, socklen_t *len)
{
    ready();
    return accepted(next.accept(fd, addr, len));
}

HOOK(int, accept4, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    ready();
    return accepted(next.accept4(fd, addr, len, flags));
}

HOOK(int, connect, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct fwmark_connect_info info;
    usec_t start;
    int result, r;

    ready();
    if (!read_destination(addr, len, &info) || !is_ours(fd))
        return next.connect(fd, addr, len);
    r = ask(FWMARK_ON_CONNECT, &info, fd);
    if (r < 0)
        return fail(r);

    start = clock_monotonic();
    result = next.connect(fd, addr, len);
    info.error = result < 0 ? errno : 0;
    info.latency_ms = (uint32_t)((clock_monotonic() - start) / USEC_PER_MSEC);
    (void)ask(FWMARK_ON_CONNECT_COMPLETE, &info, fd);
    return result;
}

/* Before something goes to `addr`. The kernel takes AF_UNSPEC for AF_INET here. 0 or -errno. */
static int before_send(int fd, const struct sockaddr *addr, socklen_t len, int flags)
{
    struct fwmark_connect_info info;

    if (!addr || len < sizeof(addr->sa_family) ||
        (!is_inet(addr->sa_family) && addr->sa_family != AF_UNSPEC) || !is_ours(fd))
        return 0;
    if (!(flags & MSG_FASTOPEN) && get_option(fd, SO_MARK) & FWMARK_ALL)
        return 0;
    return ask(FWMARK_ON_CONNECT, read_destination(addr, len, &info) ? &info : NULL, fd);
}

HOOK(ssize_t, sendto, int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
     socklen_t len)
{
    int r;

    ready();
    r = before_send(fd, addr, len, flags);
    return r < 0 ? fail(r) : next.sendto(fd, buf, n, flags, addr, len);
}

HOOK(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
    int r;

    ready();
    r = msg ? before_send(fd, msg->msg_name, msg->msg_namelen, flags) : 0; /* NULL: EFAULT */
    return r < 0 ? fail(r) : next.sendmsg(fd, msg, flags);
}

/* One mark for all: the first destination decides. */
HOOK(int, sendmmsg, int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
    int r = 0;

    ready();
    for (unsigned i = 0; msgs && i < MIN(n, UIO_MAXIOV); i++) { /* the kernel looks at no more */
        const struct msghdr *msg = &msgs[i].msg_hdr;

        if (!msg->msg_name)
            continue;
        r = before_send(fd, msg->msg_name, msg->msg_namelen, flags);
        break;
    }
    return r < 0 ? fail(r) : next.sendmmsg(fd, msgs, n, flags);
}
