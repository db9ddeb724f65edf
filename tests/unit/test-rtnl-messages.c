/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/wire/rtnl*, src/wire/nlattr: messages with one thing wrong or odd, multipath routes, and the
 * fields of links and addresses. What is cut off, doubled or of the wrong size is refused without a
 * look beyond the end.
 */

#include "unit/check.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>

#include "basic/fd.h"
#include "unit/cut.h"
#include "wire/nlattr.h"

enum { SIZE = 2048 };

struct attr {
    uint16_t type, size;
    const char *bytes;
};

#define LINK   RTM_NEWLINK, AF_UNSPEC
#define ADDR4  RTM_NEWADDR, AF_INET
#define ADDR6  RTM_NEWADDR, AF_INET6
#define RULE   RTM_NEWRULE, AF_INET
#define ROUTE4 RTM_NEWROUTE, AF_INET
#define ROUTE6 RTM_NEWROUTE, AF_INET6
#define NAME                   \
    {                          \
        IFLA_IFNAME, 5, "eth0" \
    }
#define TEN     "\12\0\0\1"
#define SIXTEEN "0123456789abcdef"

/* clang-format off */
static const struct {
    const char *name;
    uint16_t type; /* of the message */
    uint8_t family;
    struct attr attrs[4];
    int error;
} rows[] = {
    { "link", LINK, { NAME }, 0 },
    { "link without a name", LINK, { { IFLA_MTU, 4, "\1\0\0\0" } }, -ENODATA },
    { "link with an empty name", LINK, { { IFLA_IFNAME, 1, "" } }, -EBADMSG },
    { "link with a name of no bytes", LINK, { { IFLA_IFNAME, 0, "" } }, -EBADMSG },
    { "link with a long name", LINK, { { IFLA_IFNAME, 17, SIXTEEN } }, -EBADMSG },
    { "link, name without NUL", LINK, { { IFLA_IFNAME, 4, "eth0" } }, 0 },
    { "link, name twice", LINK, { NAME, NAME }, -EEXIST },
    { "link, mtu of two bytes", LINK, { NAME, { IFLA_MTU, 2, "\1\0" } }, -EBADMSG },
    { "link, mtu of eight bytes", LINK, { NAME, { IFLA_MTU, 8, SIXTEEN } }, -EBADMSG },
    { "link, unknown attribute", LINK, { NAME, { 500, 7, SIXTEEN } }, 0 },
    { "link, unknown attribute twice", LINK, { { 500, 7, SIXTEEN }, { 500, 7, SIXTEEN }, NAME },
      0 },
    { "link, unread attribute of an odd size", LINK, { { IFLA_TXQLEN, 1, "1" }, NAME }, 0 },
    { "link, flags on the type", LINK, { { IFLA_IFNAME | NLA_F_NESTED, 5, "eth0" } }, 0 },
    { "link, info that is cut off", LINK, { NAME, { IFLA_LINKINFO, 4, "\7\0\1\0" } }, -EBADMSG },
    { "link, info of an impossible length", LINK, { NAME, { IFLA_LINKINFO, 4, "\3\0\1\0" } },
      -EBADMSG },
    { "link, info of three bytes", LINK, { NAME, { IFLA_LINKINFO, 3, "\7\0\1" } }, 0 },
    { "link, info without a kind", LINK, { NAME, { IFLA_LINKINFO, 4, "\4\0\1\0" } }, -EBADMSG },
    { "link, hardware address of 33 bytes", LINK, { NAME, { IFLA_ADDRESS, 33, SIXTEEN SIXTEEN } },
      -EBADMSG },
    { "link, hardware address of 32 bytes", LINK, { NAME, { IFLA_ADDRESS, 32, SIXTEEN SIXTEEN } },
      0 },
    { "link of the bridge", RTM_NEWLINK, AF_BRIDGE, { NAME }, -ENOMSG },

    { "address", ADDR4, { { IFA_LOCAL, 4, TEN } }, 0 },
    { "address of the peer only", ADDR4, { { IFA_ADDRESS, 4, TEN } }, 0 },
    { "no address", ADDR4, { { 0 } }, -ENODATA },
    { "address of another family", ADDR6, { { IFA_LOCAL, 4, TEN } }, -EBADMSG },
    { "address of three bytes", ADDR4, { { IFA_LOCAL, 3, TEN } }, -EBADMSG },
    { "address of 17 bytes", ADDR6, { { IFA_ADDRESS, 17, SIXTEEN } }, -EBADMSG },
    { "address, flags of one byte", ADDR4, { { IFA_LOCAL, 4, TEN }, { IFA_FLAGS, 1, "\1" } },
      -EBADMSG },
    { "address twice", ADDR4, { { IFA_LOCAL, 4, TEN }, { IFA_LOCAL, 4, TEN } }, -EEXIST },
    { "address of no family", RTM_NEWADDR, AF_UNSPEC, { { IFA_LOCAL, 4, TEN } }, -ENOMSG },

    { "rule", RULE, { { FRA_PRIORITY, 4, "\1\0\0\0" } }, 0 },
    { "rule, priority twice", RULE, { { FRA_PRIORITY, 4, TEN }, { FRA_PRIORITY, 4, TEN } },
      -EEXIST },
    { "rule, uid range of four bytes", RULE, { { FRA_UID_RANGE, 4, TEN } }, -EBADMSG },
    { "rule, ports of two bytes", RULE, { { FRA_DPORT_RANGE, 2, TEN } }, -EBADMSG },
    { "rule, unknown attribute", RULE, { { 99, 4, TEN } }, 0 },

    { "route", ROUTE4, { { RTA_OIF, 4, "\1\0\0\0" } }, 0 },
    { "route, gateway twice", ROUTE4, { { RTA_GATEWAY, 4, TEN }, { RTA_GATEWAY, 4, TEN } },
      -EEXIST },
    { "route, destination of another family", ROUTE4, { { RTA_DST, 16, SIXTEEN } }, -EBADMSG },
    { "route, gateway of another family", ROUTE4, { { RTA_GATEWAY, 16, SIXTEEN } }, -EBADMSG },
    { "route, gateway of eight bytes", ROUTE6, { { RTA_GATEWAY, 8, SIXTEEN } }, -EBADMSG },
    { "route, source of another family", ROUTE6, { { RTA_PREFSRC, 4, TEN } }, -EBADMSG },
    { "route, via", ROUTE4, { { RTA_VIA, 18, "\12\0" SIXTEEN } }, 0 },
    { "route, via that is cut off", ROUTE4, { { RTA_VIA, 6, "\12\0" TEN } }, -EBADMSG },
    { "route, via of one byte", ROUTE4, { { RTA_VIA, 1, "\2" } }, -EBADMSG },
    { "route, metrics", ROUTE4, { { RTA_METRICS, 8, "\10\0\2\0\0\5\0\0" } }, 0 },
    { "route, metrics that are cut off", ROUTE4, { { RTA_METRICS, 8, "\11\0\2\0\0\5\0\0" } },
      -EBADMSG },
    { "route, mtu twice", ROUTE4, { { RTA_METRICS, 16, "\10\0\2\0\0\5\0\0\10\0\2\0\0\5\0\0" } },
      -EEXIST },
    { "route of no family", RTM_NEWROUTE, AF_UNSPEC, { { RTA_OIF, 4, TEN } }, -ENOMSG },
    { "route of multicast routing", RTM_NEWROUTE, 128, { { RTA_OIF, 4, TEN } }, -ENOMSG },
};
/* clang-format on */

