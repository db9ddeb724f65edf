/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* Preloaded into linux.uml 6.1, so that it boots on processors with AMX.
 *
 * UML keeps a guest process's vector registers in 2696 bytes: all there was before AMX, whose
 * tiles make it 11008. PTRACE_SETREGSET takes the whole or nothing, and the guest's init dies of
 * "ptrace set fp regs failed, errno = 14". So what UML gives is made as long as this machine wants
 * it, with the tiles as they are when nobody has used them; in a guest nobody can (arch_prctl() is
 * UML's own). What it reads needs no help: it gets the first 2696 bytes.
 *
 * Letting UML fall back to PTRACE_SETFPREGS instead loses AVX registers, which the C library's
 * string functions use: `waymark` then ended with a made-up "Invalid argument", each time.
 */

enum {
    XSTATE_MAX = 1 << 16, /* what the tracee's may be */
    XSTATE_BV = 512,      /* where the XSAVE header begins: the features that are in use */
};
#define XSTATE_TILES (UINT64_C(3) << 17) /* XTILECFG, XTILEDATA */

typedef long ptrace_fn(enum __ptrace_request request, ...);

static long set_whole(ptrace_fn *next, enum __ptrace_request request, pid_t pid, void *type,
                      const struct iovec *part)
{
    /* not on the stack, which is the guest kernel's; there is one processor and no preemption */
    static uint8_t whole[XSTATE_MAX];
    struct iovec iov = { .iov_base = whole, .iov_len = sizeof(whole) };
    uint64_t features;

    if (next(PTRACE_GETREGSET, pid, type, &iov) < 0)
        return -1;
    if (iov.iov_len <= part->iov_len || part->iov_len < XSTATE_BV + sizeof(features))
        return next(request, pid, type, part);
    memset(whole, 0, sizeof(whole));
    memcpy(whole, part->iov_base, part->iov_len);
    memcpy(&features, whole + XSTATE_BV, sizeof(features));
    features &= ~XSTATE_TILES;
    memcpy(whole + XSTATE_BV, &features, sizeof(features));
    return next(request, pid, type, &iov);
}

long ptrace(enum __ptrace_request request, ...)
{
    ptrace_fn *next = (ptrace_fn *)dlsym(RTLD_NEXT, "ptrace");
    void *addr, *data;
    pid_t pid;
    va_list ap;

    if (!next) {
        errno = ENOSYS;
        return -1;
    }
    va_start(ap, request);
    pid = va_arg(ap, pid_t);
    addr = va_arg(ap, void *);
    data = va_arg(ap, void *);
    va_end(ap);
    if (request == PTRACE_SETREGSET && (uintptr_t)addr == NT_X86_XSTATE)
        return set_whole(next, request, pid, addr, data);
    return next(request, pid, addr, data);
}
