/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A message of minivtun, of a peer that has the key (all zero here). What must hold:
 *  - what is told of a message lies within its bytes;
 *  - an inner packet has its header, and is of the protocol that it is said to be;
 *  - built again from what was told, it is the same, but for padding and the reserved byte;
 *  - with another key nothing is told.
 * The first byte chooses TUN or TAP.
 */

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/minivtun.h"

static const uint8_t key[MINIVTUN_AUTH_SIZE], other_key[MINIVTUN_AUTH_SIZE] = { 1 };

static void check_data(const struct minivtun_message *m, const uint8_t *data, size_t size, bool tap)
{
    uint8_t built[MINIVTUN_DATA_HEADER_SIZE];
    uint16_t proto;

    MUST(m->packet == data + MINIVTUN_DATA_HEADER_SIZE);
    MUST(m->packet_size <= size - MINIVTUN_DATA_HEADER_SIZE);
    MUST(m->packet_size >= (tap ? 14 : m->packet[0] >> 4 == 4 ? 20 : 40));
    MUST(minivtun_proto_of(m->packet, m->packet_size, tap, &proto) == 0);
    MUST(tap ? proto == 0 : proto == m->proto);
    MUST(minivtun_source(m->packet, tap).family == minivtun_destination(m->packet, tap).family);
    minivtun_data_build(built, m->seq, key, m->proto, (uint16_t)m->packet_size);
    MUST(built[0] == data[0] && memcmp(built + 2, data + 2, sizeof(built) - 2) == 0);
}

static void check_echo(const struct minivtun_message *m, const uint8_t *data, bool tap)
{
    uint8_t built[MINIVTUN_ECHO_MESSAGE_SIZE], body[MINIVTUN_ECHO_SIZE];
    struct minivtun_echo echo, again;

    minivtun_echo_parse(m->echo, tap, &echo);
    for (size_t i = 0; i < ELEMENTSOF(echo.inner); i++)
        MUST(!ip_addr_is_set(&echo.inner[i]) || minivtun_addr_is_host(&echo.inner[i]));
    minivtun_echo_body(body, &echo);
    minivtun_echo_parse(body, tap, &again);
    MUST(memcmp(&echo, &again, sizeof(echo)) == 0);
    minivtun_echo_build(built, m->opcode, m->seq, key, m->echo);
    MUST(built[0] == data[0] && memcmp(built + 2, data + 2, sizeof(built) - 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct minivtun_message m;
    bool tap;
    int r;

    if (size == 0)
        return 0;
    tap = data[0] & 1;
    data++;
    size--;
    r = minivtun_parse(data, size, key, tap, &m);
    if (r < 0) {
        MUST(r == -EACCES || r == -EBADMSG || r == -EOPNOTSUPP);
        return 0;
    }
    MUST(size >= MINIVTUN_HEADER_SIZE);
    MUST(minivtun_parse(data, size, other_key, tap, &m) == -EACCES);
    if (m.opcode == MINIVTUN_IPDATA)
        check_data(&m, data, size, tap);
    else if (m.echo)
        check_echo(&m, data, tap);
    return 0;
}
