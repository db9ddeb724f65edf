/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What socket_decide() and door_judge() mean, for people. Apart from decide/socket.h and decide/door.h,
 * which are compiled for BPF.
 */

#include <stdint.h>

/* Why a socket has its mark, as a sentence without a full stop. Never NULL. */
const char *socket_reason_to_string(uint32_t reason);

/*
 * The step of socket_decide() that gives a command this answer, as numbered there (16 also for 15); 0 = none
 * does.
 */
unsigned socket_reason_step(uint32_t command, uint32_t reason);

/* The word for a verdict that drops: "none", "interface", "incoming"; NULL for one that does not. */
const char *door_drop_to_string(uint32_t verdict);