static const struct {
    uint16_t type;
    size_t header;
    cut_parser parse;
} kinds[] = {
    { RTM_NEWLINK, sizeof(struct ifinfomsg), cut_parse_link },
    { RTM_NEWADDR, sizeof(struct ifaddrmsg), cut_parse_addr },
    { RTM_NEWRULE, sizeof(struct fib_rule_hdr), cut_parse_rule },
    { RTM_NEWROUTE, sizeof(struct rtmsg), cut_parse_route },
};

/* A message of this kind without attributes; returns the index into kinds[]. */
static size_t start_message(char buf[static SIZE], uint16_t type, uint8_t family)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct ifinfomsg *ifi;
    size_t i = 0;

    nlh->nlmsg_type = type;
    while (kinds[i].type != type)
        i++;
    ifi = mnl_nlmsg_put_extra_header(nlh, kinds[i].header);
    ifi->ifi_family = family; /* the first byte of all four */
    if (type == RTM_NEWLINK)
        ifi->ifi_index = 3;
    return i;
}

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = (void *)buf;
        size_t kind = start_message(buf, rows[i].type, rows[i].family);

        for (size_t j = 0; j < 4 && rows[i].attrs[j].bytes; j++)
            mnl_attr_put(nlh, rows[i].attrs[j].type, rows[i].attrs[j].size, rows[i].attrs[j].bytes);
        CHECK_INT(rows[i].name, cut_parse(rows[i].name, nlh, nlh->nlmsg_len, kinds[kind].parse),
                  rows[i].error);
        if (rows[i].error == 0)
            cut_everywhere(rows[i].name, nlh, kinds[kind].header, kinds[kind].parse);
    }
    CHECK_END();
}

