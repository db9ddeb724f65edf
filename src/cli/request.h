/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Calls that take a{sv}: what is asked for is what of the command's options was given, one row each.
 */

#include "cli/cli.h"

struct request_option;

/* Appends the variant; 0, sd-bus's errors, or those of cli_usage(). */
typedef int (*request_append)(struct cli *c, sd_bus_message *m, const struct request_option *o);

struct request_option {
    enum option_id id;
    const char *key; /* what the daemon calls it */
    request_append append;
};

int request_netid(struct cli *c, sd_bus_message *m, const struct request_option *o); /* u */
int request_text(struct cli *c, sd_bus_message *m, const struct request_option *o);  /* s */
int request_flag(struct cli *c, sd_bus_message *m, const struct request_option *o);  /* b */
/* as, of the option each time that it was given; "" is nothing, so that a list can be emptied */
int request_list(struct cli *c, sd_bus_message *m, const struct request_option *o);
/* the same, where each value is a list with commas */
int request_words(struct cli *c, sd_bus_message *m, const struct request_option *o);

/* Is one of them given? */
bool request_any(const struct cli *c, const struct request_option *options, size_t n);

/* Yes or no, as an option has it that may be bare. 0, or cli_usage()'s error. */
int request_read_flag(struct cli *c, enum option_id id, bool *ret);

/* Appends the a{sv}: those that are given, then `more` (may be NULL), which appends entries. */
int request_append_options(struct cli *c, sd_bus_message *m, const struct request_option *options,
                           size_t n, int (*more)(struct cli *c, sd_bus_message *m));

/* The end of a request: what `r`, of appending to it, means; else sends it. */
int request_send(struct cli *c, sd_bus_message *m, const char *method, int r);
