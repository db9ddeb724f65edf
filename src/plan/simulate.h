/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's output routing, as a function of data.
 *
 * Given the kernel's rules, routes and addresses and one flow, it says what ip_route_output_key()
 * (IPv4) or ip6_route_output() (IPv6) would: the route, or the error. It follows those functions of
 * Linux 6.1–6.18 step by step, quirks included; the property test asks the kernel the same question
 * (RTM_GETROUTE) for thousands of random configurations.
 *
 * What it follows: rules by iif lo, oif, mark, uid, source, destination, tos, protocol and ports,
 * goto, suppress_prefixlength, invert; tables by longest prefix, tos, metric; the IPv4 shortcuts
 * around rules (an output interface that was asked for, multicast, broadcast); IPv6 source-specific
 * routes, router preference and strict interfaces.
 *
 * What it does not know, and says so in sim_result.uncertain: which next hop of a multipath route a
 * flow is hashed to, next hops that were not read, VRFs, groups of interfaces, rules with
 * attributes that we do not parse. Routers are taken to answer; sim_result.other_ways says when it
 * would matter that one does not.
 */

#include "model/kernel.h"

/*
 * What rules and IPv4 routes may ask of a packet beside the flow. RTM_GETROUTE, and so simulate(),
 * looks up as UDP without ports (net/ipv4/route.c: inet_rtm_getroute).
 */
struct sim_packet {
    uint8_t protocol; /* IPPROTO_* */
    uint8_t tos;
    uint16_t sport, dport; /* 0 = it has none */
};

/* Why a rule does not match. */
enum sim_mismatch {
    SIM_MATCHES,
    SIM_OTHER_IIF,
    SIM_OTHER_OIF,
    SIM_OTHER_MARK,
    SIM_OTHER_UID,
    SIM_OTHER_SRC,
    SIM_OTHER_DST,
    SIM_OTHER_TOS,
    SIM_OTHER_PROTOCOL,
    SIM_OTHER_PORT,
    SIM_NO_VRF,
    SIM_INVERTED, /* it would match, but has `not` */
    SIM_MISMATCH_MAX,
};

/* What came of a rule that matches. */
enum sim_outcome {
    SIM_NOT_TRIED,  /* it does not match */
    SIM_ROUTE,      /* a route was found: the end */
    SIM_ERROR,      /* the rule or the route refuses: the end */
    SIM_NO_ROUTE,   /* nothing in the table: on to the next rule */
    SIM_THROW,      /* a throw route: on to the next rule */
    SIM_SUPPRESSED, /* a route, but the rule suppresses it: on to the next rule */
    SIM_GOTO,
    SIM_NOP,
    SIM_OUTCOME_MAX,
};

struct sim_step {
    const struct rtnl_rule *rule;
    enum sim_mismatch mismatch;
    enum sim_outcome outcome;
    const struct rtnl_route *route; /* the one found, also when thrown or suppressed; or NULL */
    bool narrow; /* it asks for a protocol, port or tos, and nothing else is against it: packets
                    that differ in nothing else fare otherwise */
};

struct sim_result {
    int error; /* 0, or what the sender gets: -EACCES, -ENETUNREACH, -EHOSTUNREACH, -EINVAL, … */
    uint8_t type; /* RTN_* */
    int oif;
    uint32_t table; /* 0 when no table decided */
    struct ip_addr gateway;
    struct ip_addr src; /* IPv4: the source address; IPv6: that of the route, if it has one */
    const struct rtnl_rule *rule;   /* the last one that matched; NULL when none decided */
    const struct rtnl_route *route; /* NULL when none decided */
    bool shortcut; /* the rules were not asked, or their refusal was overridden (IPv4, oif given) */
    bool uncertain; /* see above */
    /*
     * The kernel may take a way that is neither `route` nor another of its next hops (sim_hops): it
     * has more of them than were read, or an object's number or an encapsulation instead; or there
     * are equal default routes (IPv4); or a router that does not answer is passed over (IPv6).
     */
    bool other_ways;
};

/* Called for every rule that is looked at, in order. */
typedef void (*sim_trace)(void *data, const struct sim_step *step);

/*
 * Walks a flow through the state. `trace` may be NULL. Pointers in the result and the steps are
 * into `k`. Cannot fail: what is wrong with the flow itself is sim_result.error.
 */
struct sim_result simulate(const struct kernel *k, const struct rtnl_flow *flow, sim_trace trace,
                           void *data);

/* The same for a packet of another kind. */
struct sim_result simulate_packet(const struct kernel *k, const struct rtnl_flow *flow,
                                  const struct sim_packet *packet, sim_trace trace, void *data);

/*
 * The next hops of the result's route, among which a hash of the flow chooses: *ret points to the
 * first of the n returned, which lie in `k`; dead ones are among them. 0 when no route that leads
 * out decided.
 */
size_t sim_hops(const struct kernel *k, const struct sim_result *result,
                const struct rtnl_route **ret);

const char *sim_mismatch_to_string(enum sim_mismatch mismatch);
const char *sim_outcome_to_string(enum sim_outcome outcome);
