/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What client and server have in common: the loop, and the way of packets between TUN and network.
 *
 *   TUN ─ read ─ cut (segment.h) ─ to whom? (role) ─ encipher ─ outbox (udp.h) ─▶ network
 *   TUN ◀ write ─ join (coalesce.h) ─ whose? (role) ─ parse ─ decipher ─ inbox (udp.h) ─ network
 *
 * One thread, one epoll. Packets are read into the place they are sent from and written from where
 * they were received; only what is cut is copied. When the network's socket is full, the TUN is not
 * read: its queue is where packets wait, and where the kernel tells TCP.
 *
 * The engine can be used from one thread only, and is whole: there are no other variables.
 */

#include "basic/clock.h"
#include "engine/minivtun/coalesce.h"
#include "engine/minivtun/crypto.h"
#include "engine/minivtun/options.h"
#include "engine/minivtun/tun.h"
#include "engine/minivtun/udp.h"

struct background;
struct engine;
struct vpn;

/* To whom a packet goes. */
struct target {
    const struct endpoint *to; /* NULL: to whom the socket is connected */
    uint16_t *seq;
};

/* What is different. */
struct role {
    /* Once, before the sandbox: with all that must still be allowed. 0 or -errno, with the reason. */
    int (*start)(struct engine *e, struct why *why);
    /* A good message of whoever has the key. */
    void (*received)(struct engine *e, const struct endpoint *from,
                     const struct minivtun_message *m);
    /* A packet (TAP: a frame) from the TUN; it goes to at most one. False: to nobody. */
    bool (*route)(struct engine *e, const uint8_t *packet, struct target *ret);
    /* TAP: a frame for all; calls engine_send() for each. */
    void (*spread)(struct engine *e, const uint8_t *packet, size_t size);
    /* Does what is due; returns when there is something to do again. */
    usec_t (*tick)(struct engine *e);
    /* A descriptor that engine_watch() was told of. */
    void (*ready)(struct engine *e, int fd, bool readable, bool writable);
    void (*done)(struct engine *e);
};

extern const struct role client_role, server_role;

/* What went wrong; logged at the end, and at SIGUSR1. */
struct counters {
    uint64_t sent, received;           /* inner packets */
    uint64_t bad, wrong_key;           /* messages */
    uint64_t nowhere, too_large, lost; /* inner packets: of nobody; cannot be sent; TUN refused */
};

struct engine {
    const struct options *options;
    const struct role *role;
    void *state; /* the role's */
    struct crypto *crypto;
    struct udp *udp;
    struct tun tun;
    struct vpn *vpn; /* --waymark */
    int epoll, signals;
    struct background *background;
    usec_t now, started;
    bool tun_watched, udp_writable_watched, stop;
    int status; /* the program's */
    struct coalescer *coalescer;
    uint8_t *large; /* a packet from the TUN that is to be cut */
    struct counters counters;
};

/* Runs until it is told to end; the program's exit status. */
int engine_run(const struct options *o, struct background *background);

/* --- for the roles ------------------------------------------------------------------------- */

/* A socket of ours before it is used: it must not go into the tunnel. < 0: it may not be used. */
int engine_protect(struct engine *e, int fd);

/* The network's socket, the engine's from now on. 0 or -errno. */
int engine_use_socket(struct engine *e, int fd);

/* role->ready() is called for it; neither to read nor to write: not any more. */
void engine_watch(struct engine *e, int fd, bool read, bool write);

/* All is set up: who waits for a daemon to go into the background goes on. */
void engine_is_ready(struct engine *e);

/* The TUN cannot be read: ends the loop, unless it may come back. */
void engine_tun_failed(struct engine *e, int error);

/* Ends the loop. */
void engine_stop(struct engine *e, int status);

void engine_send_echo(struct engine *e, enum minivtun_opcode opcode, const struct target *target,
                      const uint8_t body[static MINIVTUN_ECHO_SIZE]);
void engine_send(struct engine *e, const struct target *target, const uint8_t *packet, size_t size);
void engine_to_tun(struct engine *e, const struct minivtun_message *m);
