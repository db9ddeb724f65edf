/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The context of the one command that runs, and what all commands share.
 *
 * A command works in two steps. run() asks the daemon and fills the document `doc`, which is what
 * --json prints; print() writes the same document for people. So the two cannot tell different
 * stories, and a printer needs no daemon. Nothing is written before all is known: a failure leaves
 * standard output empty, but for the error document of --json.
 */

#include "cli/json.h"
#include "cli/options.h"
#include "cli/print.h"
#include "lib/client.h"

/* As nmcli's. Part of the interface: waymark(1) lists them. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_USAGE = 2,
    EXIT_TIMEOUT = 3,
    EXIT_FAILED = 4,     /* the daemon refused, or it could not be carried out */
    EXIT_NO_DAEMON = 8,  /* waymarkd, or waymark-keystored, is not running */
    EXIT_NO_OBJECT = 10, /* no such network, VPN, assignment, interface, route, key, user, … */
    /* as a shell's: of `run`, whose exit code else is the program's */
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NO_PROGRAM = 127,
};

enum { JSON_SCHEMA = 1 }; /* "waymark" in every document */

struct command;

struct cli {
    struct arguments args; /* words: those behind the command's own */
    const struct command *command;
    const char *runtime_dir;
    usec_t timeout; /* as asked for; 0 = not asked for */
    bool json, color;

    struct client *client; /* NULL until it is needed */
    json_t *networks;      /* NULL until they are needed */
    json_t *vpns;          /* the same */
    json_t *doc;           /* what run() found; NULL = the command prints by itself */
    struct strbuf out;     /* what print() made of it */
    struct why why;        /* of a failure */
    enum exit_code code;   /* to exit with; EXIT_OK of a failure = that of its errno */
    char *resolved;        /* owns the name that a word was a beginning of */
};

/* The word at i, or NULL. */
static inline const char *cli_word(const struct cli *c, size_t i)
{
    return i < c->args.n_words ? c->args.words[i] : NULL;
}

/* A refusal that is the caller's mistake: exit code 2. Returns -EINVAL. */
int cli_usage(struct cli *c, const char *format, ...) _printf_(2, 3);

/* <runtime-dir>/NAME; the caller frees it. NULL when out of memory. */
char *cli_runtime_path(const struct cli *c, const char *name);

/* Connects, unless that was done; errors of client_open(). `timeout` holds unless one was given. */
int cli_connect_within(struct cli *c, usec_t timeout);
int cli_connect(struct cli *c);

/* A call whose answer is only that it was done. Connects. */
int cli_change(struct cli *c, const char *method, const char *types, ...);
/* The same of the interface of the VPNs. */
int cli_change_vpn(struct cli *c, const char *method, const char *types, ...);

/*
 * doc[key] = what the daemon answered to `method`, which must be of type `signature`; `names` as
 * for json_from_message(). Errors of client_bad_answer().
 */
int cli_put_answer(struct cli *c, const char *key, sd_bus_message *m, const char *method,
                   const char *signature, const char *const *names);

/* Fetches c->networks, by netId, unless that was done. Connects. */
int cli_get_networks(struct cli *c);

/* The same for c->vpns: cli_forget_vpns() has them fetched anew. */
int cli_get_vpns(struct cli *c);
void cli_forget_vpns(struct cli *c);

/* The one of c->networks, or of c->vpns, with this name, borrowed; NULL when there is none. */
json_t *cli_find(const json_t *list, const char *name);

/* doc["networks"], doc["assignments"]: all of them. Connect. */
int cli_put_networks(struct cli *c);
int cli_put_assignments(struct cli *c);

/* For a command that writes by itself: no document, and nothing for main() to print. */
void cli_no_document(struct cli *c);

/* Appends to the output; control characters in the text become '?', but for '\n'. */
void cli_print(struct cli *c, enum style style, const char *format, ...) _printf_(3, 4);
void cli_print_table(struct cli *c, const struct table *table, const json_t *rows, size_t max);

/* "label:   value", of a list one element per line, below each other. */
void cli_print_field(struct cli *c, const char *label, const json_t *value, bool colored);
