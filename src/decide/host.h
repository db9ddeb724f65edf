/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which of the machine's interfaces are networks of their own.
 *
 * An interface is one when it is up, has a global address, is no port of a bridge, bond or VRF, is
 * not ignored by the configuration, and no network that somebody asked for has it. The steps are
 * numbered as in host_decide() and tests/unit/test-host.c.
 */

#include "model/kernel.h"
#include "model/model.h"

enum host_reason {
    HOST_NETWORK,    /* it is one */
    HOST_NAME,       /* 1  its name cannot be a network's (too odd, or a word with a meaning) */
    HOST_IGNORED,    /* 2  matches `ignore =`, is loopback, or was made for a VPN's program */
    HOST_CLAIMED,    /* 3  is part of a network that was asked for */
    HOST_PORT,       /* 4  is a port of another interface */
    HOST_DOWN,       /* 5  is not up */
    HOST_NO_ADDRESS, /* 6  has no global address (tentative ones do not count) */
    HOST_REASON_MAX,
};

const char *host_reason_to_string(enum host_reason reason);

enum host_reason host_decide(const struct model *m, const struct kernel *k,
                             const struct rtnl_link *link);

/*
 * Makes the host networks of the model those of the kernel's interfaces: adds, and drops. Networks
 * that stay are not touched. A network of another origin that has the name keeps it. 0 or -ENOMEM.
 */
int host_update(struct model *m, const struct kernel *k);

/*
 * Can this interface carry its network's traffic? On a host: up and with carrier, so that a pulled
 * cable blocks or falls back at once instead of timing out. With --no-host-networks commands alone
 * decide, as on Android: it has to exist.
 */
bool host_interface_usable(const struct model *m, const struct rtnl_link *link);
