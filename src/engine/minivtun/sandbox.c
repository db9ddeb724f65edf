/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/landlock.h"
#include "basic/log.h"

int sandbox_become(const char *user, struct why *why)
{
    const struct passwd *pw;

    if (!user && geteuid() != 0)
        return 0;
    pw = getpwnam(user ? user : "nobody");
    if (!pw)
        return why_set(why, -ESRCH, "there is no user '%s' (--user)", user ? user : "nobody");
    if (pw->pw_uid == geteuid() && user)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        return why_set(why, -errno, "cannot become '%s': %s", pw->pw_name, strerror(errno));
    return 0;
}

/* c-ares reads resolv.conf, hosts, nsswitch.conf; where the first is a link, it leads to these. */
static const char *const readable[] = { "/etc", "/run/systemd/resolve", "/run/NetworkManager",
                                        "/run/resolvconf", "/run/connman" };

static int allow_reading(int ruleset, const char *path)
{
    _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return 0; /* what is not there need not be allowed */
    return landlock_allow(ruleset, fd, LANDLOCK_ACCESS_FS_READ_FILE);
}

static int enter_landlock(void)
{
    _cleanup_fd_ int ruleset = landlock_open();
    int r = MIN(ruleset, 0);

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(readable); i++)
        r = allow_reading(ruleset, readable[i]);
    return r < 0 ? r : landlock_enter(ruleset);
}

/* Of a program that moves packets, asks for names, and logs. */
static const int calls[] = {
    /* the loop, packets */
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    /* another socket to the server, those of c-ares */
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(fcntl),
    SCMP_SYS(close),
    /* into the background */
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    /* what landlock lets be read; the health file, which is open */
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(statx),
    SCMP_SYS(lseek),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(ftruncate),
    SCMP_SYS(uname),
    /* time, memory, the C library */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sysinfo),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static const int families[] = { AF_INET, AF_INET6, AF_UNIX };

static int enter_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = ctx ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(calls); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(families); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    if (r == 0) /* "fe80::1%eth0" */
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, SIOCGIFINDEX, 0));
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}

int sandbox_enter(struct why *why)
{
    int r;

    if (SANITIZED) /* its end, when leaks are looked for, needs what nobody else does */
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return why_set(why, -errno, "cannot give up privileges: %s", strerror(errno));
    r = enter_landlock();
    if (r < 0)
        log_debug("no landlock here: %s", strerror(-r));
    r = enter_seccomp();
    if (r < 0)
        log_warning_errno(r, "system calls cannot be restricted (seccomp)");
    return 0;
}
