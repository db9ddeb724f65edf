/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The configuration: /etc/waymark/waymark.conf, then the .conf files in /etc/waymark/conf.d by name.
 *
 * It is read whole before anything is done with it: an unknown section or key, a bad value, a
 * selector twice, and nothing changes; the message begins with file:line. waymark.conf(5) has the
 * keys, one table row here each.
 */

#include "model/edit.h"

/* A network as configured, with where it stands. */
struct config_network {
    struct network *draft;
    unsigned fields; /* FIELD_* */
    struct rstr *file;
    unsigned line;
};

/* A VPN as configured. */
struct config_vpn {
    struct vpn *draft;
    struct rstr *file;
    unsigned line;
};

struct config {
    struct config_network *networks;
    size_t n_networks, cap_networks;
    struct config_vpn *vpns;
    size_t n_vpns, cap_vpns;
    struct assignments *assignments;
    struct rstr *default_network; /* NULL: `system`, or not set */
    struct rstr *default_source;  /* NULL: not set */
    struct rstr **ignored;
    size_t n_ignored, cap_ignored;
    int log_level;  /* -1 = not set */
    unsigned found; /* enum config_found: what there was to be read */
};

/* What a missing configuration is told by, from one that is empty on purpose. */
enum config_found {
    CONFIG_FOUND_PATH = 1 << 0, /* the folder, or the one file */
    CONFIG_FOUND_MAIN = 1 << 1, /* waymark.conf in it */
    CONFIG_FOUND_DROP_INS = 1 << 2,
};

/*
 * Reads `path`: a folder with waymark.conf and conf.d/, or one file. What does not exist is empty,
 * and not among what was `found`; without `ignore =` the defaults are docker*, br-*, veth*, virbr*,
 * lo. 0 and *ret to be released with config_free(); or the error of the first line that is wrong,
 * with "file:line: " in the reason.
 */
int config_load(const char *path, struct config **ret, struct why *why);

/*
 * Is all there that is expected, as what was found the last time? Else -ENOENT with what is not: a
 * folder that was renamed, or that is not mounted, must not free all who are assigned.
 */
int config_check_found(const struct config *c, const char *path, unsigned expected,
                       struct why *why);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free)

/* Parses one file's text into `c`; for config_load() and the fuzzer. */
int config_parse(struct config *c, const char *file, const char *text, size_t size,
                 struct why *why);
struct config *config_new(void);
/* To be called after the last file: sorts, and finds what is there twice. */
int config_finish(struct config *c, struct why *why);

/*
 * Puts the configuration in place of the one that the model has. It wins over what was made by
 * command: a network of the same name, an assignment of the same selector, the default.
 */
int config_apply(const struct config *c, struct model *m, const struct kernel *k, struct why *why);