/*
 * A multipath attribute with `n` next hops 10.0.0.1, 10.0.0.2 (on-link), …; number `broken` says
 * that it is shorter than its own header.
 */
static void put_multipath(struct nlmsghdr *nlh, size_t n, size_t broken)
{
    struct nlattr *nest = mnl_attr_nest_start(nlh, RTA_MULTIPATH);

    for (size_t i = 0; i < n; i++) {
        struct rtnexthop *nh = mnl_nlmsg_get_payload_tail(nlh);
        const uint8_t gateway[4] = { 10, 0, 0, (uint8_t)(i + 1) };
        uint32_t start = nlh->nlmsg_len;

        memset(nh, 0, sizeof(*nh));
        nlh->nlmsg_len += sizeof(*nh);
        if (i != 1)
            mnl_attr_put(nlh, RTA_GATEWAY, 4, gateway);
        nh->rtnh_ifindex = (int)(i + 10);
        nh->rtnh_flags = i == 2 ? RTNH_F_DEAD : 0;
        nh->rtnh_len = i == broken ? 4 : (unsigned short)(nlh->nlmsg_len - start);
    }
    mnl_attr_nest_end(nlh, nest);
}

static void test_multipath(void **state)
{
    static const char *const gateways[] = { "10.0.0.1", "none", "10.0.0.3" };
    struct rtnl_route hops[CUT_HOPS];
    char buf[SIZE] = "", text[IP_TEXT_MAX];
    struct nlmsghdr *nlh = (void *)buf;
    size_t n = 0;

    (void)state;
    (void)start_message(buf, ROUTE4);
    mnl_attr_put_u32(nlh, RTA_PRIORITY, 77);
    put_multipath(nlh, 3, 99);
    CHECK_INT("three", rtnl_route_parse(nlh, hops, CUT_HOPS, &n), 0);
    CHECK_INT("three", n, 3);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT("shared", hops[i].priority, 77);
        CHECK_INT("own", hops[i].oif, i + 10);
        CHECK_INT("own", hops[i].nh_index, i);
        CHECK_INT("own", hops[i].nh_flags, i == 2 ? RTNH_F_DEAD : 0);
        CHECK_INT("all are told", hops[i].flags, 0);
        CHECK_TEXT("own", ip_addr_format(&hops[i].gateway, text), gateways[i]);
    }
    cut_everywhere("three", nlh, sizeof(struct rtmsg), cut_parse_route);

    CHECK_INT("room for two", rtnl_route_parse(nlh, hops, 2, &n), 0);
    CHECK_INT("room for two", n, 2);
    for (size_t i = 0; i < n; i++)
        CHECK_INT("there are more", hops[i].flags, RTNL_ROUTE_INCOMPLETE);
    CHECK_INT("no room", rtnl_route_parse(nlh, hops, 0, &n), -ENOMSG);

    (void)start_message(buf, ROUTE4);
    put_multipath(nlh, 0, 99);
    CHECK_INT("none", cut_parse("none", nlh, nlh->nlmsg_len, cut_parse_route), -ENODATA);
    CHECK_END();
}

