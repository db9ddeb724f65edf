/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Runs plan/verify.h without holding up the daemon: in a child that has a snapshot of the kernel's
 * state and writes its result into a pipe. One child at a time; who asks meanwhile gets the answer of
 * the next one, because the state may have changed. A child that takes longer than five minutes is
 * killed.
 */

#include <systemd/sd-bus.h>

#include "daemon/manager.h"
#include "plan/verify.h"

struct verifier;

int verifier_new(struct manager *m, struct verifier **ret);
void verifier_free(struct verifier *v);

/*
 * Has the answer to `msg` sent when the proof is done: `reply` builds and sends it. 0, or a negative
 * errno with the reason; then nothing will be sent.
 */
typedef int (*verifier_reply)(struct manager *m, sd_bus_message *msg,
                              const struct verify_result *result, usec_t took);
int verifier_ask(struct verifier *v, sd_bus_message *msg, verifier_reply reply, struct why *why);

/* Forgets those who asked over this connection. */
void verifier_forget(struct verifier *v, sd_bus *sd);
