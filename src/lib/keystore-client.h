/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The client's half of a question to waymark-keystored, for the library and for waymark(1).
 *
 * One connection, one request (wire/keystore.h), one answer. Who asks is who the process is when it
 * connects: the effective uid. What was sent and what came is wiped before its memory is given back.
 *
 * The keystore may answer, and hang up, before it has read everything: a request that cannot be sent to
 * its end has an answer all the same, as a rule.
 */

#include "basic/clock.h"
#include "wire/keystore.h"

/* Behind the answer's code. Released, and wiped, by keystore_reply_done(). */
struct keystore_reply {
    uint8_t answer; /* enum keystore_answer */
    uint8_t *bytes;
    size_t size, capacity;
};

void keystore_reply_done(struct keystore_reply *reply);
#define _cleanup_reply_ _cleanup_(keystore_reply_done)

/*
 * Asks the keystore that listens on `path`. `patience` 0: as long as the action may take.
 *
 * 0: there is an answer, which need not be "no error": keystore_answer_error(). Else -EMSGSIZE: a
 * parameter is longer than the action has it; -EPROTO: the answer is none; -ENOMEM; the errors of
 * unix-socket.h. errno stays as it is. The thread is not cancelled meanwhile.
 */
int keystore_client_ask(const char *path, usec_t patience, enum keystore_action action,
                        const struct keystore_blob *parameters, size_t n,
                        struct keystore_reply *ret);

/* 0, or the errno of waymark.h for an answer; each has its own, but wrong passwords, which share one. */
int keystore_answer_error(uint8_t answer);

/* How many tries a wrong password leaves: 4 to 1, the last of which wipes. 0: it is another answer. */
unsigned keystore_answer_tries(uint8_t answer);