/* What stands before a broken next hop is not handed out: *ret is untouched after an error. */
static void test_multipath_broken(void **state)
{
    static const char *const names[] = { "first is broken", "second is broken", "last is broken" };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char buf[SIZE] = "";
        struct nlmsghdr *nlh = (void *)buf;

        (void)start_message(buf, ROUTE4);
        put_multipath(nlh, 3, i);
        CHECK_INT(names[i], cut_parse(names[i], nlh, nlh->nlmsg_len, cut_parse_route), -EBADMSG);
    }
    CHECK_END();
}

static void test_route_fields(void **state)
{
    char buf[SIZE] = "", text[IP_TEXT_MAX];
    struct nlmsghdr *nlh = (void *)buf;
    struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
    struct rtnl_route r;
    size_t n;

    (void)state;
    (void)start_message(buf, ROUTE6);
    rtm->rtm_flags = RTM_F_CLONED | RTNH_F_DEAD | RTNH_F_ONLINK;
    rtm->rtm_table = 252;
    rtm->rtm_dst_len = 7;
    rtm->rtm_src_len = 9;
    mnl_attr_put(nlh, RTA_DST, 16, "\xff" SIXTEEN);
    CHECK_INT("header", rtnl_route_parse(nlh, &r, 1, &n), 0);
    CHECK_INT("flags of the route", r.flags, RTM_F_CLONED);
    CHECK_INT("flags of the next hop", r.nh_flags, RTNH_F_DEAD | RTNH_F_ONLINK);
    CHECK_INT("table of the header", r.table, 252);
    CHECK_TEXT("host bits are cleared", ip_prefix_format(&r.dst, text), "fe00::/7");
    CHECK_TEXT("an absent address is zero", ip_prefix_format(&r.src, text), "::/9");
    rtm->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(nlh, RTA_NH_ID, 5);
    CHECK_INT("a nexthop's number", rtnl_route_parse(nlh, &r, 1, &n), 0);
    CHECK_INT("it says not where", r.flags, RTM_F_CLONED | RTNL_ROUTE_INCOMPLETE);
    mnl_attr_put_u32(nlh, RTA_OIF, 3);
    CHECK_INT("a nexthop's number", rtnl_route_parse(nlh, &r, 1, &n), 0);
    CHECK_INT("beside where it leads", r.flags, RTM_F_CLONED);
    rtm->rtm_dst_len = 129;
    CHECK_INT("length", rtnl_route_parse(nlh, &r, 1, &n), -EBADMSG);
    CHECK_END();
}

static void test_link_fields(void **state)
{
    char buf[SIZE] = "";
    struct nlmsghdr *nlh = (void *)buf;
    struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
    struct nlattr *nest;
    struct rtnl_link link;

    (void)state;
    (void)start_message(buf, LINK);
    ifi->ifi_flags = IFF_UP | IFF_RUNNING;
    ifi->ifi_type = 65534;
    mnl_attr_put_strz(nlh, IFLA_IFNAME, "wg0");
    mnl_attr_put_u32(nlh, IFLA_MTU, 1420);
    mnl_attr_put_u32(nlh, IFLA_MASTER, 9);
    mnl_attr_put(nlh, IFLA_ADDRESS, 6, "\2\1\2\3\4\5");
    nest = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
    mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "wireguard");
    mnl_attr_nest_end(nlh, nest);
    cut_everywhere("link", nlh, sizeof(*ifi), cut_parse_link);
    CHECK_INT("link", rtnl_link_parse(nlh, &link), 0);
    CHECK_TEXT("link", link.name, "wg0");
    CHECK_TEXT("link", link.kind, "wireguard");
    CHECK_INT("link", link.ifindex, 3);
    CHECK_INT("link", link.flags, IFF_UP | IFF_RUNNING);
    CHECK_INT("link", link.arphrd, 65534);
    CHECK_INT("link", link.master, 9);
    CHECK_INT("link", link.mtu, 1420);
    CHECK("link", memcmp(link.hwaddr, "\2\1\2\3\4\5", 6) == 0);
    ifi->ifi_index = 0;
    CHECK_INT("no index", rtnl_link_parse(nlh, &link), -ENODATA);
    ifi->ifi_index = -1;
    CHECK_INT("no index", rtnl_link_parse(nlh, &link), -ENODATA);
    CHECK_END();
}

