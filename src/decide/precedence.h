/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which assignment holds for a user id.
 *
 * Several selectors may match one uid. The closest one wins; between equally close ones the
 * strictest does, so that a conflict blocks rather than leaks. The numbered steps are those of
 * precedence_compare() and of tests/unit/test-precedence.c:
 *
 *   1  kind     one user (uid:N, user:NAME) before group:NAME before a range (uid:N-M)
 *   2  width    of two ranges, the one with fewer uids
 *   3  strength `none` before `require` before `prefer` before `default`
 *   4  text     the selector that sorts first: only to make the order total
 *
 * cgroup, unit and executable selectors are not decided here: they match processes, not uids.
 */

#include "model/model.h"

/* < 0 when a wins over b, > 0 when b wins; 0 only for the same selector. */
int precedence_compare(const struct assignment *a, const struct assignment *b);

/* The assignment that holds for uid, or NULL. Linear in the number of assignments. */
const struct assignment *precedence_decide(const struct assignments *all, uint32_t uid);
