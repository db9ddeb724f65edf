/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of the state file (daemon/store.h): one table row per kind. */

#include "basic/strbuf.h"
#include "model/model.h"

enum { STORE_WORDS_MAX = 16 };

/* Applies one line. 0, or -EINVAL with the reason, or -ENOMEM. */
int store_record_apply(struct model *m, const char *const *words, size_t n, struct why *why);

/* To be called once after the last line: until then the model's assignments are in disorder. */
void store_records_finish(struct model *m);

/* Appends the lines that make `new` out of `old`; nothing when they are alike. */
void store_records_diff(const struct model *old, const struct model *new, struct strbuf *b);
