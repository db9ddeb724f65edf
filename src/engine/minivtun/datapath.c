/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/datapath.h"

#include <errno.h>
#include <sys/uio.h>

#include "engine/minivtun/engine.h"
#include "engine/minivtun/segment.h"

enum {
    PACKETS_AT_ONCE = 64, /* from the TUN, until the network is looked at */
    LARGE_MAX = 65536 + MINIVTUN_FRAME_HEADER_SIZE,
    FRAME_EXTRA = MINIVTUN_FRAME_HEADER_SIZE + 4, /* Ethernet header and a VLAN tag */
    PACKET_MAX = MINIVTUN_MESSAGE_MAX - MINIVTUN_DATA_HEADER_SIZE,
    MESSAGE_ROOM = MINIVTUN_MESSAGE_MAX + 16, /* and a block of padding */
};

/* A packet stands where it is sent from, behind the place of the header. */
static void send_in_place(struct engine *e, const struct target *target, uint8_t *message,
                          size_t size)
{
    uint16_t proto;

    if (minivtun_proto_of(message + MINIVTUN_DATA_HEADER_SIZE, size, e->options->tap, &proto) < 0 ||
        crypto_padded(e->crypto, MINIVTUN_DATA_HEADER_SIZE + size) > MINIVTUN_MESSAGE_MAX) {
        e->counters.too_large++;
        return;
    }
    minivtun_data_build(message, (*target->seq)++, crypto_auth(e->crypto), proto, (uint16_t)size);
    size += MINIVTUN_DATA_HEADER_SIZE;
    if (crypto_encrypt(e->crypto, message, size) < 0)
        return;
    e->counters.sent++;
    udp_push(e->udp, target->to, crypto_padded(e->crypto, size));
}

void engine_send(struct engine *e, const struct target *target, const uint8_t *packet, size_t size)
{
    uint8_t *message = udp_room(e->udp, MESSAGE_ROOM);

    if (!message || size > PACKET_MAX) {
        e->counters.too_large++;
        return;
    }
    memcpy(message + MINIVTUN_DATA_HEADER_SIZE, packet, size);
    send_in_place(e, target, message, size);
}

void engine_send_echo(struct engine *e, enum minivtun_opcode opcode, const struct target *target,
                      const uint8_t body[static MINIVTUN_ECHO_SIZE])
{
    uint8_t *message = udp_room(e->udp, MESSAGE_ROOM);

    if (!message)
        return;
    minivtun_echo_build(message, opcode, (*target->seq)++, crypto_auth(e->crypto), body);
    if (crypto_encrypt(e->crypto, message, MINIVTUN_ECHO_MESSAGE_SIZE) == 0)
        udp_push(e->udp, target->to, crypto_padded(e->crypto, MINIVTUN_ECHO_MESSAGE_SIZE));
}

static void send_large(struct engine *e, const struct virtio_net_hdr *hdr, size_t size)
{
    struct segmenter s;
    struct target target;

    if (segment_begin(&s, hdr, e->large, size, e->options->tap) < 0) {
        e->counters.too_large++;
        return;
    }
    if (!e->role->route(e, e->large, &target)) {
        e->counters.nowhere++;
        return;
    }
    for (;;) {
        uint8_t *message = udp_room(e->udp, MESSAGE_ROOM);
        ssize_t n = -ENOBUFS;

        if (message)
            n = segment_next(&s, message + MINIVTUN_DATA_HEADER_SIZE, PACKET_MAX);
        if (n < 0)
            e->counters.too_large++;
        if (n <= 0)
            return;
        send_in_place(e, &target, message, (size_t)n);
    }
}

