/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The table of commands, and how a command line finds its row. */

#include "cli/cli.h"

struct command {
    const char *noun;
    const char *verb;  /* NULL = the noun is all of it */
    const char *args;  /* the words behind it, as the usage has them; NULL = none */
    uint64_t options;  /* OPTION_BIT()s, besides those for every command */
    unsigned min, max; /* how many words */
    unsigned network;  /* which of them must name an existing network, from 1; 0 = none */
    unsigned vpn;      /* the same for a VPN */
    unsigned program;  /* from which of them on they are another program's, from 1; 0 = never */
    bool implied;      /* what its noun means without a verb; for the noun's first row */
    int (*run)(struct cli *c);
    void (*print)(struct cli *c); /* NULL = there is nothing to see */
    const char *help;
};

enum { WORDS_ANY = 32 }; /* as `max`: more than a command line of sense has */

/* In the order of the help; the first is what no words at all mean. Ended by a NULL noun. */
extern const struct command commands[];

/* The first row whose noun is meant by `word`; NULL with a sentence when there is none. */
const struct command *command_find_noun(const char *word, struct why *why);

/*
 * The row that the words mean, and how many of them did so. NULL with a sentence when there is
 * none, or when it takes a verb to know.
 */
const struct command *command_find(const char *const *words, size_t n, size_t *ret_used,
                                   struct why *why);

/* For arguments_parse(): options behind the name of another program are that program's. */
bool command_ends_options(const char *const *words, size_t n);

/* Appends "network add NAME [--netid N] …". */
void command_print_usage(const struct command *command, struct strbuf *b);

/* Checks options and the number of words against c->command. 0, or cli_usage()'s error. */
int command_check(struct cli *c);

/*
 * The word at i names an existing network, by its name, the beginning of that, or its netId: then it
 * becomes that name. One that
 * fits nothing is left as it is, for the daemon to judge; `none` and `system` always are. 0; the
 * error of cli_usage() when several fit; errors of cli_get_networks().
 */
int command_resolve_network(struct cli *c, size_t at);

/* The same for a VPN. */
int command_resolve_vpn(struct cli *c, size_t at);
