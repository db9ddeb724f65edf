/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The datagrams' socket: many of them per system call.
 *
 * Out: messages are written one behind the other into one buffer. Those to the same peer that are of
 * one size (the last may be smaller) are one datagram to the kernel, which it cuts (UDP_SEGMENT): the
 * parts of a large TCP packet are just that. sendmmsg(2) takes all of them. When the socket's buffer
 * is full they stay, and whoever fills the outbox stops reading until they are gone.
 *
 * In: recvmmsg(2), and the kernel may put datagrams of one size together (UDP_GRO).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/ipaddr.h"
#include "basic/macro.h"
#include "basic/why.h"

/* A real address: of the peer's socket. Bytes that are not used are zero. */
struct endpoint {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
    /*
     * Where it speaks to, of our addresses; AF_UNSPEC: the socket has one only, or is connected. A server on
     * [::] answers from there: from another address nobody who is connected would hear it.
     */
    struct ip_addr local;
};

enum { ENDPOINT_TEXT_MAX = INET6_ADDRSTRLEN + 32 };

/* "192.0.2.1:1414", "[2001:db8::1]:1414" */
const char *endpoint_format(const struct endpoint *e, char buf[static ENDPOINT_TEXT_MAX]);
/* The same socket of the peer's; by which of our addresses does not matter. */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* "192.0.2.1", "2001:db8::1", "fe80::1%eth0". 0; -EINVAL: no address; -ENODEV: no such interface. */
int endpoint_parse(const char *address, uint16_t port, struct endpoint *ret);

struct udp;

/* `batch` false: one datagram per system call. 0 or -ENOMEM. There is no socket yet. */
int udp_new(bool batch, struct udp **ret);
struct udp *udp_free(struct udp *u);
DEFINE_CLEANUP(struct udp *, udp_free)

/* A new socket for a family, not bound. Returns it, or -errno. */
int udp_socket(int family);

/* From now on this socket, which is u's then; what was to be sent by the old one is dropped. */
void udp_use(struct udp *u, int fd);

int udp_fd(const struct udp *u); /* -1: none */

/* `size` bytes for a message, or NULL: the outbox is full. Nothing is sent until udp_push(). */
uint8_t *udp_room(struct udp *u, size_t size);

/* What stands at udp_room() is a message of `size` bytes; `to` NULL: to whom it is connected. */
void udp_push(struct udp *u, const struct endpoint *to, size_t size);

/* Sends. 0, or -EAGAIN: some of it when the socket is writable again. Others' errors are counted. */
int udp_flush(struct udp *u);
bool udp_blocked(const struct udp *u);

/* A datagram; the bytes are the receiver's to change, and stay until the next udp_receive(). */
typedef void (*udp_receiver)(void *data, const struct endpoint *from, uint8_t *bytes, size_t size);

/* One batch. 0, or -EAGAIN: nothing was there; or -errno: ICMP's, of a socket that is connected. */
int udp_receive(struct udp *u, udp_receiver receiver, void *data);
