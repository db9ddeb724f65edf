/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the worlds of a property test were made of, counted, so that a reader sees that they contain
 * what the test claims; and a test whose worlds lack a kind fails.
 */

#include "plan/ops.h"

enum cover {
    COVER_MODEL,
    COVER_HOST_NETWORKS,
    COVER_DEFAULT_NAMED,
    COVER_PHYSICAL,
    COVER_RESTRICTED,
    COVER_SECURE_VPN,
    COVER_BYPASSABLE_VPN,
    COVER_LOCAL,
    COVER_UNREACHABLE,
    COVER_USERS,
    COVER_PROTECTABLE,
    COVER_ROUTE_ON_LINK,
    COVER_ROUTE_GATEWAY,
    COVER_ROUTE_BLOCKING,
    COVER_LEGACY_NETWORK,
    COVER_LEGACY_SYSTEM,

    COVER_SELECT_UID,
    COVER_SELECT_RANGE,
    COVER_SELECT_USER,
    COVER_SELECT_GROUP,
    COVER_SELECT_PARTS,
    COVER_SELECT_UNRESOLVED,
    COVER_NONE,
    COVER_PREFER,
    COVER_REQUIRE_PHYSICAL,
    COVER_REQUIRE_VPN,
    COVER_REQUIRE_LOCAL,
    COVER_REQUIRE_UNREACHABLE,
    COVER_REQUIRE_MISSING,
    COVER_REQUIRE_UNUSABLE,
    COVER_HELD_PROTECTABLE,

    COVER_LINK_DOWN,
    COVER_LINK_NO_CARRIER,
    COVER_MULTIPATH,
    COVER_SECONDARY,
    COVER_SEVERAL_ADDRESSES,
    COVER_PEER_ADDRESS,

    COVER_OP, /* as many as there are kinds of op */
    COVER_MAX = COVER_OP + OP_KIND_MAX,
};

struct coverage {
    unsigned long n[COVER_MAX];
};

void coverage_note_model(struct coverage *c, const struct model *m, const struct kernel *k);
void coverage_note_kernel(struct coverage *c, const struct kernel *k);
void coverage_note_ops(struct coverage *c, const struct ops *ops);

/*
 * Prints the counts of the kinds from `first` to `last`, a line that begins with `title`. Returns
 * how many of them were never seen.
 */
unsigned coverage_print(const struct coverage *c, const char *title, enum cover first,
                        enum cover last);
/* The same for all that is random in a model; and for the ops. */
unsigned coverage_print_models(const struct coverage *c);
unsigned coverage_print_ops(const struct coverage *c);
