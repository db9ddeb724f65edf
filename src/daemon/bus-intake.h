/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a peer sends, before sd-bus gets it.
 *
 * sd-bus takes messages of up to 128 MiB, and keeps as much of one that is not whole yet: with a few
 * connections any user could fill our memory. It offers no smaller limit, and reads the socket by
 * itself. So it is given the end of a socket pair to read from, and we move the bytes from the peer's socket
 * into it, never further than to the end of a message, whose head we look at: one that is too large for an
 * unprivileged peer ends the connection. Descriptors that come along are dropped, whoever sends them,
 * which does not wait (basic/linger.h): those who are to get some from us have agreed to send some, too.
 *
 * (A pipe would do, but sd-bus sends descriptors only where it could get some, by a socket.)
 */

#include "daemon/bus-end.h"

struct bus_intake;

/* Goes between the peer and sd-bus; *ret_fd, to be closed by the caller, is for sd-bus to read. */
int bus_intake_new(struct bus_end *end, struct bus_intake **ret, int *ret_fd);
void bus_intake_free(struct bus_intake *in);
DEFINE_CLEANUP(struct bus_intake *, bus_intake_free)
