/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the program is told: by keystore.conf, and by its command line, which wins. One table has both;
 * waymark-keystored(8) tells users.
 */

#include "keystore/policy.h"
#include "keystore/store.h"

struct options {
    const char *runtime_dir, *state_dir;
    const char *user; /* whom to become; NULL: the usual one, if there is */
    char *names[3];   /* of system, vpn, wifi: users or uids; NULL: none */
    char *key_file;   /* NULL: the credential, if there is one */
    struct store_settings store;
    usec_t timeout;
    bool sandbox;
    int log_level;
};

/* 1: go on; 0: all is done (help, version); or -EINVAL, what is wrong has been said. */
int options_parse(int argc, char **argv, struct options *ret);
void options_done(struct options *o);
#define _cleanup_options_ _cleanup_(options_done)

/* Who is who. A name of which there is no user is warned of, and is nobody. */
struct policy options_policy(const struct options *o);
