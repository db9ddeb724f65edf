/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Every assignment that matches an app, and why all but one of them do not hold: for explanations.
 *
 * In the order in which they would hold, were those before them not there; so the first one is what
 * app_decide() says (decide/app.h), which tests/unit/test-app.c checks in each of its rows.
 */

#include "decide/app.h"

/* Why an assignment that matches does not hold. */
enum app_loss {
    APP_LOSS_NONE,     /* it holds */
    APP_LOSS_STEP,     /* one of an earlier step matches, too */
    APP_LOSS_DISTANCE, /* …of a directory nearer to the process */
    APP_LOSS_STRICTER, /* …of the same executable or directory that is stricter, or sorts first */
    APP_LOSS_CLOSER, /* …of the user that is closer, stricter, or sorts first (decide/precedence.h) */
    APP_LOSS_BACKEND, /* it takes the back-end `maps` to match it */
    APP_LOSS_MAX,
};

/* As a sentence without a full stop; "" for APP_LOSS_NONE. */
const char *app_loss_to_string(enum app_loss loss);

struct app_match {
    const struct assignment *assignment;
    enum app_step step;
    unsigned distance; /* APP_RUN, APP_CGROUP: how many directories above the process's own it is */
    enum app_loss loss;
};

/*
 * `processes` false: assignments of processes match nobody, as with the back-end `rules`; they come
 * last. The others are as for app_decide(); an app without an inode is one of a program that is not there,
 * and known by its path. Looks at each assignment. 0 or -ENOMEM; *ret is the caller's
 * to free.
 */
int app_matches(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
                const struct app *app, bool processes, struct app_match **ret, size_t *ret_n);
