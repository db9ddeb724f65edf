/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Messages about sockets: a socket that comes of one is asked to be destroyed, and the request says
 * the same of it. After an error the result is untouched.
 */

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/inetdiag.h"

enum { ROOM = 256 };

static void check_socket(const struct inetdiag_socket *s)
{
    const struct inet_diag_req_v2 *req;
    struct ip_addr local = inetdiag_unmapped(&s->local);
    char buf[ROOM];

    MUST(s->family == AF_INET || s->family == AF_INET6);
    MUST(s->local.family == s->family && s->remote.family == s->family);
    MUST(local.family == AF_INET || s->family == AF_INET6);
    MUST(s->has_mark || s->mark == 0);
    MUST(inetdiag_destroy_build(buf, sizeof(buf), s) == 0);
    req = mnl_nlmsg_get_payload((void *)buf);
    MUST(req->sdiag_family == s->family && req->sdiag_protocol == s->protocol);
    MUST((int)req->id.idiag_if == s->ifindex);
    MUST(memcmp(req->id.idiag_src, s->local.bytes, 16) == 0);
    MUST(memcmp(req->id.idiag_dst, s->remote.bytes, 16) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inetdiag_socket s, before;
    struct nlmsghdr *nlh;
    int r;

    if (size < sizeof(*nlh))
        return 0;
    nlh = malloc(size);
    MUST(nlh);
    memcpy(nlh, data, size);
    nlh->nlmsg_len = (uint32_t)size;
    memset(&s, 0x5a, sizeof(s));
    before = s;
    r = inetdiag_parse(nlh, IPPROTO_TCP, &s);
    MUST(r == 0 || r == -EBADMSG || r == -EEXIST || r == -ENOMSG);
    if (r == 0)
        check_socket(&s);
    else
        MUST(memcmp(&s, &before, sizeof(s)) == 0);
    free(nlh);
    return 0;
}
