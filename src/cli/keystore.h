/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the source files of `waymark keystore` share: asking waymark-keystored as somebody, and what its
 * answers mean to a person.
 *
 * The keystore knows who asks by the effective uid that connects. Root itself may only get, as on Android;
 * but root may become anybody, so it says for whom it acts, and manages the keystore as the system user.
 */

#include "cli/cli.h"
#include "lib/keystore-client.h"

#define KEYSTORE_SYSTEM_USER "waymark"

struct keystore_question {
    uid_t uid; /* who asks */
    enum keystore_action action;
    struct keystore_blob parameters[KEYSTORE_PARAMETERS_MAX];
    size_t n;
    const char *key;    /* for sentences; NULL: it is about none */
    const char *reader; /* the same, of grants */
};

/* The uid of "alice", "uid:1000" or "1000". -ENOENT with a sentence: there is no such user. */
int keystore_find_user(struct cli *c, const char *word, uid_t *ret);

/*
 * Who asks: --as; else, for root, the system user if there is one, but for `get`; else oneself. Errors of
 * keystore_find_user(); -EPERM with a sentence: only root may be somebody else.
 */
int keystore_find_self(struct cli *c, enum keystore_action action, uid_t *ret);

/* May we ask as this uid? 0 or -EPERM with a sentence. */
int keystore_check_self(struct cli *c, uid_t uid);

/*
 * Asks. 0: "no error". Else -errno of keystore_answer_error(), or of keystore_client_ask(), with a
 * sentence. *ret may be NULL, if only that counts; else it has the answer whenever there was one.
 */
int keystore_ask(struct cli *c, const struct keystore_question *q, struct keystore_reply *ret);

static inline struct keystore_blob keystore_text(const char *text)
{
    return (struct keystore_blob){ text, strlen(text) };
}

/*
 * How many bytes are a character of UTF-8 that a terminal shows, and that does nothing else to it. 0: none;
 * what begins with this byte is not to be written as it is. There is one byte at least.
 */
size_t keystore_shown(const uint8_t *bytes, size_t size);

/*
 * A key's name, which may be any bytes: object["key"] as people read it, \xNN and \\ for what is not
 * to be shown, and object["key_bytes"] exactly. 0 or -ENOMEM.
 */
int keystore_put_name(json_t *object, const void *name, size_t size);

/* Base64. The caller frees it; NULL: out of memory. */
char *keystore_base64(const void *data, size_t size);
