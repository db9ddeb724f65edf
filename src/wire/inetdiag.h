/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sockets of IPv4 and IPv6 <-> plain structs: the messages of NETLINK_SOCK_DIAG.
 *
 * Names and meanings are those of linux/inet_diag.h and linux/sock_diag.h. A dump is asked for one
 * family and one protocol; AF_INET6 tells of the sockets that were made as such, those that carry
 * IPv4 (addresses ::ffff:a.b.c.d) among them. What the kernel tells of who has a socket:
 *
 *   uid    0 where it does not know: a half-open connection (SYN_RECV), TIME_WAIT, and before Linux
 *          6.17 every socket that no program has any more; inode is 0 then
 *   inode  0 when no program has the socket any more
 *   mark   only to who holds CAP_NET_ADMIN; not of TIME_WAIT
 *   cgroup only where sockets have cgroups (CONFIG_SOCK_CGROUP_DATA)
 */

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stdint.h>

#include "basic/ipaddr.h"

/* The kernel's TCP_* states (net/tcp_states.h), which are those of all protocols here. */
enum inetdiag_state {
    INETDIAG_ESTABLISHED = 1, /* UDP: connected */
    INETDIAG_SYN_SENT,
    INETDIAG_SYN_RECV, /* accepted by fast open; ordinary half-open ones are NEW_SYN_RECV */
    INETDIAG_FIN_WAIT1,
    INETDIAG_FIN_WAIT2,
    INETDIAG_TIME_WAIT,
    INETDIAG_CLOSE, /* UDP: not connected */
    INETDIAG_CLOSE_WAIT,
    INETDIAG_LAST_ACK,
    INETDIAG_LISTEN,
    INETDIAG_CLOSING,
    INETDIAG_NEW_SYN_RECV, /* told as SYN_RECV */
    INETDIAG_STATE_MAX,
};

struct inetdiag_socket {
    uint8_t family;   /* AF_INET or AF_INET6 */
    uint8_t protocol; /* IPPROTO_*, as it was asked for */
    uint8_t state;    /* INETDIAG_* */
    bool has_mark;
    uint16_t local_port, remote_port; /* host byte order */
    struct ip_addr local, remote;     /* always set, in the socket's family; 0.0.0.0, :: = none */
    int ifindex;                      /* SO_BINDTODEVICE, or a link-local address's; 0 = none */
    uint32_t uid, inode;
    uint32_t wqueue; /* TCP: bytes not acknowledged yet, a FIN counts as one */
    uint32_t mark;
    uint64_t cgroup_id; /* 0 = not told */
    uint64_t cookie;    /* unlike that of any other socket until the next boot */
};

/*
 * An NLM_F_DUMP request; `states` is a set of 1 << INETDIAG_*. AF_UNSPEC is both families at once, which
 * the kernel has for TCP alone (TCPDIAG_GETSOCK): a walk over its table costs a look at every bucket,
 * and there are many more of them than sockets. 0 or -EMSGSIZE, -EOPNOTSUPP.
 */
int inetdiag_dump_build(void *buf, size_t size, int family, int protocol, uint32_t states);

/*
 * One message of the answer to a dump of that protocol. 0 and *ret whole; else untouched and -EBADMSG
 * (cut off, or an attribute of the wrong size), -EEXIST (an attribute twice), -ENOMSG (no socket
 * of these families).
 */
int inetdiag_parse(const struct nlmsghdr *nlh, int protocol, struct inetdiag_socket *ret);

/*
 * A SOCK_DESTROY request, to be acknowledged: this very socket (by its cookie), or -ENOENT, -ESTALE
 * when it is gone. 0 or -EMSGSIZE.
 *
 * The kernel finds it by its addresses, as it would for a packet, and compares the cookie then. Of
 * several UDP sockets that share a port it may find another one.
 */
int inetdiag_destroy_build(void *buf, size_t size, const struct inetdiag_socket *socket);

/* The address itself, or the IPv4 address in ::ffff:a.b.c.d. */
struct ip_addr inetdiag_unmapped(const struct ip_addr *a);
