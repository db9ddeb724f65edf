/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/options.h"

#include "basic/log.h"
#include "basic/settings.h"

static const char *const backends[] = {
    [BACKEND_AUTO] = "auto",
    [BACKEND_RULES] = "rules",
    [BACKEND_MAPS] = "maps",
};

static int set_config(const struct setting_to *to, void *options, const char *value,
                      struct why *why)
{
    struct manager_options *o = options;

    (void)to, (void)why;
    o->config = value;
    o->config_found = CONFIG_FOUND_PATH; /* who names it means that it is there */
    return 0;
}

/* clang-format off */
static const struct setting rows[] = {
    { 0, "runtime-dir", NULL, "DIR", "sockets (default /run/waymark)",
      SETTING_STRING(struct arguments, options.runtime_dir) },
    { 0, "state-dir", NULL, "DIR", "what was made by command (default /var/lib/waymark)",
      SETTING_STRING(struct arguments, options.state_dir) },
    { 0, "config", NULL, "PATH", "folder with waymark.conf and conf.d/, or one file\n(default /etc/waymark)",
      SETTING(struct arguments, options, set_config) },
    { 0, "no-host-networks", NULL, NULL, "networks are made by commands only, as on Android",
      SETTING_FLAG(struct arguments, options.host_networks, false) },
    { 0, "backend", NULL, "NAME",
      "what carries the apps: rules, for users only; maps, programs at the\n"
      "cgroup, which know executables, cgroups and units, too; or auto\n"
      "(default): maps where the kernel can have them",
      SETTING_WORD(struct arguments, options.backend, backends, "back-end") },
    { 0, "cgroup", NULL, "DIR", "maps: where they are attached (default: the root of cgroup2)",
      SETTING_STRING(struct arguments, options.cgroup) },
    { 0, "bpffs", NULL, "DIR", "maps: where they are kept (default /sys/fs/bpf)",
      SETTING_STRING(struct arguments, options.bpffs) },
    { 0, "log-level", NULL, "LEVEL", "err, warning, notice, info (default) or debug",
      SETTING_LOG_LEVEL(struct arguments, options.log_level) },
    { 0, "panic-off", NULL, NULL, "take everything of waymark out of the kernel, and exit",
      SETTING_FLAG(struct arguments, mode, MODE_PANIC_OFF) },
    { 0, "doctor", NULL, NULL, "look for what is in the way, without a running daemon, and exit",
      SETTING_FLAG(struct arguments, mode, MODE_DOCTOR) },
};
/* clang-format on */

static const struct settings settings = {
    .program = "waymarkd",
    .usage = "Usage: waymarkd [OPTION]…\n"
             "Keeps several networks live at once, each app on the one that was chosen for it.\n\n",
    .end = "\nOne daemon runs per network namespace. See waymarkd(8).\n",
    .no_arguments = "waymarkd takes no arguments, only options",
    .rows = rows,
    .n = ELEMENTSOF(rows),
};

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
    int r = settings_take(&settings, argc, argv, &a);

    if (r <= 0)
        return r;
    if (a.options.log_level >= 0)
        log_set_max_level(a.options.log_level); /* also until the configuration is read */
    *ret = a;
    return 1;
}
