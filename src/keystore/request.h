/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What each action does, once its request is whole: a table from actions to functions, which ask the
 * store and answer; those that write answer later.
 */

#include "keystore/connection.h"

/* `bytes` are the request's. The first three checks are made again: time may have passed. */
enum connection_next request_run(struct connection *c, const uint8_t *bytes);

/* How it is to be served, as to others that are asked at the same time. */
enum request_kind {
    REQUEST_READS,   /* at once */
    REQUEST_WRITES,  /* by the store, later: in turn with all others */
    REQUEST_GUESSES, /* the same, and a password is looked at: one by one, and after a delay */
    REQUEST_CLOSES,  /* the same, before all that wait: the store is locked, or wiped */
};

enum request_kind request_kind(enum keystore_action action);
