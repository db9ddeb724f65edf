/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The commands of the netd socket: `network`, `resolver`, `interface` (android.md §4.3, §4.4).
 *
 * A command is a path of words through tables: the rows below the first word name the second, with
 * the number of arguments it takes and the text of the 500 for a wrong number. A row's function
 * reads the rest and comes back with the last line of the answer, so that there is exactly one of
 * those; lines before it (`interface list`) it appends itself.
 *
 * What the functions do to the world they do through manager_change() and the edits of
 * model/edit.h, as the CLI and D-Bus do; the texts, the order of the checks and the errnos are
 * those of Android 7. Where the edits and Android differ, the function says so:
 *
 *  - Networks are addressed by netId. One that is made here is called net<netId> and is of
 *    ORIGIN_RUNTIME: it outlives the daemon, not the machine.
 *  - Android has netIds 51, 52 and 99 always, in our house they may not be there.
 *  - A default network that is destroyed is no default any more, so that one which is made with the
 *    same netId is not it by accident.
 *  - `permission network` changes one network after the other; the first error ends it, those
 *    before stay changed. All other commands are all or nothing.
 *
 * What went wrong in more words than an errno goes to the log at debug: the protocol has no place
 * for it.
 */

#include "daemon/change.h"
#include "wire/netdtext.h"

/* One command while it runs. */
struct netd_call {
    struct manager *manager;
    const char *const *argv; /* argv[0] is the command's word */
    size_t argc;
    int seq;
    struct strbuf *out; /* where lines before the last go */
    struct why why;     /* more about a failure */
    char line[192];     /* for texts of an answer that are made up */
};

/* The last line of an answer. */
struct netd_answer {
    enum netdtext_code code;
    const char *text; /* constant, or the call's `line` */
    int error;        /* 0, or a negative errno to stand behind the text */
};

/* A word and what it does. In a table's last row `word` is NULL: any other word. */
struct netd_verb {
    const char *word;
    size_t min, max;         /* arguments, argv[0] included */
    const char *wrong_count; /* text of the 500 when there are fewer or more */
    struct netd_answer (*run)(struct netd_call *call);
};

/*
 * Runs one request and appends the whole answer to `out`. *seq is the connection's last sequence
 * number, before and after.
 */
void netd_run(struct manager *m, const char *request, int *seq, struct strbuf *out);

/* Finds the row for argv[index] (which is there) and runs it. */
struct netd_answer netd_dispatch(struct netd_call *call, const struct netd_verb *verbs,
                                 size_t index);

/* Changes the model; `done` and `failed` are the texts of the two answers. */
struct netd_answer netd_change(struct netd_call *call, manager_edit edit, void *data,
                               const char *done, const char *failed);

/* The name of the network with this netId: what edits want. 0 or -ENONET with the reason. */
int netd_network_name(const struct model *m, uint32_t netid, char ret[static NETWORK_NAME_MAX + 1],
                      struct why *why);

struct netd_answer netd_network(struct netd_call *call);
struct netd_answer netd_resolver(struct netd_call *call);
struct netd_answer netd_interface(struct netd_call *call);

static inline struct netd_answer netd_okay(const char *text)
{
    return (struct netd_answer){ .code = NETDTEXT_OKAY, .text = text };
}

static inline struct netd_answer netd_syntax_error(const char *text)
{
    return (struct netd_answer){ .code = NETDTEXT_SYNTAX, .text = text };
}

static inline struct netd_answer netd_failed(const char *text, int error)
{
    return (struct netd_answer){ .code = NETDTEXT_FAILED, .text = text, .error = error };
}
