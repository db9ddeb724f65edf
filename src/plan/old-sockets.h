/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Old sockets: which of those that are open have to end because the model changed.
 *
 * Rules move a user's packets to another network at once. A connection cannot move: its address is
 * that of the network it was made on, so that it would hang, and give that address away on the new
 * network. It is destroyed instead, and what the app opens next goes the new way.
 *
 * An app is held by what its process is (decide/selectors.h: `waymark run`, executable, cgroup), else by
 * its uid. Everyone has a *place*, the first of these that can carry traffic now:
 *
 *   HELD     the network that is required, usable or not, or `none`; nothing is behind it
 *   SECURE   the secure VPN that has captured the uid
 *   OPEN     a VPN that is preferred; a bypassable VPN that has captured the uid; another network
 *            that is preferred
 *   DEFAULT  the rest
 *
 * A change of the model moves those whose place is another one then, and a network that goes, or
 * asks for another permission, leaves marks behind that mean nothing any more. What is asked is which
 * network was chosen, not whether it works: a cable that is pulled moves nobody, for what is open may
 * live on when it is plugged in again.
 *
 * A socket is judged in these steps; the first that says something decides. The numbers are those of
 * enum old_socket_step and of tests/unit/test-old-sockets.c.
 *
 *    1  lives  it listens, or is over (TIME_WAIT): no route hangs on it
 *    2  lives  loopback on either end: 127/8, ::1, and ::ffff:127.x, which Android judges wrongly
 *              (android.md §3.3)
 *    3  lives  both ends are the machine's own addresses: such packets never leave it
 *    4  lives  UDP that could not be used afterwards: bound to an interface but not connected
 *              (destroying takes the binding off: it would hear every network); and root's, among
 *              which are the kernel's own (a tunnel would go deaf), unless its executable is known: then a
 *              program has it. Nor what shares its port with another one, which only apply/sockets.c
 *              sees: it would drop out of its group
 *    5  dies   its mark has the netId of a network that was removed; but not what came in by that
 *              network (explicit and protected), nor when the network was the machine's own interface,
 *              which may come back
 *    6  dies   its mark has the netId of a network that asks for another permission now, and is not
 *              both explicit and of that permission (android.md §3.2)
 *    7  dies   nobody can tell whose it is, it is bound to an interface and has data queued, while
 *              some uid moved: what is left of a program that has ended may go past the guard
 *    8  lives  the place of its app is the same: the same network, held no more strictly than before; and its
 *              remote end has not come inside of that network (plan/outside.h) while it is elsewhere
 *    9  lives  its uid may protect sockets, and a VPN is one of the two places: it is the VPN's program. Of
 *              a user who has established a VPN only what is protected
 *   10  lives  the place of before is only out of order: its cable may be plugged in again
 *   11  lives  it has chosen its network itself, which it may there: under OPEN and DEFAULT by an
 *              interface, or an explicit mark that being on the place of before does not explain; by
 *              a protected mark also under SECURE
 *   12  lives  it is on its place: its address is that network's, or its remote end is outside of it;
 *              without a remote end, the address at which it waits
 *   13  lives  nothing says that it is elsewhere, and the place is only in order again, or it may have
 *              been made since
 *   14  dies   it is where its uid must not, or does not, send any more
 *
 * What is made while it is looked, and until it is looked again, is new as a rule, and is on its place
 * though nothing shows it. So from the second look on it takes proof: 7 does not count, and 14 is for
 * sockets of which it is known that they are elsewhere, and for connections that were half-open at
 * the first look, which have an owner only now. The same goes for the first look when nothing was said
 * anew, but a program or a unit has come: its sockets are as young as it is.
 *
 * Raw and ping sockets are in no table that could be asked (CONFIG_INET_RAW_DIAG is rarely set, and
 * does not compare cookies, so that it would hit the sockets of others); they need it least, for they
 * look their route up for every packet.
 *
 * Which executable a socket has is known by the programs at the cgroup: before this is asked they have
 * made a record of every socket in a process's hands (bpf_fill()). One that is in nobody's hands at that
 * instant goes by its cgroup and uid, and so does one whose cgroup is gone, by its uid.
 */

#include "plan/plan.h"
#include "plan/policy.h"
#include "wire/inetdiag.h"

enum old_socket_step {
    OLD_SOCKET_NO_TRAFFIC = 1,
    OLD_SOCKET_LOOPBACK,
    OLD_SOCKET_OWN,
    OLD_SOCKET_USELESS,
    OLD_SOCKET_MARK_GONE,
    OLD_SOCKET_MARK_PERMISSION,
    OLD_SOCKET_OWNERLESS,
    OLD_SOCKET_SAME,
    OLD_SOCKET_EXEMPT,
    OLD_SOCKET_OUT_OF_ORDER,
    OLD_SOCKET_CHOSEN,
    OLD_SOCKET_THERE,
    OLD_SOCKET_UNPROVEN,
    OLD_SOCKET_MOVED,
};

static inline bool old_socket_dies(enum old_socket_step step)
{
    return step == OLD_SOCKET_MARK_GONE || step == OLD_SOCKET_MARK_PERMISSION ||
           step == OLD_SOCKET_OWNERLESS || step == OLD_SOCKET_MOVED;
}

struct old_sockets_input {
    const struct model *before, *after;
    struct targets *targets_before; /* NULL: it is not known what was in force, see below */
    struct targets *targets_after;
    const struct kernel *kernel; /* links and addresses; the rules only when nothing is known */
    const struct plan_app *apps_before, *apps_after; /* what process selectors mean */
    size_t n_apps_before, n_apps_after;
    const struct guard
        *stood; /* what the programs at the cgroup had at a start; NULL = not known */
};

/* What the process is whose socket it is; zeros and NULL where that is not known. */
struct old_socket_app {
    uint64_t exe_dev, exe_ino; /* dev as makedev(3) has it */
    const uint64_t *cgroups;   /* its cgroup, then what that is in, up to the root */
    size_t n_cgroups;
};

struct old_sockets;

/*
 * What changed, with copies of all it needs. *ret is NULL when no socket has to be looked at. 0 or
 * -ENOMEM.
 *
 * After a start it is not known what the model was, and `before` is not looked at. What the programs at
 * the cgroup had says who was held and who preferred what; the rest is taken to have been as it is. Where
 * there were none, the rules that the kernel has, as they were before the change, say who was held
 * where; nobody moves then but who is held now and was not, or was held by another network, or is held no
 * more.
 *
 * Costs a pass over the assignments, and the sorting of what changed.
 */
int old_sockets_build(const struct old_sockets_input *input, struct old_sockets **ret);
void old_sockets_free(struct old_sockets *o);
DEFINE_CLEANUP(struct old_sockets *, old_sockets_free)

/* May anybody have moved? Else only marks have lost their meaning. */
bool old_sockets_moved(const struct old_sockets *o);

/* Is anything but a socket's uid asked for? */
bool old_sockets_want_apps(const struct old_sockets *o);

/* Which step decides for this socket. `app` may be NULL: nothing is known of its process. */
enum old_socket_step old_sockets_judge(struct old_sockets *o, const struct inetdiag_socket *socket,
                                       const struct old_socket_app *app);

/* From now on, it is another look than the first. */
void old_sockets_look_again(struct old_sockets *o);
