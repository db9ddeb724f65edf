/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What waymarkd is told on its command line: man/waymarkd.8.scd. */

#include "daemon/manager.h"

enum mode { MODE_RUN, MODE_PANIC_OFF, MODE_DOCTOR };

struct arguments {
    struct manager_options options; /* strings are argv's or constants */
    enum mode mode;
};

/*
 * Reads waymarkd's command line. 1: go on with *ret; 0: --help or --version was printed, exit; a
 * negative errno: it is wrong, and was said on standard error.
 */
int options_parse(int argc, char **argv, struct arguments *ret);
