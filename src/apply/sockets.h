/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Ends sockets of others: finds them by NETLINK_SOCK_DIAG, destroys them by SOCK_DESTROY.
 *
 * What the app sees: a TCP connection is reset, whoever waits on it wakes up and gets ECONNABORTED,
 * then nothing more; a UDP socket gets ECONNABORTED once, has lost its remote end (and a port that
 * it had not asked for), and can be used again. What was queued is thrown away, also when the program
 * is gone already.
 *
 * TCP and UDP, UDP-Lite included, of both families, in the network namespace of who opened this. Of
 * TCP all states but LISTEN and TIME_WAIT. UDP that waits where another socket waits, too, is spared.
 *
 * A dump costs in proportion to the sockets that there are, about 1 µs each, and to the kernel's table
 * of TCP (sysctl net.ipv4.tcp_ehash_entries), 2 ns for each bucket of it.
 */

#include "observe/nlsock.h"
#include "wire/inetdiag.h"

enum { SOCKETS_USERS_MAX = 8 };

struct sockets {
    struct nlsock diag;
    bool can_destroy; /* the kernel has CONFIG_INET_DIAG_DESTROY; probed at open */
};

#define SOCKETS_INIT ((struct sockets){ .diag = NLSOCK_INIT })

/*
 * Opens and probes. 0, also on a kernel that cannot destroy sockets (can_destroy says so); -errno
 * when there is no netlink socket to be had.
 */
int sockets_open(struct sockets *s);
void sockets_close(struct sockets *s);

struct sockets_judge {
    /* Is it to be destroyed? */
    bool (*judge)(void *data, const struct inetdiag_socket *socket);
    /*
     * May be NULL. Some sockets were listed and are judged next: what is known of them otherwise is
     * to be found out now, so that it is about these. 0 or a negative errno, which ends it.
     */
    int (*listed)(void *data);
    void *data;
};

/* What was done, added up over several calls: zero it first, release it with sockets_done_free(). */
struct sockets_done {
    uint64_t *cookies; /* sorted: none of these is destroyed again */
    size_t n_cookies, cap_cookies;
    size_t tcp, udp; /* destroyed */
    size_t refused;  /* the kernel would not */
    int error;       /* the last reason for that */
    struct {
        uint32_t uid;
        size_t n;
    } users[SOCKETS_USERS_MAX]; /* the first of those whose sockets were destroyed */
    size_t n_users;
};

void sockets_done_free(struct sockets_done *done);

/*
 * Destroys what `judge` says, of what there is now. How many that were; -EOPNOTSUPP when the kernel
 * cannot; another negative errno when the sockets could not be listed, or there was no memory: what
 * was destroyed so far is in *done.
 */
int sockets_destroy(struct sockets *s, const struct sockets_judge *judge,
                    struct sockets_done *done);
