/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark-minivtun: client and server of minivtun. The steps of a start; all else is engine.h. */

#include <stdio.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "engine/minivtun/background.h"
#include "engine/minivtun/engine.h"

enum { EXIT_USAGE = 2 };

static int write_pidfile(const char *path)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    return fd_replace_file(path, text, (size_t)n, 0644);
}

int main(int argc, char **argv)
{
    _cleanup_options_ struct options o = { 0 };
    struct background background = BACKGROUND_NONE;
    int r = options_parse(argc, argv, &o);

    if (r <= 0)
        return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    if (o.daemon) {
        r = background_start(&background);
        if (r < 0)
            return log_error_errno(r, "cannot go into the background"), EXIT_FAILURE;
    }
    if (o.pidfile) {
        r = write_pidfile(o.pidfile);
        if (r < 0)
            return log_error_errno(r, "cannot write '%s'", o.pidfile), EXIT_FAILURE;
    }
    r = engine_run(&o, &background);
    if (o.pidfile)
        (void)unlink(o.pidfile); /* where the sandbox lets it */
    return r;
}
