/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scenes: a kernel's state and a model, written down as lines of text, so that tests and golden
 * files read like what an administrator would type. Nothing of it touches a real kernel.
 *
 * The kernel (scene-kernel.c). A new scene has `lo` (1) and the kernel's own rules and local
 * routes.
 *
 *   link IFINDEX NAME [down] [nocarrier] [kind KIND] [arphrd N] [master IFINDEX]
 *   addr IF ADDR/LEN [scope link|host] [tentative] [dadfailed] [secondary] [bare]
 *        with the routes that the kernel adds for it, unless `bare`
 *   unlink IF        the link, its addresses and routes are gone
 *   iproute [TYPE] PREFIX [from P] [via A] [dev IF] [table T] [metric N] [src A] [tos N] [mtu N]
 *        [scope link|host] [pref low|high] [proto N] [nexthop N] [dead] [onlink] [cloned]
 *        [incomplete]
 *   iprule[4|6] PRIORITY [not] [from P] [to P] [fwmark V[/M]] [iif IF] [oif IF] [uidrange A-B]
 *        [ipproto N] [sport A-B] [dport A-B] [tos N] [l3mdev] [other] [suppress N] [proto N]
 *        lookup T|goto N|nop|prohibit|unreachable|blackhole
 *   del-rule[4|6] PRIORITY        all rules of that priority
 *   guard entry RANGE NETID | chain NETID [exempt] | port NETID IF | incoming IF MARK | none
 *
 * The model (scene-model.c), by model/edit.h; `by` is ORIGIN_COMMAND unless `origin` says else:
 *
 *   host-networks yes|no, ignore PATTERN…, host-update, known NAME NETID
 *   network NAME [OPTION…], set NAME [OPTION…], remove NAME
 *        OPTION: type T, netid N, interface IF, permission P, secure, bypassable, exclude-local,
 *        include-local, [no-]fall-through, [no-]lockdown, outside P, dns A, domain D,
 *        resolver A,B,C,D, origin O
 *   attach NAME IF, detach NAME IF
 *   route NAME ROUTE…, route-remove NAME ROUTE…
 *   users NAME RANGE…, users-remove NAME RANGE…
 *   default NAME|system
 *   assign SELECTOR NETWORK|none [require|prefer] [origin O] [uids RANGE…], unassign SELECTOR
 *   legacy system|network ROUTE…, legacy-remove system|network ROUTE…
 *   permission UID PERMISSION, protect UID yes|no
 *   maps                          the back-end is `maps`
 *   app exe|cgroup ID SELECTOR    what that assignment means at the moment (of device 7)
 *
 * VPNs (scene-vpn.c), by decide/edit-vpn.h:
 *
 *   vpn NAME service|adopted [OPTION…], vpn-set NAME [OPTION…], vpn-remove NAME
 *        OPTION: owner S, owner-is UID, app S, except S, exempt S, engine E, interface IF, lan L, origin O,
 *        [no-]everyone, [no-]lockdown, [no-]always-on, [no-]bypass, [no-]fall-through; of adopted ones
 *        what `configure` has, too
 *   vpn-prepare NAME UID, establish NAME UID IF [everyone] [OPTION…], configure NAME [OPTION…]
 *        OPTION: address A, route P, exclude P, dns A, domain D, allow S, disallow S, family F,
 *        mtu N, session W, underlying NAME, lan L, bypass
 *   vpn-down NAME, vpn-up NAME, vpn-lost NAME
 *   vpn-update                    what follows from them (decide/vpn.h)
 *   consent WHO [everyone], consent-revoke WHO
 *
 * Empty lines and those that begin with '#' do not count.
 */

#include "model/edit.h"
#include "plan/plan.h"

enum { SCENE_WORDS_MAX = 64, SCENE_APPS_MAX = 16 };

struct scene {
    struct kernel k;
    struct model *m;
    struct plan_app apps[SCENE_APPS_MAX];
    size_t n_apps;
};

void scene_init(struct scene *s);
void scene_done(struct scene *s);
#define _cleanup_scene_ _cleanup_(scene_done)

/*
 * One line. 0, or the error of the edit with its reason. A line that is no line of a scene aborts
 * the program: that is a mistake in the test.
 */
int scene_line(struct scene *s, const char *line, struct why *why);

/* Many lines, none of which may fail: else the program aborts with the reason. */
void scene_run(struct scene *s, const char *text);

/* The plan of the scene; guard and sysctls as given. Aborts when out of memory. */
struct plan *scene_plan(const struct scene *s, bool guard, const struct plan *previous);

/* Puts the plan's rules, routes and guard into the scene's kernel. */
void scene_apply(struct scene *s, const struct plan *p);

/* A packet: "DST [from SRC] [uid N] [mark N] [oif IF]", of uid 1000 unless it says else. */
struct rtnl_flow scene_packet(const struct scene *s, const char *text);

/* A scene with lo and eth0 … eth3 (2 … 5), up, with addresses and routes: for random models. */
void scene_machine(struct scene *s);

/* Everything in a model as text, one line per thing: two models are equal when their dumps are. */
void dump_model(const struct model *m, struct strbuf *b);

/*
 * A new scene with an uplink eth0 and a tunnel wg0, of the `maps` back-end; then the lines of `text`, and
 * what follows from its VPNs. The dump of the model goes to `b`.
 */
void scene_follow(struct scene *s, const char *text, struct strbuf *b);

/* Everything in a kernel's state as text. */
void dump_kernel(const struct kernel *k, struct strbuf *b);

/*
 * The same as a set of lines, sorted: a rule that was deleted and came back stands behind its
 * equals. The caller frees it.
 */
char *dump_kernel_sorted(const struct kernel *k);

/* For the parts of it. */
typedef const char *const *scene_words;
int scene_kernel_line(struct scene *s, scene_words w, size_t n);
int scene_model_line(struct scene *s, scene_words w, size_t n, struct why *why);
int scene_vpn_line(struct scene *s, scene_words w, size_t n, struct why *why);
void dump_vpns(const struct model *m, struct strbuf *b);
_noreturn_ void scene_bad(const char *what, const char *word);
uint32_t scene_number(const char *word, uint32_t max);
const struct rtnl_link *scene_link(const struct scene *s, const char *name);
enum { SCENE_NO_SUCH_VERB = 1 };
