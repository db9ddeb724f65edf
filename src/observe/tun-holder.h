/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A TUN interface is gone. Has its program closed it, or has somebody deleted it under the program's hands?
 * In the second case the program still has the descriptor, and the kernel says in its fdinfo (`iff:`) that it is
 * of no interface.
 */

#include <stdint.h>

/*
 * 1: the process has such a descriptor; 0: it has none; -ESRCH: it is gone; -EACCES: not for us to see
 * (CAP_SYS_PTRACE); -E2BIG: it has too many descriptors to look at all.
 */
int tun_holder_has_orphan(uint32_t pid);
