/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/rtnl*: what is built is what is parsed, for rules and routes with every attribute. */

#include "unit/check.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "unit/cut.h"
#include "wire/nlattr.h"

enum { SIZE = 2048 };

static struct ip_addr addr(const char *text)
{
    struct ip_addr a = { 0 };

    if (text)
        assert_int_equal(ip_addr_parse(text, &a), 0);
    return a;
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p = { 0 };

    if (text)
        assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

/* clang-format off */
static const struct {
    const char *name;
    struct rtnl_rule rule; /* `extra` is filled in */
} rule_rows[] = {
    { "everything",
      { .action = FR_ACT_TO_TBL, .protocol = RTPROT_WAYMARK, .priority = 13000, .table = 4000000000,
        .flags = FIB_RULE_INVERT, .fwmark = 0x10064, .fwmask = 0x1ffff, .has_uid = true,
        .uid = { 1000, UID_MAX }, .iif = "lo", .oif = "exactly15bytes!" } },
    { "small table", { .action = FR_ACT_TO_TBL, .priority = 1, .table = 97 } },
    { "mark 0, masked", { .action = FR_ACT_PROHIBIT, .priority = 1, .fwmask = 0x20000 } },
    { "mark, full mask",
      { .action = FR_ACT_PROHIBIT, .fwmark = UINT32_MAX, .fwmask = UINT32_MAX } },
    { "uid 0-0", { .action = FR_ACT_BLACKHOLE, .has_uid = true } },
    { "largest priority", { .action = FR_ACT_UNREACHABLE, .priority = UINT32_MAX } },
    { "zero", { .action = FR_ACT_NOP } },
    { "iif", { .action = FR_ACT_PROHIBIT, .protocol = RTPROT_WAYMARK, .iif = "tun0" } },
};
/* clang-format on */

static void test_rule_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ELEMENTSOF(rule_rows); i++) {
        const char *row = rule_rows[i / 2].name;
        struct rtnl_rule in = rule_rows[i / 2].rule, out;
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = (void *)buf;

        in.family = (uint8_t)family_at(i % 2);
        in.extra = rtnl_rule_empty(in.family).extra;
        CHECK_INT(row, rtnl_rule_build(buf, SIZE, RTM_NEWRULE, NLM_F_CREATE, &in), 0);
        CHECK_INT(row, nlh->nlmsg_type, RTM_NEWRULE);
        CHECK_INT(row, nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE);
        if (CHECK_INT(row, rtnl_rule_parse(nlh, &out), 0))
            CHECK(row, memcmp(&in, &out, sizeof(in)) == 0);
        cut_everywhere(row, nlh, sizeof(struct fib_rule_hdr), cut_parse_rule);
    }
    CHECK_END();
}

/* clang-format off */
static const struct {
    const char *name;
    struct rtnl_route route;
    const char *dst, *src, *gateway, *prefsrc;
} route_rows[] = {
    { "everything, IPv4",
      { .family = AF_INET, .type = RTN_UNICAST, .scope = RT_SCOPE_LINK, .protocol = RTPROT_WAYMARK,
        .tos = 0x10, .nh_flags = RTNH_F_ONLINK, .table = 1003, .priority = 100000, .oif = 7,
        .mtu = 1280 }, "10.0.0.0/8", NULL, "10.0.0.1", "10.0.0.2" },
    { "everything, IPv6",
      { .family = AF_INET6, .type = RTN_UNICAST, .protocol = RTPROT_WAYMARK, .pref = 3,
        .table = 1000000007, .priority = 1024, .oif = INT32_MAX, .mtu = 65535 },
      "fd00::/64", "fd01::/16", "fe80::1", "fd00::2" },
    { "default", { .family = AF_INET, .type = RTN_UNICAST, .table = 254, .oif = 2 },
      "0.0.0.0/0", NULL, NULL, NULL },
    { "default, IPv6", { .family = AF_INET6, .type = RTN_UNICAST, .table = 254, .oif = 2 },
      "::/0", NULL, NULL, NULL },
    { "gateway of the other family", { .family = AF_INET, .type = RTN_UNICAST, .oif = 2 },
      "10.0.0.0/8", NULL, "fe80::1", NULL },
    { "unreachable", { .family = AF_INET, .type = RTN_UNREACHABLE, .table = 99 },
      "10.0.0.1/32", NULL, NULL, NULL },
    { "throw", { .family = AF_INET6, .type = RTN_THROW, .table = 255 }, "::/0", NULL, NULL, NULL },
    { "a table too large for the header", { .family = AF_INET, .type = RTN_LOCAL, .table = 256 },
      "10.0.0.1/32", NULL, NULL, NULL },
};
/* clang-format on */

