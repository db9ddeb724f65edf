/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/inetdiag: what the kernel tells of sockets, requests as the kernel reads them. */

#include "unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "wire/inetdiag.h"

enum { SIZE = 512 };

/* The parts of a message that are the same in all of them. */
static struct nlmsghdr *message(char buf[static SIZE], int family)
{
    struct nlmsghdr *nlh;
    struct inet_diag_msg *msg;

    memset(buf, 0, SIZE);
    nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    msg = mnl_nlmsg_put_extra_header(nlh, sizeof(*msg));
    msg->idiag_family = (uint8_t)family;
    msg->idiag_state = INETDIAG_CLOSE_WAIT;
    msg->id.idiag_sport = htons(1025);
    msg->id.idiag_dport = htons(443);
    msg->id.idiag_if = 7;
    msg->id.idiag_cookie[0] = 0x55667788;
    msg->id.idiag_cookie[1] = 0x11223344;
    assert_int_equal(
        inet_pton(family, family == AF_INET ? "10.0.0.2" : "::ffff:10.0.0.2", msg->id.idiag_src),
        1);
    assert_int_equal(
        inet_pton(family, family == AF_INET ? "1.2.3.4" : "2001:db8::1", msg->id.idiag_dst), 1);
    msg->idiag_uid = 1000;
    msg->idiag_inode = 4711;
    msg->idiag_rqueue = 1;
    msg->idiag_wqueue = 2;
    return nlh;
}

static void test_parse(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        const char *row = f ? "IPv6" : "IPv4";
        char buf[SIZE], text[IP_TEXT_MAX];
        struct nlmsghdr *nlh = message(buf, family_at(f));
        struct inetdiag_socket s;

        mnl_attr_put_u8(nlh, INET_DIAG_SHUTDOWN, 3);
        mnl_attr_put_u32(nlh, INET_DIAG_MARK, 0x80010064);
        mnl_attr_put_u64(nlh, INET_DIAG_CGROUP_ID, 0x123456789aULL);
        if (!CHECK_INT(row, inetdiag_parse(nlh, IPPROTO_TCP, &s), 0))
            continue;
        CHECK_INT(row, s.family, family_at(f));
        CHECK_INT(row, s.protocol, IPPROTO_TCP);
        CHECK_INT(row, s.state, INETDIAG_CLOSE_WAIT);
        CHECK_INT(row, s.local_port, 1025);
        CHECK_INT(row, s.remote_port, 443);
        CHECK_TEXT(row, ip_addr_format(&s.local, text), f ? "::ffff:10.0.0.2" : "10.0.0.2");
        CHECK_TEXT(row, ip_addr_format(&s.remote, text), f ? "2001:db8::1" : "1.2.3.4");
        CHECK_INT(row, s.ifindex, 7);
        CHECK_INT(row, s.uid, 1000);
        CHECK_INT(row, s.inode, 4711);
        CHECK_INT(row, s.wqueue, 2);
        CHECK(row, s.has_mark && s.mark == 0x80010064);
        CHECK(row, s.cgroup_id == 0x123456789aULL);
        CHECK(row, s.cookie == 0x1122334455667788ULL);
    }
    CHECK_END();
}

static void test_parse_without_attributes(void **state)
{
    char buf[SIZE];
    struct inetdiag_socket s;

    (void)state;
    assert_int_equal(inetdiag_parse(message(buf, AF_INET), IPPROTO_UDP, &s), 0);
    assert_false(s.has_mark);
    assert_int_equal(s.mark, 0);
    assert_int_equal(s.cgroup_id, 0);
}

/* Cut off at every byte, out of a buffer that ends there. */
static void test_parse_cut(void **state)
{
    char buf[SIZE];
    struct nlmsghdr *nlh = message(buf, AF_INET6);

    (void)state;
    mnl_attr_put_u32(nlh, INET_DIAG_MARK, 1);
    for (size_t size = NLMSG_HDRLEN; size < nlh->nlmsg_len; size++) {
        struct inetdiag_socket s, before;
        struct nlmsghdr *cut = malloc(size);
        size_t fixed = NLMSG_HDRLEN + sizeof(struct inet_diag_msg);
        int r;

        assert_non_null(cut);
        memcpy(cut, nlh, size);
        cut->nlmsg_len = (uint32_t)size;
        memset(&s, 0x5a, sizeof(s));
        before = s;
        r = inetdiag_parse(cut, IPPROTO_TCP, &s);
        if (size < fixed)
            CHECK_INT("cut", r, -EBADMSG);
        else
            CHECK("cut", r == 0 || r == -EBADMSG);
        if (r < 0)
            CHECK("cut", memcmp(&s, &before, sizeof(s)) == 0);
        free(cut);
    }
    CHECK_END();
}

