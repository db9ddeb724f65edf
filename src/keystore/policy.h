/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who may do what, and whose names he speaks of. Pure: a uid and an action in, an answer out.
 *
 * A uid is of the first class that has it:
 *
 *   system   all but get
 *   vpn      get only, and looks up as system
 *   wifi     the same
 *   root     the same: who is root and wants more can have it by other means, but not by accident
 *   other    test, get, insert, delete, exist, saw, grant, ungrant, on names of his own
 *
 * What is asked is looked at in this order, each as soon as its bytes are there; the first that does
 * not hold is the answer: is there such an action (9), may this class (6), is the store in the state that
 * it needs (the state is the answer), is each parameter one (5), and is that all (5).
 */

#include <sys/types.h>

#include "wire/keystore.h"

enum policy_class {
    POLICY_SYSTEM,
    POLICY_VPN,
    POLICY_WIFI,
    POLICY_ROOT,
    POLICY_OTHER,
    POLICY_CLASS_MAX,
};

#define POLICY_NOBODY ((uid_t)-1)

struct policy {
    uid_t system, vpn, wifi; /* POLICY_NOBODY: there is no such class */
};

enum policy_class policy_class_of(const struct policy *p, uid_t uid);
bool policy_may(enum policy_class class, enum keystore_action action);

/*
 * The uid whose names this one's requests are about. Where there is no system, those of who would be
 * looked up as it are his own.
 */
uid_t policy_owner(const struct policy *p, uid_t uid);

/*
 * The first three checks, of what was read so far. 0 where they hold (and a code has come), or the
 * answer.
 */
enum keystore_answer policy_check(const struct policy *p, uid_t uid,
                                  const struct keystore_reader *request,
                                  enum keystore_answer state);
