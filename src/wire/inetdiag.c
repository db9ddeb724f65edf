/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/inetdiag.h"

#include <arpa/inet.h>
#include <errno.h>

#include "wire/nlattr.h"

static const struct nlattr_policy policy[] = {
    [INET_DIAG_MARK] = NLATTR_U32,
    [INET_DIAG_CGROUP_ID] = NLATTR_U64,
};

/* The request of Linux 2.6, whose answers are those of now. */
static int put_request_of_both(void *buf, size_t size, uint32_t states)
{
    struct inet_diag_req *req;
    struct nlmsghdr *nlh;

    if (size < NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(*req)))
        return -EMSGSIZE;
    nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = TCPDIAG_GETSOCK;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    req = mnl_nlmsg_put_extra_header(nlh, sizeof(*req));
    req->idiag_states = states;
    return 0;
}

/* The header and the fixed part of a request, zeroed, with what both kinds have. */
static struct inet_diag_req_v2 *put_request(void *buf, size_t size, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *nlh;

    if (size < NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_req_v2)))
        return NULL;
    nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return mnl_nlmsg_put_extra_header(nlh, sizeof(struct inet_diag_req_v2));
}

int inetdiag_dump_build(void *buf, size_t size, int family, int protocol, uint32_t states)
{
    struct inet_diag_req_v2 *req;

    if (family == AF_UNSPEC)
        return protocol == IPPROTO_TCP ? put_request_of_both(buf, size, states) : -EOPNOTSUPP;
    req = put_request(buf, size, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    if (!req)
        return -EMSGSIZE;
    req->sdiag_family = (uint8_t)family;
    req->sdiag_protocol = (uint8_t)protocol;
    req->idiag_states = states;
    return 0;
}

int inetdiag_parse(const struct nlmsghdr *nlh, int protocol, struct inetdiag_socket *ret)
{
    const struct nlattr *tb[ELEMENTSOF(policy)];
    struct inetdiag_socket s = { 0 };
    struct inet_diag_msg msg;
    size_t addr_size;
    int r;

    if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY && nlh->nlmsg_type != TCPDIAG_GETSOCK)
        return -ENOMSG;
    r = nlattr_parse_message(nlh, sizeof(msg), policy, ELEMENTSOF(policy), tb);
    if (r < 0)
        return r;
    memcpy(&msg, mnl_nlmsg_get_payload(nlh), sizeof(msg));
    if (msg.idiag_family != AF_INET && msg.idiag_family != AF_INET6)
        return -ENOMSG;

    addr_size = ip_family_bits(msg.idiag_family) / 8;
    s.family = msg.idiag_family;
    s.protocol = (uint8_t)protocol;
    s.state = msg.idiag_state;
    s.local_port = ntohs(msg.id.idiag_sport);
    s.remote_port = ntohs(msg.id.idiag_dport);
    s.local = ip_addr_make(s.family, msg.id.idiag_src, addr_size);
    s.remote = ip_addr_make(s.family, msg.id.idiag_dst, addr_size);
    s.ifindex = (int)msg.id.idiag_if;
    s.uid = msg.idiag_uid;
    s.inode = msg.idiag_inode;
    s.wqueue = msg.idiag_wqueue;
    s.has_mark = tb[INET_DIAG_MARK] != NULL;
    s.mark = nlattr_u32(tb[INET_DIAG_MARK], 0);
    if (tb[INET_DIAG_CGROUP_ID])
        memcpy(&s.cgroup_id, mnl_attr_get_payload(tb[INET_DIAG_CGROUP_ID]), sizeof(s.cgroup_id));
    s.cookie = (uint64_t)msg.id.idiag_cookie[1] << 32 | msg.id.idiag_cookie[0];
    *ret = s;
    return 0;
}

int inetdiag_destroy_build(void *buf, size_t size, const struct inetdiag_socket *socket)
{
    struct inet_diag_req_v2 *req = put_request(buf, size, SOCK_DESTROY, NLM_F_ACK);

    if (!req)
        return -EMSGSIZE;
    req->sdiag_family = socket->family;
    req->sdiag_protocol = socket->protocol;
    req->idiag_states = 1U << (socket->state & 31);
    req->id = (struct inet_diag_sockid){
        .idiag_sport = htons(socket->local_port),
        .idiag_dport = htons(socket->remote_port),
        .idiag_if = (uint32_t)socket->ifindex,
        .idiag_cookie = { (uint32_t)socket->cookie, (uint32_t)(socket->cookie >> 32) },
    };
    memcpy(req->id.idiag_src, socket->local.bytes, sizeof(req->id.idiag_src));
    memcpy(req->id.idiag_dst, socket->remote.bytes, sizeof(req->id.idiag_dst));
    return 0;
}

struct ip_addr inetdiag_unmapped(const struct ip_addr *a)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (a->family != AF_INET6 || memcmp(a->bytes, mapped, sizeof(mapped)) != 0)
        return *a;
    return ip_addr_make(AF_INET, a->bytes + sizeof(mapped), 4);
}
