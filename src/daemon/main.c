/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymarkd: daemon/manager.h says how it works, waymarkd(8) how it is used. */

#include <stdlib.h>

#include "daemon/doctor.h"
#include "daemon/manager.h"
#include "daemon/options.h"
#include "daemon/panic.h"

enum { EXIT_USAGE = 2 };

static int run(const struct manager_options *options)
{
    _cleanup_(manager_freep) struct manager *m = NULL;
    int r = manager_new(options, &m);

    if (r >= 0)
        r = manager_run(m);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    int r = options_parse(argc, argv, &arguments);

    if (r <= 0)
        return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    switch (arguments.mode) {
    case MODE_PANIC_OFF:
        return panic_main(&arguments.options);
    case MODE_DOCTOR:
        return doctor_main(&arguments.options);
    case MODE_RUN:
        break;
    }
    return run(&arguments.options);
}
