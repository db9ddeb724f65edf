/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "basic/log.h"

enum {
    OPTION_RUNTIME_DIR = 256,
    OPTION_STATE_DIR,
    OPTION_CONFIG,
    OPTION_NO_HOST_NETWORKS,
    OPTION_BACKEND,
    OPTION_CGROUP,
    OPTION_BPFFS,
    OPTION_PANIC_OFF,
    OPTION_DOCTOR,
    OPTION_LOG_LEVEL,
    OPTION_VERSION,
};

static int help(void)
{
    printf(
        "Usage: waymarkd [OPTION]…\n"
        "Keeps several networks live at once, each app on the one that was chosen for it.\n\n"
        "  --runtime-dir DIR    sockets (default /run/waymark)\n"
        "  --state-dir DIR      what was made by command (default /var/lib/waymark)\n"
        "  --config PATH        folder with waymark.conf and conf.d/, or one file\n"
        "                       (default /etc/waymark)\n"
        "  --no-host-networks   networks are made by commands only, as on Android\n"
        "  --backend NAME       what carries the apps: rules, for users only; maps, programs at "
        "the\n"
        "                       cgroup, which know executables, cgroups and units, too; or auto\n"
        "                       (default): maps where the kernel can have them\n"
        "  --cgroup DIR         maps: where they are attached (default: the root of cgroup2)\n"
        "  --bpffs DIR          maps: where they are kept (default /sys/fs/bpf)\n"
        "  --log-level LEVEL    err, warning, notice, info (default) or debug\n"
        "  --panic-off          take everything of waymark out of the kernel, and exit\n"
        "  --doctor             look for what is in the way, without a running daemon, and exit\n"
        "  --version\n"
        "  --help\n\n"
        "One daemon runs per network namespace. See waymarkd(8).\n");
    return 0;
}

static int set_log_level(const char *level, struct manager_options *options)
{
    if (log_level_from_string(level, &options->log_level) < 0) {
        log_error("'%s' is no log level: use err, warning, notice, info or debug", level);
        return -EINVAL;
    }
    log_set_max_level(options->log_level); /* from now on, also until the configuration is read */
    return 0;
}

static int set_backend(const char *name, struct manager_options *options)
{
    static const char *const names[] = {
        [BACKEND_AUTO] = "auto",
        [BACKEND_RULES] = "rules",
        [BACKEND_MAPS] = "maps",
    };

    for (int i = 0; i < BACKEND_MAX; i++)
        if (streq(name, names[i])) {
            options->backend = (enum backend)i;
            return 0;
        }
    log_error("'%s' is no back-end: use auto, rules or maps", name);
    return -EINVAL;
}

static const struct option long_options[] = {
    { "runtime-dir", required_argument, NULL, OPTION_RUNTIME_DIR },
    { "state-dir", required_argument, NULL, OPTION_STATE_DIR },
    { "config", required_argument, NULL, OPTION_CONFIG },
    { "no-host-networks", no_argument, NULL, OPTION_NO_HOST_NETWORKS },
    { "backend", required_argument, NULL, OPTION_BACKEND },
    { "cgroup", required_argument, NULL, OPTION_CGROUP },
    { "bpffs", required_argument, NULL, OPTION_BPFFS },
    { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
    { "panic-off", no_argument, NULL, OPTION_PANIC_OFF },
    { "doctor", no_argument, NULL, OPTION_DOCTOR },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

/* One option. 1: go on; else what options_parse() is to return. */
static int take_option(int c, const char *value, struct arguments *a)
{
    switch (c) {
    case OPTION_RUNTIME_DIR:
        a->options.runtime_dir = value;
        return 1;
    case OPTION_STATE_DIR:
        a->options.state_dir = value;
        return 1;
    case OPTION_CONFIG:
        a->options.config = value;
        a->options.config_found = CONFIG_FOUND_PATH; /* who names it means that it is there */
        return 1;
    case OPTION_NO_HOST_NETWORKS:
        a->options.host_networks = false;
        return 1;
    case OPTION_BACKEND:
        return set_backend(value, &a->options) < 0 ? -EINVAL : 1;
    case OPTION_CGROUP:
        a->options.cgroup = value;
        return 1;
    case OPTION_BPFFS:
        a->options.bpffs = value;
        return 1;
    case OPTION_LOG_LEVEL:
        return set_log_level(value, &a->options) < 0 ? -EINVAL : 1;
    case OPTION_PANIC_OFF:
        a->mode = MODE_PANIC_OFF;
        return 1;
    case OPTION_DOCTOR:
        a->mode = MODE_DOCTOR;
        return 1;
    case OPTION_VERSION:
        printf("waymarkd %s\n", WAYMARK_VERSION);
        return 0;
    case 'h':
        return help();
    default:
        return -EINVAL; /* getopt has said why */
    }
}

int options_parse(int argc, char **argv, struct arguments *ret)
{
    struct arguments a = {
        .options = {
            .runtime_dir = "/run/waymark",
            .state_dir = "/var/lib/waymark",
            .config = "/etc/waymark",
            .host_networks = true,
            .bpffs = "/sys/fs/bpf",
            .log_level = -1,
        },
    };
    int c, r;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) >= 0) {
        r = take_option(c, optarg, &a);
        if (r <= 0)
            return r;
    }
    if (optind < argc) {
        log_error("waymarkd takes no arguments, only options: '%s'", argv[optind]);
        return -EINVAL;
    }
    *ret = a;
    return 1;
}
