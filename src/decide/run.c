/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/run.h"

static bool is_assigned(const struct run_question *q)
{
    return q->holds && q->holds->network && streq(q->holds->network->s, q->network);
}

enum run_access run_decide(const struct run_question *q)
{
    const struct socket_question *s = &q->socket;

    if (!q->network)
        return RUN_ALLOWED; /* 1 */
    if (q->holds && (!q->holds->network || q->holds->strength == STRENGTH_REQUIRE))
        return is_assigned(q) ? RUN_ALLOWED : RUN_HELD; /* 2 */
    if (socket_network_is(&s->vpn, SOCKET_NETWORK_SECURE) && !socket_can_protect(s))
        return s->vpn.netid == s->selected.netid ? RUN_ALLOWED : RUN_HELD; /* 3 */
    if (is_assigned(q))
        return RUN_ALLOWED;                                             /* 4 */
    return socket_access(s, &s->selected) == 0 ? RUN_ALLOWED : RUN_ASK; /* 5, 6 */
}