static void test_addr_fields(void **state)
{
    char buf[SIZE] = "", text[IP_TEXT_MAX];
    struct nlmsghdr *nlh = (void *)buf;
    struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
    struct rtnl_addr a;

    (void)state;
    (void)start_message(buf, ADDR4);
    ifa->ifa_prefixlen = 24;
    ifa->ifa_scope = RT_SCOPE_LINK;
    ifa->ifa_index = 4;
    ifa->ifa_flags = 0x80;
    mnl_attr_put(nlh, IFA_ADDRESS, 4, "\12\0\0\2");
    mnl_attr_put(nlh, IFA_LOCAL, 4, TEN);
    CHECK_INT("address", rtnl_addr_parse(nlh, &a), 0);
    CHECK_TEXT("ours, not the peer's", ip_addr_format(&a.local, text), "10.0.0.1");
    CHECK_INT("address", a.ifindex, 4);
    CHECK_INT("address", a.prefix_len, 24);
    CHECK_INT("address", a.scope, RT_SCOPE_LINK);
    CHECK_INT("flags of the header", a.flags, 0x80);
    mnl_attr_put_u32(nlh, IFA_FLAGS, 0x300);
    CHECK_INT("address", rtnl_addr_parse(nlh, &a), 0);
    CHECK_INT("flags of the attribute win", a.flags, 0x300);
    cut_everywhere("address", nlh, sizeof(*ifa), cut_parse_addr);
    ifa->ifa_prefixlen = 33;
    CHECK_INT("length", rtnl_addr_parse(nlh, &a), -EBADMSG);
    CHECK_END();
}

static int print_route(const struct nlmsghdr *nlh, struct strbuf *b)
{
    struct rtnl_route hops[CUT_HOPS];
    char text[IP_TEXT_MAX];
    size_t n = 0;
    int r = rtnl_route_parse(nlh, hops, CUT_HOPS, &n);

    for (size_t i = 0; r == 0 && i < n; i++) {
        strbuf_add(b, "%s%s", i ? ", " : "", ip_prefix_format(&hops[i].dst, text));
        if (ip_addr_is_set(&hops[i].src.addr))
            strbuf_add(b, " from %s", ip_prefix_format(&hops[i].src, text));
        strbuf_add(b, " via %s table %u", ip_addr_format(&hops[i].gateway, text), hops[i].table);
        if (hops[i].mtu)
            strbuf_add(b, " mtu %u", hops[i].mtu);
    }
    return r;
}

static int print_netlink(const struct nlmsghdr *nlh, struct strbuf *b)
{
    char text[IP_TEXT_MAX];
    struct rtnl_link link;
    struct rtnl_addr addr;
    struct rtnl_rule rule;
    int r;

    switch (nlh->nlmsg_type) {
    case RTM_NEWLINK:
        r = rtnl_link_parse(nlh, &link);
        if (r == 0)
            strbuf_add(b, "%s '%s'%s", link.name, link.kind, link.master ? " port" : "");
        return r;
    case RTM_NEWADDR:
        r = rtnl_addr_parse(nlh, &addr);
        if (r == 0)
            strbuf_add(b, "%s/%u", ip_addr_format(&addr.local, text), addr.prefix_len);
        return r;
    case RTM_NEWRULE:
        r = rtnl_rule_parse(nlh, &rule);
        if (r == 0)
            rtnl_rule_print(&rule, b);
        return r;
    default:
        return print_route(nlh, b);
    }
}

