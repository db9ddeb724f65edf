/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The policy rules: Android 13's table (android.md §2.5), and the two that are ours.
 *
 * One const table in rules.c has a row per rule; a row says for what it is instantiated (once, per
 * network, per segment of uids, …) and how its mark, interfaces, uids and table come about. Nothing
 * else in the project knows a priority.
 *
 * Ours stand before all of Android's, so that an assignment that requires a network holds whatever
 * the socket's mark and whoever the user, root and holders of SYSTEM included:
 *
 *    8000  REQUIRE_NETWORK     uid range → the network's table
 *    8500  OUTSIDE_FENCE       the same uids, of a VPN that there is something outside of (plan/outside.h) → its
 *                              fence table: prohibit what is not
 *    8600  OUTSIDE             the same → where the default leads
 *    9000  PROHIBIT_OTHER      uid range → prohibit (EACCES)
 *
 * A rule here stands for both families. What the rules cannot do is the guard's (model/guard.h).
 */

#include "plan/policy.h"

enum rule_priority {
    RULE_PRIORITY_REQUIRE_NETWORK = 8000,
    RULE_PRIORITY_OUTSIDE_FENCE = 8500,
    RULE_PRIORITY_OUTSIDE = 8600,
    RULE_PRIORITY_PROHIBIT_OTHER = 9000,
    RULE_PRIORITY_VPN_OVERRIDE_SYSTEM = 10000,
    RULE_PRIORITY_VPN_OVERRIDE_OIF = 11000,
    RULE_PRIORITY_VPN_OUTPUT_TO_LOCAL = 12000,
    RULE_PRIORITY_SECURE_VPN = 13000,
    RULE_PRIORITY_PROHIBIT_NON_VPN = 14000,
    RULE_PRIORITY_UID_EXPLICIT_NETWORK = 15000,
    RULE_PRIORITY_EXPLICIT_NETWORK = 16000,
    RULE_PRIORITY_OUTPUT_INTERFACE = 17000,
    RULE_PRIORITY_LEGACY_SYSTEM = 18000,
    RULE_PRIORITY_LEGACY_NETWORK = 19000,
    RULE_PRIORITY_LOCAL_NETWORK = 20000,
    RULE_PRIORITY_TETHERING = 21000,
    RULE_PRIORITY_UID_IMPLICIT_NETWORK = 22000,
    RULE_PRIORITY_IMPLICIT_NETWORK = 23000,
    RULE_PRIORITY_BYPASSABLE_VPN_NO_LOCAL_EXCLUSION = 24000,
    RULE_PRIORITY_UID_LOCAL_ROUTES = 25000,
    RULE_PRIORITY_LOCAL_ROUTES = 26000,
    RULE_PRIORITY_BYPASSABLE_VPN_LOCAL_EXCLUSION = 27000,
    RULE_PRIORITY_VPN_FALLTHROUGH = 28000,
    RULE_PRIORITY_UID_DEFAULT_NETWORK = 29000,
    RULE_PRIORITY_UID_DEFAULT_UNREACHABLE = 30000,
    RULE_PRIORITY_DEFAULT_NETWORK = 31000,
    RULE_PRIORITY_UNREACHABLE = 32000,
};

/* A rule of ours. All fields but `families` are its identity; unused bytes are zero. */
struct plan_rule {
    uint32_t priority;
    uint32_t fwmark, fwmask;
    struct uid_range uid; /* 0–UINT32_MAX = any */
    uint32_t table;       /* 0 unless action is FR_ACT_TO_TBL */
    char iif[IFNAMSIZ], oif[IFNAMSIZ];
    uint8_t action;   /* FR_ACT_* */
    uint8_t families; /* bit family_index(); what is planned always has both */
    uint8_t pad[2];
};

enum { FAMILIES_BOTH = 3 };

struct rule_list {
    struct plan_rule *items;
    size_t n, cap;
};

/* Appends the rules that depend on networks alone. 0 or -ENOMEM. */
int rules_for_networks(const struct targets *t, struct rule_list *ret);

/*
 * Appends the rules of n segments of any stream. They depend on the segments and the targets only:
 * of the policy, the captures of secure VPNs are asked, which follow from the targets. 0 or -ENOMEM.
 */
int rules_for_segments(const struct targets *t, const struct policy *p,
                       const struct segment *segments, size_t n, struct rule_list *ret);

/* By priority, then by everything else that is its identity; 0 = the same rule. */
int plan_rule_compare(const void *x, const void *y);

/* The name of a priority of ours ("SECURE_VPN"), NULL for any other number. */
const char *rule_priority_name(uint32_t priority);

/* One of the two rtnetlink rules that a rule stands for. */
struct rtnl_rule plan_rule_to_rtnl(const struct plan_rule *rule, int family);

/* The other way; `families` has the one bit. Only for rules with RTPROT_WAYMARK. */
struct plan_rule plan_rule_from_rtnl(const struct rtnl_rule *rule);

/* Appends the rule as `ip rule` would show it. */
void plan_rule_print(const struct plan_rule *rule, struct strbuf *b);

/* True when targets[i]'s on-link table (ifindex + 10^9) is led to by a rule. */
bool rules_use_local_table(const struct targets *t, const struct policy *p, size_t i);