/* A packet that is whole; in `message`, behind the place of the header, or at `large`. */
static void send_whole(struct engine *e, const struct virtio_net_hdr *hdr, uint8_t *packet,
                       size_t size, uint8_t *message)
{
    struct target target;
    uint16_t proto;

    if (segment_finish(hdr, packet, size) < 0 ||
        minivtun_proto_of(packet, size, e->options->tap, &proto) < 0)
        return;
    if (e->options->tap && (packet[0] & 1) && e->role->spread) {
        /* the outbox's place is needed for the copies */
        if (packet != e->large)
            memcpy(e->large, packet, size);
        e->role->spread(e, e->large, size);
    } else if (!e->role->route(e, packet, &target)) {
        e->counters.nowhere++;
    } else if (packet == message + MINIVTUN_DATA_HEADER_SIZE) {
        send_in_place(e, &target, message, size);
    } else {
        engine_send(e, &target, packet, size);
    }
}

/*
 * Reads one packet: what fits into a datagram right into the outbox. What does not, by its size or
 * because it is to be cut, has its rest in `large`, and is put together there. False: there is none.
 */
static bool read_packet(struct engine *e)
{
    struct virtio_net_hdr hdr = { 0 };
    uint8_t *message = udp_room(e->udp, MESSAGE_ROOM), *packet;
    size_t skip = e->tun.vnet ? 0 : 1, header = e->tun.vnet ? sizeof(hdr) : 0, size;
    size_t first = MIN((size_t)e->options->mtu + FRAME_EXTRA, (size_t)PACKET_MAX);
    ssize_t n;

    if (!message)
        return false;
    packet = message + MINIVTUN_DATA_HEADER_SIZE;
    struct iovec iov[] = { { &hdr, sizeof(hdr) },
                           { packet, first },
                           { e->large + first, LARGE_MAX - first } };
    n = readv(e->tun.fd, iov + skip, (int)(ELEMENTSOF(iov) - skip));
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        engine_tun_failed(e, errno);
    if (n <= (ssize_t)header)
        return false;
    size = (size_t)n - header;
    if (size > first || segment_needed(&hdr)) {
        memcpy(e->large, packet, MIN(first, size));
        packet = e->large;
    }
    if (!segment_needed(&hdr))
        send_whole(e, &hdr, packet, size, message);
    else if (e->options->tap && (packet[0] & 1))
        e->counters.nowhere++; /* nobody sends TCP to all */
    else
        send_large(e, &hdr, size);
    return true;
}

void datapath_from_tun(struct engine *e)
{
    for (unsigned i = 0; i < PACKETS_AT_ONCE && !udp_blocked(e->udp); i++)
        if (!read_packet(e))
            break;
    (void)udp_flush(e->udp);
}

void datapath_flush_tun(struct engine *e)
{
    struct iovec iov[COALESCE_IOV_MAX];
    struct virtio_net_hdr hdr;
    size_t skip = e->tun.vnet ? 0 : 1;

    for (size_t i = 0; i < e->coalescer->n_groups; i++) {
        size_t n = coalesce_take(e->coalescer, i, &hdr, iov);

        if (writev(e->tun.fd, iov + skip, (int)(n - skip)) < 0)
            e->counters.lost += e->coalescer->groups[i].n;
    }
    coalesce_reset(e->coalescer);
}

void engine_to_tun(struct engine *e, const struct minivtun_message *m)
{
    /* ours to change: it lies in the inbox */
    uint8_t *packet = (uint8_t *)m->packet;

    e->counters.received++;
    if (coalesce_add(e->coalescer, packet, (uint16_t)m->packet_size))
        return;
    datapath_flush_tun(e);
    (void)coalesce_add(e->coalescer, packet, (uint16_t)m->packet_size);
}

static void on_datagram(void *data, const struct endpoint *from, uint8_t *bytes, size_t size)
{
    struct engine *e = data;
    struct minivtun_message m;
    int r = crypto_decrypt(e->crypto, bytes, size);

    if (r == 0)
        r = minivtun_parse(bytes, size, crypto_auth(e->crypto), e->options->tap, &m);
    if (r == -EACCES)
        e->counters.wrong_key++;
    else if (r < 0)
        e->counters.bad++;
    else
        e->role->received(e, from, &m);
}

void datapath_from_network(struct engine *e)
{
    (void)udp_receive(e->udp, on_datagram, e);
    datapath_flush_tun(e);
    (void)udp_flush(e->udp); /* answers to echoes */
}