static struct rtnl_route route_at(size_t i)
{
    struct rtnl_route r = route_rows[i].route;

    r.dst = prefix(route_rows[i].dst);
    r.src = prefix(route_rows[i].src);
    r.gateway = addr(route_rows[i].gateway);
    r.prefsrc = addr(route_rows[i].prefsrc);
    return r;
}

static void test_route_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(route_rows); i++) {
        struct rtnl_route in = route_at(i), out;
        const char *row = route_rows[i].name;
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = (void *)buf;
        size_t n = 0;

        CHECK_INT(row, rtnl_route_build(buf, SIZE, RTM_NEWROUTE, NLM_F_EXCL, &in), 0);
        CHECK_INT(row, nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL);
        if (CHECK_INT(row, rtnl_route_parse(nlh, &out, 1, &n), 0)) {
            CHECK_INT(row, n, 1);
            CHECK(row, memcmp(&in, &out, sizeof(in)) == 0);
        }
        cut_everywhere(row, nlh, sizeof(struct rtmsg), cut_parse_route);
    }
    CHECK_END();
}

/* Whatever the buffer's size, a builder fits or says -EMSGSIZE, and writes nothing beyond. */
static void test_build_sizes(void **state)
{
    struct rtnl_rule rule = rule_rows[0].rule;
    struct rtnl_route route = route_at(1);
    struct rtnl_flow flow = {
        .dst = addr("::1"), .src = addr("::1"), .uid = 5, .mark = 7, .oif = 1
    };
    struct rtnl_link_change change = { .ifindex = 3, .mtu = 1400, .no_addresses = true };
    struct rtnl_addr address = { .ifindex = 3, .local = addr("::1"), .prefix_len = 128 };
    unsigned fits[7] = { 0 };

    (void)state;
    rule.family = AF_INET6;
    for (size_t size = 0; size < 400; size++) {
        char *buf = malloc(size + 1);
        const int results[] = {
            rtnl_rule_build(buf, size, RTM_NEWRULE, 0, &rule),
            rtnl_route_build(buf, size, RTM_NEWROUTE, 0, &route),
            rtnl_dump_build(buf, size, RTM_GETLINK, AF_UNSPEC),
            rtnl_getroute_build(buf, size, &flow),
            rtnl_link_change_build(buf, size, &change),
            rtnl_link_delete_build(buf, size, 3),
            rtnl_addr_build(buf, size, RTM_NEWADDR, 0, &address),
        };

        for (size_t i = 0; i < ELEMENTSOF(results); i++) {
            CHECK("any size", results[i] == 0 || results[i] == -EMSGSIZE);
            CHECK("a larger one fits, too", results[i] == 0 || fits[i] == 0);
            fits[i] += results[i] == 0;
        }
        free(buf);
    }
    for (size_t i = 0; i < ELEMENTSOF(fits); i++)
        CHECK("fits in the end", fits[i] > 100 && fits[i] < 400);
    CHECK_END();
}

/* What is built for an address is what is parsed; a link is changed in what is said, and nothing else. */
static void test_changes(void **state)
{
    static const char *const addresses[] = { "10.99.0.2", "fd99::2" };
    struct rtnl_link_change up = { .ifindex = 7, .flags = IFF_UP, .flags_mask = IFF_UP };
    struct rtnl_link_change settings = { .ifindex = 7, .mtu = 1400, .no_addresses = true };
    char buf[SIZE] = "";
    struct nlmsghdr *nlh = (void *)buf;
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
        struct rtnl_addr in = { .ifindex = 7, .local = addr(addresses[i]), .flags = 0x280 }, out;

        in.prefix_len = (uint8_t)ip_family_bits(in.local.family);
        CHECK_INT(addresses[i], rtnl_addr_build(buf, SIZE, RTM_NEWADDR, NLM_F_EXCL, &in), 0);
        CHECK_INT(addresses[i], nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL);
        CHECK_INT(addresses[i], rtnl_addr_parse(nlh, &out), 0);
        CHECK(addresses[i], memcmp(&in, &out, sizeof(in)) == 0);
    }
    CHECK_INT("up", rtnl_link_change_build(buf, SIZE, &up), 0);
    CHECK_INT("up", nlh->nlmsg_len, NLMSG_HDRLEN + sizeof(*ifi));
    CHECK("up", ifi->ifi_index == 7 && ifi->ifi_flags == IFF_UP && ifi->ifi_change == IFF_UP);
    CHECK_INT("settings", rtnl_link_change_build(buf, SIZE, &settings), 0);
    CHECK("settings", nlh->nlmsg_len > NLMSG_HDRLEN + sizeof(*ifi) && ifi->ifi_change == 0);
    CHECK_INT("delete", rtnl_link_delete_build(buf, SIZE, 7), 0);
    CHECK("delete", nlh->nlmsg_type == RTM_DELLINK && ifi->ifi_index == 7);
    CHECK_END();
}

