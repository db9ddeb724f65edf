/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the source files of `waymark vpn` share. */

#include "cli/cli.h"

/* doc["vpn"] = the VPN of that name, as it is now. -ENONET with a sentence when there is none. */
int vpn_put(struct cli *c, const char *name);

/* "work: netId 4711", of doc["vpn"]. */
void vpn_print_added(struct cli *c);

/*
 * Who is meant by a word: a user's name, a uid or the path of a program; a selector is itself. Appends
 * the selector to *b; the daemon judges.
 */
void vpn_add_who(struct strbuf *b, const char *word);
