/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * rtnetlink messages <-> plain structs: links, addresses, rules, routes.
 *
 * Names and meanings are those of linux/rtnetlink.h, linux/fib_rules.h and linux/if_link.h. Parsers
 * read one message that lies complete in memory (its nlmsg_len is trusted to be inside the buffer,
 * which the reader of the socket checks). Builders write into a caller's buffer.
 *
 * Every parser returns 0 and fills *ret whole, or leaves it untouched and returns
 *   -EBADMSG   cut off, or an attribute of the wrong size
 *   -EEXIST    an attribute twice
 *   -ENODATA   a required attribute is missing
 *   -ENOMSG    a message that is well-formed but none of this kind (other family, …)
 * Every builder returns 0 or -EMSGSIZE.
 */

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "basic/ipaddr.h"
#include "basic/strbuf.h"
#include "basic/uidrange.h"

/* Our mark in the kernel's tables: rules and routes that carry it are ours, nothing else is. */
#define RTPROT_WAYMARK 119

/* A link (RTM_NEWLINK). */
struct rtnl_link {
    int ifindex;
    char name[IFNAMSIZ];
    char kind[16];     /* IFLA_INFO_KIND: "wireguard", "tun", "veth", …; "" for hardware */
    uint32_t flags;    /* IFF_* */
    uint16_t arphrd;   /* ARPHRD_* */
    uint8_t hwaddr[6]; /* zero unless the link has a 6-byte address */
    int master;        /* ifindex of the bridge, bond or VRF; 0 = none */
    uint32_t mtu;
};

/* An address (RTM_NEWADDR). */
struct rtnl_addr {
    int ifindex;
    struct ip_addr local;
    uint8_t prefix_len;
    uint8_t scope;  /* RT_SCOPE_* */
    uint32_t flags; /* IFA_F_* */
};

/*
 * A route (RTM_NEWROUTE), one next hop. A multipath route is as many of these as it has next hops,
 * equal but for oif, gateway and nh_index.
 */
/* Ours, beside RTM_F_*: the route puts packets into something else (RTA_ENCAP), which is not told. */
#define RTNL_ROUTE_ENCAP 0x80000000U
/* Ours: it has more next hops than are told, or is told by the number of a nexthop object only. */
#define RTNL_ROUTE_INCOMPLETE 0x40000000U

struct rtnl_route {
    uint8_t family;
    uint8_t type;     /* RTN_* */
    uint8_t scope;    /* RT_SCOPE_*; IPv6: always universe */
    uint8_t protocol; /* RTPROT_* */
    uint8_t tos;
    uint8_t pref;     /* RFC 4191 router preference, IPv6: ICMPV6_ROUTER_PREF_* */
    uint8_t nh_index; /* which next hop of the route this is */
    uint8_t nh_flags; /* RTNH_F_* */
    uint32_t table;
    uint32_t priority;      /* the metric; lower wins */
    int oif;                /* 0 = none */
    uint32_t mtu;           /* RTAX_MTU; 0 = unset */
    uint32_t flags;         /* RTM_F_*, RTNL_ROUTE_* */
    struct ip_prefix dst;   /* always set; 0.0.0.0/0 or ::/0 for a default route */
    struct ip_prefix src;   /* AF_UNSPEC = any */
    struct ip_addr gateway; /* may be IPv6 for an IPv4 route (RTA_VIA) */
    struct ip_addr prefsrc;
};

/* What a rule may ask for that only matters to rules of others; zero in ours. */
struct rtnl_rule_extra {
    uint32_t target;              /* FRA_GOTO */
    uint32_t suppress_ifgroup;    /* UINT32_MAX = unset */
    uint32_t suppress_prefix_len; /* UINT32_MAX = unset */
    uint8_t tos;
    uint8_t ip_proto;
    bool l3mdev;
    bool other; /* an attribute that the simulator does not know: it may match more narrowly */
    uint16_t sport[2], dport[2]; /* ranges; 0-0 = any */
    struct ip_prefix src, dst;   /* AF_UNSPEC = any */
};

/* A policy rule (RTM_NEWRULE). */
struct rtnl_rule {
    uint8_t family;
    uint8_t action;   /* FR_ACT_* */
    uint8_t protocol; /* RTPROT_* */
    bool has_uid;
    uint32_t priority;
    uint32_t flags;          /* FIB_RULE_* */
    uint32_t table;          /* 0 unless the action is FR_ACT_TO_TBL */
    uint32_t fwmark, fwmask; /* fwmask 0 = any mark */
    struct uid_range uid;
    char iif[IFNAMSIZ], oif[IFNAMSIZ]; /* "" = any */
    struct rtnl_rule_extra extra;
};

/* A rule with nothing set: matches all, looks nothing up. */
struct rtnl_rule rtnl_rule_empty(int family);

int rtnl_link_parse(const struct nlmsghdr *nlh, struct rtnl_link *ret);
int rtnl_addr_parse(const struct nlmsghdr *nlh, struct rtnl_addr *ret);
int rtnl_rule_parse(const struct nlmsghdr *nlh, struct rtnl_rule *ret);

/*
 * Fills up to `max` routes, one per next hop, and *ret_n (at least 1); when there are more, those
 * have RTNL_ROUTE_INCOMPLETE. Cached copies and RTM_GETROUTE's answers have RTM_F_CLONED in
 * their flags.
 */
int rtnl_route_parse(const struct nlmsghdr *nlh, struct rtnl_route *ret, size_t max, size_t *ret_n);

/* `type` RTM_NEWRULE or RTM_DELRULE; `flags` is added to NLM_F_REQUEST | NLM_F_ACK. */
int rtnl_rule_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                    const struct rtnl_rule *rule);

/* A rule of anybody's, as `ip rule` would show it, without its priority. */
void rtnl_rule_print(const struct rtnl_rule *rule, struct strbuf *b);

/* What it asks of a packet's protocol, ports and tos, as `ip rule` has it: "ipproto tcp dport 53". */
void rtnl_rule_print_packet(const struct rtnl_rule *rule, struct strbuf *b);

/* A table as `ip` names it: main, local, default, or its number. */
void rtnl_table_print(uint32_t table, struct strbuf *b);

/* `type` RTM_NEWROUTE or RTM_DELROUTE. A single next hop is written. */
int rtnl_route_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                     const struct rtnl_route *route);

/* What is to become of a link. */
struct rtnl_link_change {
    int ifindex;
    uint32_t mtu;               /* 0 = as it is */
    bool no_addresses;          /* IPv6 addresses that nobody asked for: link-local, … */
    uint32_t flags, flags_mask; /* IFF_*: which, and what they are to be */
};

int rtnl_link_change_build(void *buf, size_t size, const struct rtnl_link_change *change);
int rtnl_link_delete_build(void *buf, size_t size, int ifindex);

/* `type` RTM_NEWADDR or RTM_DELADDR. No broadcast address, and no other end but itself. */
int rtnl_addr_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                    const struct rtnl_addr *addr);

/* NLM_F_DUMP request for RTM_GETLINK, RTM_GETADDR, RTM_GETRULE or RTM_GETROUTE. */
int rtnl_dump_build(void *buf, size_t size, uint16_t type, int family);

/* What RTM_GETROUTE is asked: the kernel's own answer for one packet. */
struct rtnl_flow {
    struct ip_addr dst;
    struct ip_addr src; /* AF_UNSPEC = the kernel chooses */
    uint32_t uid;
    uint32_t mark;
    int oif; /* SO_BINDTODEVICE; 0 = none */
};

int rtnl_getroute_build(void *buf, size_t size, const struct rtnl_flow *flow);