/* Requests have no parser here: their attributes are looked at as they are. */
static void test_requests(void **state)
{
    static const struct nlattr_policy policy[] = {
        [RTA_DST] = NLATTR_ADDR, [RTA_SRC] = NLATTR_ADDR, [RTA_OIF] = NLATTR_U32,
        [RTA_UID] = NLATTR_U32,  [RTA_MARK] = NLATTR_U32,
    };
    const struct nlattr *tb[ELEMENTSOF(policy)];
    struct rtnl_flow flow = { .dst = addr("10.0.0.1"), .uid = 0 };
    char buf[SIZE] = "";
    struct nlmsghdr *nlh = (void *)buf;
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);

    (void)state;
    CHECK_INT("bare", rtnl_getroute_build(buf, SIZE, &flow), 0);
    CHECK_INT("bare", nlattr_parse_message(nlh, sizeof(*rtm), policy, ELEMENTSOF(policy), tb), 0);
    CHECK_INT("bare", rtm->rtm_family, AF_INET);
    CHECK_INT("bare", rtm->rtm_dst_len, 32);
    CHECK_INT("bare", rtm->rtm_src_len, 0);
    CHECK("bare", tb[RTA_DST] && tb[RTA_UID] && !tb[RTA_SRC] && !tb[RTA_OIF] && !tb[RTA_MARK]);
    CHECK_INT("bare: root is a uid, too", nlattr_u32(tb[RTA_UID], 7), 0);

    flow = (struct rtnl_flow){ addr("::1"), addr("::2"), 5, 6, 7 };
    CHECK_INT("full", rtnl_getroute_build(buf, SIZE, &flow), 0);
    CHECK_INT("full", nlattr_parse_message(nlh, sizeof(*rtm), policy, ELEMENTSOF(policy), tb), 0);
    CHECK_INT("full", rtm->rtm_src_len, 128);
    CHECK_INT("full", nlattr_u32(tb[RTA_UID], 0), 5);
    CHECK_INT("full", nlattr_u32(tb[RTA_MARK], 0), 6);
    CHECK_INT("full", nlattr_u32(tb[RTA_OIF], 0), 7);

    CHECK_INT("dump", rtnl_dump_build(buf, SIZE, RTM_GETRULE, AF_INET6), 0);
    CHECK_INT("dump", nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
    CHECK_INT("dump", nlh->nlmsg_len, NLMSG_HDRLEN + sizeof(struct fib_rule_hdr));
    CHECK_INT("dump", rtm->rtm_family, AF_INET6);
    CHECK_END();
}

/* The attributes of rules that only others have, put by hand, are read into `extra`. */
struct rule_attr {
    uint16_t type, size;
    uint32_t value;
};

static struct nlmsghdr *rule_by_hand(char buf[static SIZE], const struct rule_attr *attrs, size_t n)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct fib_rule_hdr *frh;

    nlh->nlmsg_type = RTM_NEWRULE;
    frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
    frh->family = AF_INET;
    frh->action = FR_ACT_TO_TBL;
    frh->table = 254;
    frh->tos = 0x10;
    for (size_t i = 0; i < n; i++)
        mnl_attr_put(nlh, attrs[i].type, attrs[i].size, &attrs[i].value);
    return nlh;
}

enum { DSCP = 25, FLOWLABEL = 26, SPORT_MASK = 28, DSCP_MASK = 30 };
#define UNSET UINT32_MAX

