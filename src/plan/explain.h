/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Explain: for one app and one destination, everything that decides, in order: the assignment, each
 * rule and why it matched or not, the route, the guard; and whether the kernel says the same.
 */

#include "decide/app-matches.h"
#include "model/model.h"
#include "plan/simulate.h"

/*
 * Both the simulator and the kernel are asked for UDP without ports, and no tos. A rule that asks
 * for one of these (sim_step.narrow) may send other packets of the same flow elsewhere: what
 * becomes of such a packet, by all the rules.
 */
struct explain_other {
    bool all_but; /* the rule matches UDP: the packet is one that it does not match (TCP) */
    bool differs; /* it fares otherwise than the packet that was asked about */
    int error;    /* as explanation.error */
    int oif;      /* when there is no error */
};

struct explain_step {
    struct rtnl_rule rule;
    enum sim_mismatch mismatch;
    enum sim_outcome outcome;
    bool has_route;
    struct rtnl_route route;
    bool narrow;
    struct explain_other other; /* of a narrow rule */
};

/* The kernel's answer to RTM_GETROUTE. */
struct kernel_answer {
    int error; /* 0 or negative errno */
    uint8_t type;
    uint32_t table;
    int oif;
    struct ip_addr gateway, src;
};

struct explanation {
    struct rtnl_flow flow;
    const struct assignment *assignment; /* in the model; NULL = none */
    enum app_step step;                  /* by which it holds */
    struct explain_step *steps;
    size_t n_steps, cap_steps;
    bool out_of_memory; /* steps are missing */

    struct sim_result result; /* its pointers are not to be used */
    enum guard_verdict guard;
    int error; /* what the sender gets in the end: the route's error, or -EPERM from the guard */
    const struct network *network; /* the one that the output interface is in; NULL = none */

    bool asked; /* the kernel was asked */
    struct kernel_answer answer;
    bool agrees;
};

/*
 * Fills all but the kernel's answer. Borrows from `m`. -ENOMEM is noted in out_of_memory. Release
 * with explanation_done().
 */
void explain(const struct model *m, const struct kernel *k, const struct rtnl_flow *flow,
             struct explanation *ret);

/*
 * The same for who is known by more than a uid: `holds` is the assignment that holds for the process, as
 * app_matches() has found; NULL: none does.
 */
void explain_app(const struct model *m, const struct kernel *k, const struct rtnl_flow *flow,
                 const struct app_match *holds, struct explanation *ret);

/* What the guard says to a packet of this app, with this mark, that is to leave by an interface. */
enum guard_verdict explain_guard(const struct model *m, const struct kernel *k,
                                 const struct rtnl_flow *flow, const struct app_match *holds,
                                 int oif);

/* Adds what the kernel said and compares: error, type, interface, table, gateway, IPv4 source. */
void explain_compare(struct explanation *e, const struct kernel_answer *answer);

/* True when the simulator's answer is the kernel's. Used by the property test, too. */
bool sim_agrees(const struct rtnl_flow *flow, const struct sim_result *result,
                const struct kernel_answer *answer);

void explanation_done(struct explanation *e);
#define _cleanup_explanation_ _cleanup_(explanation_done)
