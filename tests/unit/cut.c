/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit/cut.h"

#include <errno.h>

#include "unit/check.h"

int cut_parse_link(const struct nlmsghdr *nlh, struct cut_result *ret)
{
    return rtnl_link_parse(nlh, (void *)ret->bytes);
}

int cut_parse_addr(const struct nlmsghdr *nlh, struct cut_result *ret)
{
    return rtnl_addr_parse(nlh, (void *)ret->bytes);
}

int cut_parse_rule(const struct nlmsghdr *nlh, struct cut_result *ret)
{
    return rtnl_rule_parse(nlh, (void *)ret->bytes);
}

int cut_parse_route(const struct nlmsghdr *nlh, struct cut_result *ret)
{
    return rtnl_route_parse(nlh, (void *)ret->bytes, CUT_HOPS, &ret->n);
}

int cut_parse(const char *row, const void *msg, size_t size, cut_parser parse)
{
    struct nlmsghdr *copy = malloc(size);
    struct cut_result result, before;
    int r;

    assert_non_null(copy);
    memset(&result, 0x5a, sizeof(result));
    before = result;
    memcpy(copy, msg, size);
    copy->nlmsg_len = (uint32_t)size;
    r = parse(copy, &result);
    if (r < 0)
        CHECK(row, memcmp(&result, &before, sizeof(result)) == 0);
    free(copy);
    return r;
}

void cut_everywhere(const char *row, const struct nlmsghdr *nlh, size_t header, cut_parser parse)
{
    for (size_t size = NLMSG_HDRLEN; size < nlh->nlmsg_len; size++) {
        int r = cut_parse(row, nlh, size, parse);

        if (size < NLMSG_HDRLEN + header)
            CHECK_INT(row, r, -EBADMSG);
        else
            CHECK(row, r == 0 || r == -EBADMSG || r == -ENODATA);
    }
    CHECK_INT(row, cut_parse(row, nlh, nlh->nlmsg_len, parse), 0);
}