/* clang-format off */
static const struct {
    const char *name;
    struct rule_attr attrs[3];
    struct rtnl_rule_extra extra;
} extra_rows[] = {
    { "none", { { 0 } }, { 0, UNSET, UNSET, .tos = 0x10 } },
    { "goto", { { FRA_GOTO, 4, 70000 } }, { 70000, UNSET, UNSET, .tos = 0x10 } },
    { "suppress", { { FRA_SUPPRESS_PREFIXLEN, 4, 0 }, { FRA_SUPPRESS_IFGROUP, 4, 3 } },
      { 0, 3, 0, .tos = 0x10 } },
    { "protocol and ports",
      { { FRA_IP_PROTO, 1, 17 }, { FRA_SPORT_RANGE, 4, 0x00020001 },
        { FRA_DPORT_RANGE, 4, 0xffff0035 } },
      { 0, UNSET, UNSET, .tos = 0x10, .ip_proto = 17, .sport = { 1, 2 }, .dport = { 53, 65535 } } },
    { "l3mdev", { { FRA_L3MDEV, 1, 1 } }, { 0, UNSET, UNSET, .tos = 0x10, .l3mdev = true } },
    { "l3mdev 0", { { FRA_L3MDEV, 1, 0 } }, { 0, UNSET, UNSET, .tos = 0x10 } },
    { "dscp", { { DSCP, 1, 0x2e } }, { 0, UNSET, UNSET, .tos = 0xb8 } },
    { "dscp 0 is narrower than no tos", { { DSCP, 1, 0 } }, { 0, UNSET, UNSET, .other = true } },
    { "flow label", { { FLOWLABEL, 4, 5 } }, { 0, UNSET, UNSET, .tos = 0x10, .other = true } },
    { "mask of ports", { { SPORT_MASK, 2, 0xff } },
      { 0, UNSET, UNSET, .tos = 0x10, .other = true } },
    { "full mask of ports", { { SPORT_MASK, 2, 0xffff } }, { 0, UNSET, UNSET, .tos = 0x10 } },
    { "mask of dscp", { { DSCP, 1, 8 }, { DSCP_MASK, 1, 8 } },
      { 0, UNSET, UNSET, .tos = 0x20, .other = true } },
    { "tunnel id", { { FRA_TUN_ID, 4, 8 } }, { 0, UNSET, UNSET, .tos = 0x10, .other = true } },
};
/* clang-format on */

static void test_rule_extra(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(extra_rows); i++) {
        const char *row = extra_rows[i].name;
        size_t n = 0;
        char buf[SIZE] = "";
        struct nlmsghdr *nlh;
        struct rtnl_rule r;

        while (n < 3 && extra_rows[i].attrs[n].type)
            n++;
        nlh = rule_by_hand(buf, extra_rows[i].attrs, n);
        if (extra_rows[i].attrs[0].type == FRA_TUN_ID) { /* the one of eight bytes */
            nlh = rule_by_hand(buf, NULL, 0);
            mnl_attr_put_u64(nlh, FRA_TUN_ID, 8);
        }
        if (!CHECK_INT(row, rtnl_rule_parse(nlh, &r), 0))
            continue;
        CHECK_INT(row, r.table, 254);
        CHECK(row, memcmp(&r.extra, &extra_rows[i].extra, sizeof(r.extra)) == 0);
        cut_everywhere(row, nlh, sizeof(struct fib_rule_hdr), cut_parse_rule);
    }
    CHECK_END();
}

/* clang-format off */
static const struct {
    const char *name;
    uint8_t family, src_len, dst_len;
    uint16_t src_size, dst_size; /* 0: no attribute */
    int error;
    const char *src, *dst; /* NULL: any */
} prefix_rows[] = {
    { "none", AF_INET, 0, 0, 0, 0, 0, NULL, NULL },
    { "both", AF_INET, 8, 32, 4, 4, 0, "10.0.0.0/8", "10.1.2.3/32" },
    { "host bits are cleared", AF_INET, 31, 1, 4, 4, 0, "10.1.2.2/31", "0.0.0.0/1" },
    { "longer than the family", AF_INET, 33, 0, 4, 0, -EBADMSG, NULL, NULL },
    { "of the other family", AF_INET, 8, 0, 16, 0, -EBADMSG, NULL, NULL },
    { "an odd size", AF_INET, 0, 8, 0, 8, -EBADMSG, NULL, NULL },
    { "IPv6", AF_INET6, 7, 128, 16, 16, 0, "a00::/7", "a01:203::/128" },
    { "IPv6 with an IPv4 address", AF_INET6, 7, 0, 4, 0, -EBADMSG, NULL, NULL },
    { "multicast routing", 128, 0, 0, 0, 0, -ENOMSG, NULL, NULL },
    { "no family", AF_UNSPEC, 0, 0, 0, 0, -ENOMSG, NULL, NULL },
};
/* clang-format on */

