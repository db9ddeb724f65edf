/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Programs that are VPNs: which process is which, and what becomes of the VPN when it goes.
 *
 *   prepared     a process may be the VPN of that name, and protect its sockets from VPNs
 *   established  it has the descriptors of an interface, and its apps are on the VPN
 *
 * A process is told by its pidfd, not by its uid: neither another program of the user nor a child of it is
 * the VPN, although both could have its descriptors. One that executes another program prepares again. What
 * ends it:
 *
 *   its owner disconnects, or           by choice: the apps are free, unless lockdown or always-on
 *   closes the descriptors and lives      holds them
 *   the process ends, or                it died: the apps of a secure VPN stay blocked, until it is
 *   somebody deletes its interface        established anew, taken down, or removed
 *   somebody takes it down, removes it  it is revoked: the interface is down before anybody is told, the
 *   or the consent; another one came      process may not protect sockets any more
 *
 * Closing and dying look alike at first, so both wait for a second, by which time the process is gone or
 * was not about to. All but the process is in the model: so a new daemon adopts an interface that is
 * there, and takes one that is not for one that died. The process then prepares again.
 *
 * Establishing is: the interface, whole; then one change of the model, in which the network's interface
 * is the new one (of a VPN that stands: in place of the old one, ways open before others close). On any failure
 * the descriptors are closed, and nothing was. What the VPN's interface was before is set down behind
 * every change, whoever made it.
 */

#include "apply/tun.h"
#include "daemon/manager.h"
#include "observe/exe.h"

struct vpn_service;

/* Who asks; his process was there when that was read. */
struct vpn_caller {
    uint32_t uid, pid;
    int pidfd;                   /* stays the caller's */
    struct exe_id file;          /* which it executes: process_identify_file() */
    const struct exe_id *exe_id; /* ino 0 = unknown */
    bool privileged;             /* root, or in group waymark: needs no consent */
};

/* What its program says of a VPN. */
enum vpn_report { VPN_REPORT_CONNECTED, VPN_REPORT_CONNECTING, VPN_REPORT_FAILED, VPN_REPORT_MAX };

/* Told when a VPN was taken from the process that was it. */
typedef void (*vpn_revoked)(void *data, uint32_t pid, const char *name, const char *reason);

/* Listens to the manager, and looks which interfaces are still there. 0 or -errno. */
int vpn_service_new(struct manager *m, struct vpn_service **ret);
/* Interfaces stay, as long as their programs. */
void vpn_service_free(struct vpn_service *s);
void vpn_service_on_revoked(struct vpn_service *s, vpn_revoked told, void *data);

/*
 * May he be the VPN of this name, for everybody or for himself? 0; -EACCES: nobody has consented; -EPERM:
 * it is another's; -EEXIST: a network is called so; -EINVAL: it is adopted, or the name is none.
 */
int vpn_service_check(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                      bool everyone, struct why *why);

/* He may: from now on his process is it. 0; -EUSERS: he has too many; -errno. */
int vpn_service_prepare(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                        bool everyone, struct why *why);

bool vpn_service_is_prepared(const struct vpn_service *s, const struct vpn_caller *c,
                             const char *name);

/*
 * By a process that is prepared: -EACCES. Takes a reference to the configuration. 0, and *ret has the
 * descriptors; -EPERM: apps that are not his to take; others of tun_create(), edit_establish_vpn().
 */
int vpn_service_establish(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                          struct vpn_config *config, struct tun *ret, struct why *why);

/* The rest is for the process that established it: -EPERM; not established: -ENOTCONN. */
int vpn_service_disconnect(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                           struct why *why);
int vpn_service_change_address(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                               const char *address, bool add, struct why *why);
/* `underlying` has the new ones alone. */
int vpn_service_set_underlying(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                               const struct vpn_config *underlying, struct why *why);
/* Also before it is established. */
int vpn_service_report(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                       enum vpn_report report, const char *reason, struct why *why);

/* By who may change things. */
int vpn_service_down(struct vpn_service *s, const char *name, struct why *why);
int vpn_service_consent(struct vpn_service *s, const struct selector *who, bool everyone,
                        struct why *why);
int vpn_service_revoke_consent(struct vpn_service *s, const struct selector *who, struct why *why);

/* May the process with this number, which has just asked, protect its sockets as a VPN's program? */
bool vpn_service_may_protect(const struct vpn_service *s, uint32_t pid, uint32_t uid);

/* What a VPN is at now: "down", "up", "blocked", "connecting", "failed". `ret_reason` may be "". */
const char *vpn_service_state(const struct vpn_service *s, const struct vpn *v,
                              const char **ret_reason);
/* Since when it is established, µs of CLOCK_REALTIME; 0 = it is not, or was before we were. */
uint64_t vpn_service_since(const struct vpn_service *s, const char *name);
