/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Netlink messages cut off at every byte, for the parsers of src/wire/rtnl.h. */

#include "wire/rtnl.h"

enum { CUT_HOPS = 8 };

/* What one of the four parsers gives, as bytes. */
struct cut_result {
    _Alignas(8) uint8_t bytes[CUT_HOPS * sizeof(struct rtnl_route)];
    size_t n;
};

typedef int (*cut_parser)(const struct nlmsghdr *nlh, struct cut_result *ret);

int cut_parse_link(const struct nlmsghdr *nlh, struct cut_result *ret);
int cut_parse_addr(const struct nlmsghdr *nlh, struct cut_result *ret);
int cut_parse_rule(const struct nlmsghdr *nlh, struct cut_result *ret);
int cut_parse_route(const struct nlmsghdr *nlh, struct cut_result *ret);

/*
 * Parses the first `size` bytes of a message out of a buffer that ends there, so that the address
 * sanitizer sees a read beyond. After an error the result has to be as it was.
 */
int cut_parse(const char *row, const void *msg, size_t size, cut_parser parse);

/*
 * At every byte offset: one of the documented errors, or a shorter message that is whole. `header`
 * is the size of the message's fixed part.
 */
void cut_everywhere(const char *row, const struct nlmsghdr *nlh, size_t header, cut_parser parse);