static void check_prefix(const char *row, const struct ip_prefix *p, const char *expected)
{
    char text[IP_TEXT_MAX];

    CHECK_INT(row, p->addr.family != AF_UNSPEC, expected != NULL);
    if (expected)
        CHECK_TEXT(row, ip_prefix_format(p, text), expected);
}

/* A rule's sources and destinations, whose lengths stand in the header. */
static void test_rule_prefixes(void **state)
{
    static const uint8_t bytes[16] = { 10, 1, 2, 3 };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(prefix_rows); i++) {
        const char *row = prefix_rows[i].name;
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = rule_by_hand(buf, NULL, 0);
        struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
        struct rtnl_rule r;

        frh->family = prefix_rows[i].family;
        frh->src_len = prefix_rows[i].src_len;
        frh->dst_len = prefix_rows[i].dst_len;
        if (prefix_rows[i].src_size)
            mnl_attr_put(nlh, FRA_SRC, prefix_rows[i].src_size, bytes);
        if (prefix_rows[i].dst_size)
            mnl_attr_put(nlh, FRA_DST, prefix_rows[i].dst_size, bytes);
        if (!CHECK_INT(row, rtnl_rule_parse(nlh, &r), prefix_rows[i].error) || prefix_rows[i].error)
            continue;
        check_prefix(row, &r.extra.src, prefix_rows[i].src);
        check_prefix(row, &r.extra.dst, prefix_rows[i].dst);
    }
    CHECK_END();
}

/* The mask that the kernel does not show. */
static void test_rule_marks(void **state)
{
    static const struct {
        const char *name;
        struct rule_attr attrs[2];
        size_t n;
        uint32_t mark, mask;
    } rows[] = {
        { "neither", { { 0 } }, 0, 0, 0 },
        { "mark alone: all bits", { { FRA_FWMARK, 4, 7 } }, 1, 7, UINT32_MAX },
        { "mask alone: mark 0", { { FRA_FWMASK, 4, 0x20000 } }, 1, 0, 0x20000 },
        { "both", { { FRA_FWMARK, 4, 7 }, { FRA_FWMASK, 4, 15 } }, 2, 7, 15 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = rule_by_hand(buf, rows[i].attrs, rows[i].n);
        struct rtnl_rule r = rtnl_rule_empty(0);

        CHECK_INT(rows[i].name, rtnl_rule_parse(nlh, &r), 0);
        CHECK_INT(rows[i].name, r.fwmark, rows[i].mark);
        CHECK_INT(rows[i].name, r.fwmask, rows[i].mask);
    }
    CHECK_END();
}

/* The table stands in an attribute, or, small ones of old kernels, in the header. */
static void test_rule_table(void **state)
{
    char buf[SIZE] = "";
    struct nlmsghdr *nlh = rule_by_hand(buf, NULL, 0);
    struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
    struct rtnl_rule r;

    (void)state;
    CHECK_INT("header", rtnl_rule_parse(nlh, &r), 0);
    CHECK_INT("header", r.table, 254);
    mnl_attr_put_u32(nlh, FRA_TABLE, 1003);
    CHECK_INT("attribute", rtnl_rule_parse(nlh, &r), 0);
    CHECK_INT("attribute", r.table, 1003);
    frh->action = FR_ACT_PROHIBIT;
    CHECK_INT("other actions have none", rtnl_rule_parse(nlh, &r), 0);
    CHECK_INT("other actions have none", r.table, 0);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_round_trip), cmocka_unit_test(test_route_round_trip),
        cmocka_unit_test(test_build_sizes),     cmocka_unit_test(test_requests),
        cmocka_unit_test(test_rule_extra),      cmocka_unit_test(test_rule_prefixes),
        cmocka_unit_test(test_rule_marks),      cmocka_unit_test(test_rule_table),
        cmocka_unit_test(test_changes),
    };

    return RUN_TESTS(tests);
}
