/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `waymark run`: this process is moved to a cgroup that is assigned to the network, and becomes the
 * program. So exit code, signals, terminal and all else are the program's own, and what it does first
 * is on its network already.
 *
 * Nothing is run unless the daemon has said that it holds.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "basic/parse.h"
#include "cli/commands.h"
#include "cli/scope.h"

#define SCOPE_TIMEOUT (30 * USEC_PER_SEC)

enum scope { SCOPE_AUTO, SCOPE_SYSTEMD, SCOPE_DAEMON, SCOPE_MAX };

static int read_scope(struct cli *c, enum scope *ret)
{
    static const char *const words[SCOPE_MAX] = {
        [SCOPE_AUTO] = "auto",
        [SCOPE_SYSTEMD] = "systemd",
        [SCOPE_DAEMON] = "daemon",
    };
    const char *value = arguments_value(&c->args, OPTION_SCOPE);
    int scope = value ? parse_word(words, ELEMENTSOF(words), value) : SCOPE_AUTO;

    if (scope < 0)
        return cli_usage(c, "'%.40s' is no answer to --scope: use auto, systemd or daemon", value);
    *ret = (enum scope)scope;
    return 0;
}

/* What goes over D-Bus is UTF-8; what a program is called need not be. */
static bool is_text(const char *s)
{
    json_auto_t *text = s ? json_string(s) : NULL;

    return text;
}

/* The daemon knows a run by this name (daemon/runs.h). */
static int enter_scope(struct cli *c)
{
    const char *program = cli_word(c, 1);
    usec_t timeout = c->timeout ? c->timeout : SCOPE_TIMEOUT;
    char name[64], description[200];
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return -errno;
    snprintf(name, sizeof(name), "waymark-run-%u-%016llx.scope", geteuid(),
             (unsigned long long)number);
    snprintf(description, sizeof(description), "%.100s on network %s",
             is_text(program) ? program : "a program", cli_word(c, 0));
    return scope_enter(name, description, clock_monotonic() + timeout, &c->why);
}

/* The daemon is connected to before: it wants to know where the caller comes from. */
static int bind_to_network(struct cli *c, enum scope scope)
{
    int r = cli_connect(c), make = scope == SCOPE_DAEMON;

    if (r == 0 && scope != SCOPE_DAEMON) {
        r = enter_scope(c);
        make = r == -EOPNOTSUPP && scope == SCOPE_AUTO;
    }
    if (r < 0 && !make)
        return r;
    c->why = (struct why){ 0 };
    return cli_change(c, "Run", "sb", cli_word(c, 0), make);
}

/* Returns only when it could not be had. */
static int become(struct cli *c)
{
    const char *shell = getenv("SHELL");
    const char *only_shell[] = { shell && *shell ? shell : "/bin/sh", NULL };
    const char **words = cli_word(c, 1) ? c->args.words + 1 : only_shell;
    int error;

    (void)execvp(words[0], (char *const *)words);
    error = errno;
    c->code = error == ENOENT ? EXIT_NO_PROGRAM : EXIT_NOT_EXECUTABLE;
    return why_set(&c->why, -error, "cannot run %.200s: %s", words[0], strerror(error));
}

int run_run(struct cli *c)
{
    enum scope scope = SCOPE_AUTO;
    int r = read_scope(c, &scope);

    if (r == 0)
        r = bind_to_network(c, scope);
    return r < 0 ? r : become(c);
}
