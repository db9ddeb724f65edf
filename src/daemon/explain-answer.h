/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The answer of Explain as a D-Bus dictionary: docs/dbus.md. */

#include "daemon/bus-end.h"
#include "daemon/explain-question.h"
#include "plan/explain.h"

/* The calls of a socket at which its mark is decided: socket(), connect(). */
enum { EXPLAIN_COMMANDS = 2 };

/* How a socket of the app comes to its mark; only with the back-end `maps`. */
struct explain_mark {
    bool decided; /* else the question has the mark, or nobody gives sockets marks */
    struct {
        unsigned number; /* of decide/socket.h; 0 = the socket is left alone */
        const char *reason;
        uint32_t mark;
    } steps[EXPLAIN_COMMANDS];
    const char *reason;  /* of the mark that it ends with; NULL = the socket is left alone */
    const char *network; /* the one that the mark names, or "" */
};

struct explain_answer {
    const struct manager *manager;
    const struct kernel *k;
    const struct explanation *e;
    const struct asked_app *app;     /* NULL = nothing is known but the uid */
    const struct explain_mark *mark; /* NULL = it was not looked for */
    bool show_exe;                   /* who asks may see the executable of the process */
};

/* Appends the dictionary. */
int explain_append(sd_bus_message *m, const struct explain_answer *x);

/* An interface's name; "" for one that is not there. */
const char *explain_link_name(const struct kernel *k, int ifindex);
