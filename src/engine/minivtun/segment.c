/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/segment.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include "basic/macro.h"
#include "engine/minivtun/checksum.h"
#include "engine/minivtun/offload.h"

/* What stands between the Ethernet header and the EtherType of a VLAN (IEEE 802.1Q). */
enum { VLAN_TAG = 4 };

static uint8_t gso_type(const struct virtio_net_hdr *hdr)
{
    return hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
}

bool segment_needed(const struct virtio_net_hdr *hdr)
{
    return gso_type(hdr) != VIRTIO_NET_HDR_GSO_NONE;
}

int segment_finish(const struct virtio_net_hdr *hdr, uint8_t *packet, size_t size)
{
    size_t start = hdr->csum_start, at = start + hdr->csum_offset;
    uint16_t sum;

    if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return 0;
    if (start >= size || at + sizeof(sum) > size)
        return -EBADMSG;
    /* in the field stands the sum of the pseudo header already */
    sum = checksum_finish(checksum_add(0, packet + start, size - start));
    if (sum == 0)
        sum = 0xffff; /* UDP: 0 means that there is none; for all others the two are equal */
    memcpy(packet + at, &sum, sizeof(sum));
    return 0;
}

/* Where the IP header begins. */
static int find_l3(struct segmenter *s, bool tap)
{
    if (tap) {
        s->l3 = ETH_HLEN;
        while (s->l3 <= s->size && (load_be16(s->packet + s->l3 - 2) == ETH_P_8021Q ||
                                    load_be16(s->packet + s->l3 - 2) == ETH_P_8021AD))
            s->l3 += VLAN_TAG;
    }
    if (s->l3 + IPV4_HEADER_MIN > s->size)
        return -EBADMSG;
    s->ipv4 = s->packet[s->l3] >> 4 == 4;
    if (!s->ipv4 && (s->packet[s->l3] >> 4 != 6 || s->l3 + IPV6_HEADER > s->size))
        return -EBADMSG;
    return 0;
}

/* What the kernel says and what stands in the packet must be one thing. */
static int find_l4(struct segmenter *s, const struct virtio_net_hdr *hdr)
{
    static const struct {
        uint8_t type, protocol, check;
        bool ipv4, ipv6;
    } kinds[] = {
        { VIRTIO_NET_HDR_GSO_TCPV4, IPPROTO_TCP, TCP_CHECK, true, false },
        { VIRTIO_NET_HDR_GSO_TCPV6, IPPROTO_TCP, TCP_CHECK, false, true },
        { VIRTIO_NET_HDR_GSO_UDP_L4, IPPROTO_UDP, UDP_CHECK, true, true },
    };
    size_t i = 0, ip_header, header;

    while (i < ELEMENTSOF(kinds) && kinds[i].type != gso_type(hdr))
        i++;
    if (i == ELEMENTSOF(kinds))
        return -EOPNOTSUPP;
    ip_header = s->ipv4 ? (size_t)(s->packet[s->l3] & 0xf) * 4 : IPV6_HEADER;
    s->protocol = kinds[i].protocol;
    s->l4 = hdr->csum_start;
    if (!(s->ipv4 ? kinds[i].ipv4 : kinds[i].ipv6) || ip_header < IPV4_HEADER_MIN ||
        !(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || hdr->csum_offset != kinds[i].check)
        return -EBADMSG;
    /* IPv6 may have extension headers in between, IPv4 has nothing */
    if (s->ipv4 ? s->l4 != s->l3 + ip_header || s->packet[s->l3 + IPV4_PROTOCOL] != s->protocol
                : s->l4 < s->l3 + ip_header)
        return -EBADMSG;
    header = s->protocol == IPPROTO_UDP ? UDP_HEADER : TCP_HEADER_MIN;
    if (s->l4 + header > s->size)
        return -EBADMSG;
    if (s->protocol == IPPROTO_TCP)
        header = (size_t)(s->packet[s->l4 + TCP_DOFF] >> 4) * 4;
    s->header_size = s->l4 + header;
    return header < UDP_HEADER || s->header_size > s->size ? -EBADMSG : 0;
}

int segment_begin(struct segmenter *s, const struct virtio_net_hdr *hdr, const uint8_t *packet,
                  size_t size, bool tap)
{
    struct segmenter made = { .packet = packet, .size = size, .segment_size = hdr->gso_size };
    int r;

    if (tap && size < ETH_HLEN)
        return -EBADMSG;
    r = find_l3(&made, tap);
    if (r == 0)
        r = find_l4(&made, hdr);
    if (r < 0)
        return r;
    if (made.segment_size == 0)
        return -EBADMSG;
    if (made.protocol == IPPROTO_TCP && made.header_size < made.l4 + TCP_HEADER_MIN)
        return -EBADMSG;
    made.offset = made.header_size;
    *s = made;
    return 0;
}

static void fix_ip(const struct segmenter *s, uint8_t *out, size_t size)
{
    uint8_t *ip = out + s->l3;
    uint16_t sum = 0;

    if (!s->ipv4) {
        store_be16(ip + IPV6_PAYLOAD, (uint16_t)(size - s->l3 - IPV6_HEADER));
        return;
    }
    store_be16(ip + IPV4_TOTAL, (uint16_t)(size - s->l3));
    store_be16(ip + IPV4_ID, (uint16_t)(load_be16(ip + IPV4_ID) + s->number));
    memcpy(ip + IPV4_CHECK, &sum, sizeof(sum));
    sum = checksum_finish(checksum_add(0, ip, s->l4 - s->l3));
    memcpy(ip + IPV4_CHECK, &sum, sizeof(sum));
}

static void fix_l4(const struct segmenter *s, uint8_t *out, size_t size, bool last)
{
    uint8_t *l4 = out + s->l4, *check;
    uint16_t sum = 0;

    if (s->protocol == IPPROTO_UDP) {
        store_be16(l4 + UDP_LEN, (uint16_t)(size - s->l4));
        check = l4 + UDP_CHECK;
    } else {
        store_be32(l4 + TCP_SEQ, load_be32(l4 + TCP_SEQ) + (uint32_t)(s->offset - s->header_size));
        if (!last)
            l4[TCP_FLAGS] &= 0xff & ~(TCP_FLAG_FIN_BIT | TCP_FLAG_PSH_BIT);
        if (s->number > 0)
            l4[TCP_FLAGS] &= 0xff & ~TCP_FLAG_CWR_BIT;
        check = l4 + TCP_CHECK;
    }
    memcpy(check, &sum, sizeof(sum));
    sum = checksum_finish(
        checksum_add(checksum_pseudo(out + s->l3, s->protocol, size - s->l4), l4, size - s->l4));
    if (sum == 0)
        sum = 0xffff;
    memcpy(check, &sum, sizeof(sum));
}

ssize_t segment_next(struct segmenter *s, uint8_t *out, size_t room)
{
    size_t payload = MIN(s->segment_size, s->size - s->offset), size = s->header_size + payload;
    bool last = s->offset + payload == s->size;

    if (s->done)
        return 0;
    if (size > room)
        return -EMSGSIZE;
    memcpy(out, s->packet, s->header_size);
    memcpy(out + s->header_size, s->packet + s->offset, payload);
    fix_ip(s, out, size);
    fix_l4(s, out, size, last);
    s->offset += payload;
    s->number++;
    s->done = last;
    return (ssize_t)size;
}
