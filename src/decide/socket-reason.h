/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What socket_decide() means, for people. Apart from decide/socket.h, which is compiled for BPF.
 */

#include <stdint.h>

/* Why a socket has its mark, as a sentence without a full stop. Never NULL. */
const char *socket_reason_to_string(uint32_t reason);
