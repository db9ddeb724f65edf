/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The keys of the configuration: one table row each. */

#include "daemon/config.h"
#include "wire/conf.h"

/* Where a file's lines go. */
struct config_reader {
    struct config *config;
    struct rstr *file;
    struct config_network *network; /* of the section [network NAME] that is open */
    struct config_vpn *vpn;         /* of [vpn NAME] */
};

/* Calls `each` for every word of a list that is separated by commas or blanks. */
int config_for_each_word(const char *value, void *data,
                         int (*each)(void *data, const char *word, struct why *why),
                         struct why *why);
int config_parse_bool(const char *value, bool *ret, struct why *why);

/* A conf_handler; `data` is the struct config_reader. */
int config_handle_line(void *data, const struct conf_line *line, struct why *why);

/*
 * What only the whole section can tell: the type that other keys imply; without `interface =` a
 * network has the interface of its own name; a route without `dev` means the only interface.
 */
int config_settle_network(struct config_network *cn, struct why *why);