/* Messages that a Linux 6.18 sent: the fuzzer begins with them, too. */
static void test_real(void **state)
{
    /* clang-format off */
    static const struct {
        const char *file, *text;
    } files[] = {
        { "link-lo", "lo ''" },
        { "link-br0", "br0 'bridge'" },
        { "link-eth0", "eth0 'veth' port" },
        { "addr-peer", "10.9.0.1/32" },
        { "addr6", "fd00::2/64" },
        { "rule-all", "not from 10.0.0.0/8 to 8.8.8.8/32 fwmark 0x7/0xf iif lo oif eth1 "
          "uidrange 5-9 ipproto 17 sport 53-99 dport 53 lookup 77 suppress_prefixlength 0" },
        { "rule6-goto", "from all tos 0x10 goto 32766" },
        { "route-multipath",
          "10.7.0.0/16 via 10.0.0.1 table 77, 10.7.0.0/16 via none table 77" },
        { "route-via6-metrics", "10.8.0.0/16 via fd00::1 table 254 mtu 1400" },
        { "route-nhid", "10.6.0.0/16 via 10.0.0.9 table 254" },
        { "route-broadcast", "10.0.0.255/32 via none table 255" },
        { "route6-source", "fd07::/16 from fd00::/64 via fd00::1 table 254" },
        { "route6-prohibit", "fd08::/16 via none table 254" },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_free_ char *message = NULL;
        char path[512];
        size_t size;

        snprintf(path, sizeof(path), "%s/fuzz/corpus/rtnl/kernel-%s", TESTS_DIR, files[i].file);
        assert_int_equal(fd_read_file(path, SIZE, &message, &size), 0);
        assert_int_equal(((struct nlmsghdr *)(void *)message)->nlmsg_len, size);
        CHECK_INT(files[i].file, print_netlink((void *)message, &b), 0);
        CHECK_TEXT(files[i].file, strbuf_text(&b), files[i].text);
    }
    CHECK_END();
}

/* The readers of single attributes. */
static void test_nlattr(void **state)
{
    static const struct nlattr_policy policy[] = { [1] = { 0, 64 } };
    const struct nlattr *tb[2];
    char buf[SIZE] = "", text[8];
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    static const uint32_t value = 0x01020304;

    (void)state;
    memset(tb, 0xff, sizeof(tb));
    CHECK_INT("nothing", nlattr_parse_message(nlh, 0, policy, 2, tb), 0);
    CHECK("nothing", tb[0] == NULL && tb[1] == NULL);
    CHECK_INT("absent", nlattr_u8(NULL, 7), 7);
    CHECK_INT("absent", nlattr_u16(NULL, 7), 7);
    CHECK_INT("absent", nlattr_u32(NULL, 7), 7);
    nlattr_string(NULL, text, sizeof(text));
    CHECK_TEXT("absent", text, "");
    CHECK("absent", nlattr_addr(NULL, AF_INET).family == AF_UNSPEC);

    mnl_attr_put(nlh, 1, 4, &value);
    CHECK_INT("four bytes", nlattr_parse_message(nlh, 0, policy, 2, tb), 0);
    CHECK_INT("four bytes", nlattr_u32(tb[1], 7), value);
    CHECK_INT("four bytes", nlattr_u16(tb[1], 7), 0x0304);
    CHECK_INT("four bytes", nlattr_u8(tb[1], 7), 4);
    nlh = mnl_nlmsg_put_header(buf);
    mnl_attr_put(nlh, 1, 1, &value);
    CHECK_INT("too short", nlattr_parse_message(nlh, 0, policy, 2, tb), 0);
    CHECK_INT("too short", nlattr_u32(tb[1], 7), 7);
    CHECK_INT("too short", nlattr_u16(tb[1], 7), 7);

    nlh = mnl_nlmsg_put_header(buf);
    mnl_attr_put(nlh, 1, 8, "12345678");
    CHECK_INT("no room for the NUL", nlattr_parse_message(nlh, 0, policy, 2, tb), 0);
    nlattr_string(tb[1], text, sizeof(text));
    CHECK_TEXT("no room for the NUL", text, "");
    nlh = mnl_nlmsg_put_header(buf);
    mnl_attr_put(nlh, 1, 7, "12\00045\0");
    CHECK_INT("ends at the NUL", nlattr_parse_message(nlh, 0, policy, 2, tb), 0);
    nlattr_string(tb[1], text, sizeof(text));
    CHECK("ends at the NUL", memcmp(text, "12\0\0\0\0\0\0", 8) == 0);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_multipath),
        cmocka_unit_test(test_multipath_broken),
        cmocka_unit_test(test_route_fields),
        cmocka_unit_test(test_link_fields),
        cmocka_unit_test(test_addr_fields),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_nlattr),
    };

    return RUN_TESTS(tests);
}