static void test_parse_errors(void **state)
{
    char buf[SIZE];
    struct nlmsghdr *nlh = message(buf, AF_INET);
    struct inetdiag_socket s;

    (void)state;
    nlh->nlmsg_type = NLMSG_DONE;
    assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), -ENOMSG);
    nlh = message(buf, AF_INET);
    ((struct inet_diag_msg *)mnl_nlmsg_get_payload(nlh))->idiag_family = AF_UNIX;
    assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), -ENOMSG);
    nlh = message(buf, AF_INET);
    mnl_attr_put_u8(nlh, INET_DIAG_MARK, 1);
    assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), -EBADMSG);
    nlh = message(buf, AF_INET);
    mnl_attr_put_u32(nlh, INET_DIAG_MARK, 1);
    mnl_attr_put_u32(nlh, INET_DIAG_MARK, 1);
    assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), -EEXIST);
}

static void test_dump(void **state)
{
    char buf[SIZE];
    const struct nlmsghdr *nlh = (void *)buf;
    const struct inet_diag_req_v2 *req;

    (void)state;
    assert_int_equal(inetdiag_dump_build(buf, SIZE, AF_INET6, IPPROTO_UDP, 0x82), 0);
    req = mnl_nlmsg_get_payload(nlh);
    assert_int_equal(nlh->nlmsg_type, SOCK_DIAG_BY_FAMILY);
    assert_int_equal(nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
    assert_int_equal(nlh->nlmsg_len, NLMSG_HDRLEN + sizeof(*req));
    assert_int_equal(req->sdiag_family, AF_INET6);
    assert_int_equal(req->sdiag_protocol, IPPROTO_UDP);
    assert_int_equal(req->idiag_states, 0x82);
    assert_int_equal(inetdiag_dump_build(buf, NLMSG_HDRLEN + sizeof(*req) - 1, AF_INET, 6, 1),
                     -EMSGSIZE);
}

static void test_dump_of_both_families(void **state)
{
    char buf[SIZE] = { 0 };
    const struct inet_diag_req *req = mnl_nlmsg_get_payload((void *)buf);
    struct nlmsghdr *nlh = (void *)buf;
    struct inetdiag_socket s;

    (void)state;
    assert_int_equal(inetdiag_dump_build(buf, SIZE, AF_UNSPEC, IPPROTO_TCP, 0x82), 0);
    assert_int_equal(nlh->nlmsg_type, TCPDIAG_GETSOCK);
    assert_int_equal(nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
    assert_int_equal(nlh->nlmsg_len, NLMSG_HDRLEN + sizeof(*req));
    assert_int_equal(req->idiag_states, 0x82);
    assert_int_equal(
        inetdiag_dump_build(buf, NLMSG_HDRLEN + sizeof(*req) - 1, AF_UNSPEC, IPPROTO_TCP, 1),
        -EMSGSIZE);
    assert_int_equal(inetdiag_dump_build(buf, SIZE, AF_UNSPEC, IPPROTO_UDP, 1), -EOPNOTSUPP);
    nlh = message(buf, AF_INET6);
    nlh->nlmsg_type = TCPDIAG_GETSOCK;
    assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), 0);
    assert_int_equal(s.family, AF_INET6);
}

/* The request names the very socket that was told of: its identity is what the message had. */
static void test_destroy(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        char told[SIZE], buf[SIZE];
        struct nlmsghdr *nlh = message(told, family_at(f));
        const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(nlh);
        const struct inet_diag_req_v2 *req = mnl_nlmsg_get_payload((void *)buf);
        struct inetdiag_socket s;

        assert_int_equal(inetdiag_parse(nlh, IPPROTO_TCP, &s), 0);
        assert_int_equal(inetdiag_destroy_build(buf, SIZE, &s), 0);
        nlh = (void *)buf;
        assert_int_equal(nlh->nlmsg_type, SOCK_DESTROY);
        assert_int_equal(nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
        assert_int_equal(req->sdiag_family, family_at(f));
        assert_int_equal(req->sdiag_protocol, IPPROTO_TCP);
        assert_memory_equal(&req->id, &msg->id, sizeof(req->id));
        assert_int_equal(inetdiag_destroy_build(buf, NLMSG_HDRLEN, &s), -EMSGSIZE);
    }
}

static void test_unmapped(void **state)
{
    static const char *const rows[][2] = {
        { "10.0.0.1", "10.0.0.1" },
        { "::ffff:127.0.0.1", "127.0.0.1" },
        { "::ffff:0.0.0.0", "0.0.0.0" },
        { "::127.0.0.1", "::127.0.0.1" },
        { "::1", "::1" },
        { "64:ff9b::7f00:1", "64:ff9b::7f00:1" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a, b, expected;

        assert_int_equal(ip_addr_parse(rows[i][0], &a), 0);
        assert_int_equal(ip_addr_parse(rows[i][1], &expected), 0);
        b = inetdiag_unmapped(&a);
        CHECK(rows[i][0], ip_addr_equal(&b, &expected));
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),     cmocka_unit_test(test_parse_without_attributes),
        cmocka_unit_test(test_parse_cut), cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_dump),      cmocka_unit_test(test_dump_of_both_families),
        cmocka_unit_test(test_destroy),   cmocka_unit_test(test_unmapped),
    };

    return RUN_TESTS(tests);
}
