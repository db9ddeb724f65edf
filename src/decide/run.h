/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * May somebody run a program on a network? `waymark run` assigns the cgroup of what it runs, and that
 * comes before what is assigned to the executable, to other cgroups and to the user (decide/app.h). So
 * it must be no way out for who is held. The numbers are those of tests/unit/test-run.c:
 *
 *   1  `none`, which is less than anybody may
 *   2  an assignment holds him (none, require): allowed on the required network, else refused
 *   3  a secure VPN captures the user, and he may not protect sockets: likewise with that VPN
 *   4  the network is assigned to him (prefer)
 *   5  he may choose it for a socket: decide/socket.h, socket_access()
 *   6  he may not: somebody with the right to say so has to be asked
 *
 * What he chose himself, by another `waymark run`, holds nobody (struct app, `chooses`).
 */

#include "decide/socket.h"
#include "model/assignment.h"

enum run_access {
    RUN_ALLOWED,
    RUN_ASK,  /* 6 */
    RUN_HELD, /* 2, 3: nobody is asked */
};

struct run_question {
    const char *network;            /* NULL = none */
    const struct assignment *holds; /* what app_decide() says of who asks; NULL = none */
    struct socket_question socket;  /* as for SELECT of that network, by his uid */
};

enum run_access run_decide(const struct run_question *q);
