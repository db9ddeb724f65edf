/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The question of Explain (docs/dbus.md): what is read from the message, and who is meant by it.
 *
 * An app is a process, or what one would be: a uid, an executable, a cgroup, each of which may be
 * left out.
 */

#include <systemd/sd-bus.h>

#include "daemon/manager.h"
#include "decide/app-matches.h"
#include "observe/process.h"

/* What keys answer: nothing is answered twice. */
enum given {
    GIVEN_SENDER,
    GIVEN_EXE,
    GIVEN_PLACE,
    GIVEN_MARK,
    GIVEN_DEVICE,
    GIVEN_SOURCE,
    GIVEN_DESTINATION,
};

struct question {
    struct rtnl_flow flow;
    unsigned given;                           /* 1 << GIVEN_* */
    const char *device, *exe, *cgroup, *unit; /* of the message; NULL = not given */
    uint32_t pid;                             /* 0 = not given */
};

static inline bool question_has(const struct question *q, enum given given)
{
    return q->given & 1U << given;
}

/* 0, or a negative errno with the reason. */
int question_read(sd_bus_message *msg, struct question *ret, struct why *why);

/* Who sends. */
struct asked_app {
    struct process process; /* pid 0: one that is only thought of */
    bool absent; /* the unit that was asked about does not run: where it would stand is a guess */
    struct app_match *matches;
    size_t n_matches;
};

void asked_app_done(struct asked_app *a);
#define _cleanup_asked_app_ _cleanup_(asked_app_done)

/* Finds out; also q->flow.uid for a process. 0, or a negative errno with the reason. */
int question_find_app(struct manager *m, struct question *q, struct asked_app *ret,
                      struct why *why);

/* The match that holds, or NULL. */
static inline const struct app_match *asked_app_holds(const struct asked_app *a)
{
    return a->n_matches > 0 && a->matches[0].loss == APP_LOSS_NONE ? &a->matches[0] : NULL;
}
