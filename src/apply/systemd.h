/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Units that systemd is asked to start and stop. Nobody waits for its answer, which may take long: what
 * it refuses is logged, and what became of it the caller sees by what the unit does.
 */

#include <stdint.h>
#include <systemd/sd-bus.h>

/* 0 or -errno: it is asked. */
int systemd_start(sd_bus *sd, const char *unit);
int systemd_stop(sd_bus *sd, const char *unit);

/*
 * A service that is made for a command line (apply/spawn.h), and gone when that has ended: as that user,
 * without a way to more privileges. `environment`: until NULL.
 */
int systemd_start_command(sd_bus *sd, const char *unit, const char *command, uint32_t uid,
                          const char *const *environment);
