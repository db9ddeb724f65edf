/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Selectors: which apps are meant. Text form KIND:VALUE, as users write it on the command line, in
 * the configuration and on D-Bus:
 *
 *   uid:1000  uid:1000-1999     a user id or a range, bounds included
 *   user:alice  group:staff     resolved through the system's user database
 *   cgroup:/app.slice/x.scope   a cgroup v2 path below the root, and all below it
 *   unit:firefox.service        a systemd unit
 *   exe:/usr/bin/firefox        an executable
 */

#include "basic/rstr.h"
#include "basic/strbuf.h"
#include "basic/uidrange.h"
#include "basic/why.h"

enum selector_kind {
    SELECTOR_UID,
    SELECTOR_USER,
    SELECTOR_GROUP,
    SELECTOR_CGROUP,
    SELECTOR_UNIT,
    SELECTOR_EXE,
    SELECTOR_KIND_MAX,
};

struct selector {
    enum selector_kind kind;
    struct uid_range uid; /* SELECTOR_UID; zero otherwise */
    struct rstr *text;    /* the value of all other kinds; NULL for SELECTOR_UID */
};

const char *selector_kind_to_string(enum selector_kind kind);

/*
 * 0 and *ret owning its text; -EINVAL with the reason for anything that is not a selector; -ENOMEM.
 * Text values: 1–4096 bytes, no control characters; cgroup and exe absolute and without ".." (they
 * lose "//", "/./" and a "/" at the end), exe not a folder ("/" at the end); unit with a known suffix
 * (.service, .scope, .slice, …).
 */
int selector_parse(const char *s, struct selector *ret, struct why *why);

/*
 * Can the back-end that carries assignments (docs/rules.md) match this kind? `rules` knows users:
 * 0 for uid, user and group, -EOPNOTSUPP with the reason for the others; `maps` knows processes, too.
 */
int selector_check_supported(const struct selector *s, bool maps, struct why *why);

void selector_done(struct selector *s);

/* Appends the text form; what selector_parse() reads back to an equal value. */
void selector_print(const struct selector *s, struct strbuf *b);

/* A total order: kind, range, text. */
int selector_compare(const struct selector *a, const struct selector *b);

/*
 * The number of the app that it means, under which packets are counted in the kernel; never 0. It is made
 * of the selector alone: so it is the same after a restart, in every part of the program, and nobody
 * has to keep it. Those of two `uid:` selectors always differ; of others, two among a million are the
 * same once in 30 million machines. Not for ever: another version may count differently.
 */
uint64_t selector_number(const struct selector *s);
