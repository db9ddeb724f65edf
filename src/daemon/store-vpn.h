/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of the state file that are about VPNs (daemon/store.h). */

#include "basic/strbuf.h"
#include "model/model.h"

/* Each applies one line of its kind; n is within the bounds of the table in store-records.c. */
int store_apply_vpn(struct model *m, const char *const *w, size_t n, struct why *why);
int store_apply_vpn_set(struct model *m, const char *const *w, size_t n, struct why *why);
int store_apply_vpn_route(struct model *m, const char *const *w, size_t n, struct why *why);
int store_apply_vpn_remove(struct model *m, const char *const *w, size_t n, struct why *why);
int store_apply_vpn_consent(struct model *m, const char *const *w, size_t n, struct why *why);

/* To be called once after the last line: what says nothing goes. */
void store_finish_vpns(struct model *m);

/* What was to last until the next boot, and that was it. 0 or -ENOMEM. */
int store_drop_runtime_vpns(struct model *m);

/* Appends the lines that make `new` out of `old`. */
void store_diff_vpns(const struct model *old, const struct model *new, struct strbuf *b);
