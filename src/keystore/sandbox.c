/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/landlock.h"
#include "basic/log.h"

int sandbox_find_user(const char *name, bool required, struct sandbox_user *ret, struct why *why)
{
    const struct passwd *pw;

    *ret = (struct sandbox_user){ 0 };
    if (geteuid() != 0 && !required)
        return 0;
    pw = getpwnam(name);
    if (!pw && required)
        return why_set(why, -ESRCH, "there is no user '%s' (--user)", name);
    if (!pw) {
        log_warning("there is no user '%s': the keystore runs as root", name);
        return 0;
    }
    if (pw->pw_uid != geteuid())
        *ret = (struct sandbox_user){ true, pw->pw_uid, pw->pw_gid };
    return 0;
}

static bool may_always_lock(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };

    return syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & 1U << CAP_IPC_LOCK);
}

/* All or nothing: a limit, once it is reached, would make allocations fail. */
static int lock_all(const struct sandbox_user *user)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 && getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return -errno;
    if (limit.rlim_cur != RLIM_INFINITY && (user->known || !may_always_lock()))
        return -EPERM;
    /* pages that are never touched hold no secret */
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0 ? -errno : 0;
}

bool sandbox_lock_memory(const struct sandbox_user *user)
{
    const struct rlimit none = { 0 };
    int r;

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        log_warning_errno(-errno, "secrets may be found in core dumps");
    if (SANITIZED) /* terabytes of it */
        return false;
    (void)mallopt(M_ARENA_MAX, 1); /* 64 MiB of address space for each, all of it locked */
    r = lock_all(user);
    if (r < 0)
        log_warning_errno(r, "memory is not locked but for keys, and what each request passes "
                             "through (LimitMEMLOCK=)");
    return r == 0;
}

/* What a program that we started could have: none can be started. Who may not take out of it lets it be. */
static void drop_bounding_set(void)
{
    for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

int sandbox_become(const struct sandbox_user *user, struct why *why)
{
    if (!user->known)
        return 0;
    drop_bounding_set();
    if (setgroups(0, NULL) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return why_set(why, -errno, "cannot become user %u: %s", user->uid, strerror(errno));
    /* another user would have made it so by itself, but for suid_dumpable */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return 0;
}

/* A user who was never root has none. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };
    const uint32_t lock = 1U << CAP_IPC_LOCK;
    struct rlimit limit;
    bool keeps;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || syscall(SYS_capget, &header, sets) < 0)
        return -errno;
    keeps = limit.rlim_cur != RLIM_INFINITY; /* all memory is locked, and what will be */
    drop_bounding_set();
    if ((sets[0].permitted | sets[1].permitted | sets[0].inheritable | sets[1].inheritable) == 0)
        return 0; /* the unit's filter has no capset(), as there is nothing to give up */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    sets[0].permitted &= keeps ? lock : 0;
    sets[0].effective &= sets[0].permitted;
    sets[0].inheritable = 0;
    sets[1] = (struct __user_cap_data_struct){ 0 };
    return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

static int enter_landlock(int state_dir)
{
    const uint64_t access = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                            LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG;
    _cleanup_fd_ int ruleset = landlock_open();
    int r = ruleset < 0 ? ruleset : landlock_allow(ruleset, state_dir, access);

    return r < 0 ? r : landlock_enter(ruleset);
}

static const int calls[] = {
    /* clients */
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),
    /* the loop */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(signalfd4),
    SCMP_SYS(eventfd2),
    SCMP_SYS(setitimer),
    /* files below the state folder, the log */
    SCMP_SYS(openat),
    SCMP_SYS(close),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(getdents64),
    SCMP_SYS(mkdirat),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(unlinkat),
    SCMP_SYS(flock),
    SCMP_SYS(fcntl),
    /* the worker */
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    /* time, memory, the C library */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit_group),
};

/* Only where the third argument, the protection, has no PROT_EXEC. */
static const int calls_without_exec[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };

static int enter_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = ctx ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(calls); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(calls_without_exec); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls_without_exec[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* the name of a thread, and of memory; no way back to being dumpable */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                             SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
    if (r == 0) /* sd_notify(): AF_UNIX alone */
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}

int sandbox_enter(int state_dir, struct why *why)
{
    int r;

    if (SANITIZED) /* has calls of its own */
        return 0;
    r = drop_capabilities();
    if (r < 0)
        return why_set(why, r, "cannot give up capabilities: %s", strerror(-r));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return why_set(why, -errno, "cannot give up privileges: %s", strerror(errno));
    r = enter_landlock(state_dir);
    if (r == -ENOSYS || r == -EOPNOTSUPP) /* older than 5.13, or not for us */
        log_warning_errno(r, "files cannot be restricted here (landlock)");
    else if (r < 0)
        return why_set(why, r, "cannot restrict files (landlock): %s; or use --no-sandbox",
                       strerror(-r));
    r = enter_seccomp();
    if (r < 0)
        return why_set(why, r, "cannot restrict system calls (seccomp): %s; or use --no-sandbox",
                       strerror(-r));
    return 0;
}
