/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/keyblob.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>

#include "basic/uidrange.h"

static const uint8_t value_magic[KEYBLOB_MAGIC_SIZE] = { 'W', 'M', 'V', 'A', 'L', 'U', 'E', '1' };
static const uint8_t master_magic[KEYBLOB_MAGIC_SIZE] = { 'W', 'M', 'K', 'E', 'Y', 'S', '1', '\n' };
static const uint8_t kind_codes[KEYBLOB_KIND_MAX] = { 1, 2 };
static const char tries_text[] = "wrong passwords: 0\n";

static_assert(sizeof(tries_text) == KEYBLOB_TRIES_SIZE + 1, "tries");
static_assert(KEYSTORE_TRIES <= 9, "one digit");

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t size)
{
    memcpy(p, bytes, size);
    return p + size;
}

static uint8_t *put_u32(uint8_t *p, uint32_t value)
{
    uint32_t be = htobe32(value);

    return put_bytes(p, &be, sizeof(be));
}

static const uint8_t *take_bytes(const uint8_t *p, void *ret, size_t size)
{
    memcpy(ret, p, size);
    return p + size;
}

static const uint8_t *take_u32(const uint8_t *p, uint32_t *ret)
{
    uint32_t be;

    p = take_bytes(p, &be, sizeof(be));
    *ret = be32toh(be);
    return p;
}

int keyblob_value_parse(const uint8_t *bytes, size_t size, struct keyblob_value *ret)
{
    if (size < KEYBLOB_VALUE_OVERHEAD || size > KEYBLOB_VALUE_FILE_MAX ||
        memcmp(bytes, value_magic, sizeof(value_magic)) != 0)
        return -EBADMSG;
    *ret = (struct keyblob_value){
        .nonce = bytes + KEYBLOB_MAGIC_SIZE,
        .sealed = bytes + KEYBLOB_VALUE_HEADER,
        .sealed_size = size - KEYBLOB_VALUE_HEADER,
    };
    return 0;
}

void keyblob_value_header(uint8_t out[static KEYBLOB_VALUE_HEADER],
                          const uint8_t nonce[static KEYBLOB_NONCE_SIZE])
{
    memcpy(put_bytes(out, value_magic, sizeof(value_magic)), nonce, KEYBLOB_NONCE_SIZE);
}

size_t keyblob_value_about(uint8_t out[static KEYBLOB_VALUE_ABOUT_MAX], uint32_t owner,
                           const struct keystore_key *key)
{
    uint8_t *p = put_bytes(out, value_magic, sizeof(value_magic));

    p = put_u32(p, owner);
    *p++ = key->size;
    p = put_bytes(p, key->bytes, key->size);
    return (size_t)(p - out);
}

static uint8_t *put_slot_header(uint8_t *p, enum keyblob_kind kind, const struct keyblob_slot *slot)
{
    const uint8_t start[4] = { kind_codes[kind], 0, 0, 0 };

    p = put_bytes(p, start, sizeof(start));
    p = put_u32(p, slot->passes);
    p = put_u32(p, slot->memory);
    return put_bytes(p, slot->salt, sizeof(slot->salt));
}

void keyblob_slot_about(uint8_t out[static KEYBLOB_SLOT_ABOUT_SIZE], enum keyblob_kind kind,
                        const struct keyblob_slot *slot)
{
    (void)put_slot_header(put_bytes(out, master_magic, sizeof(master_magic)), kind, slot);
}

/* Can Argon2id be asked for that, and would it end? */
static bool is_cost(enum keyblob_kind kind, uint32_t passes, uint32_t memory)
{
    if (kind != KEYBLOB_PASSWORD)
        return passes == 0 && memory == 0;
    return passes >= 1 && passes <= KEYBLOB_PASSES_MAX && memory >= KEYBLOB_MEMORY_MIN &&
           memory <= KEYBLOB_MEMORY_MAX;
}

/* The slot's kind, which comes behind `after`; or -EBADMSG. */
static int take_slot(const uint8_t *p, int after, struct keyblob_master *m)
{
    struct keyblob_slot slot = { .used = true };
    int kind = after + 1;

    while (kind < KEYBLOB_KIND_MAX && kind_codes[kind] != p[0])
        kind++;
    if (kind == KEYBLOB_KIND_MAX || p[1] != 0 || p[2] != 0 || p[3] != 0)
        return -EBADMSG;
    p = take_u32(p + 4, &slot.passes);
    p = take_u32(p, &slot.memory);
    if (!is_cost((enum keyblob_kind)kind, slot.passes, slot.memory))
        return -EBADMSG;
    p = take_bytes(p, slot.salt, sizeof(slot.salt));
    p = take_bytes(p, slot.nonce, sizeof(slot.nonce));
    (void)take_bytes(p, slot.sealed, sizeof(slot.sealed));
    m->slots[kind] = slot;
    return kind;
}

int keyblob_master_parse(const uint8_t *bytes, size_t size, struct keyblob_master *ret)
{
    static const uint8_t zero[KEYBLOB_MASTER_HEADER - KEYBLOB_MAGIC_SIZE - 1];
    struct keyblob_master m = { 0 };
    int kind = -1;
    size_t n;

    if (size < KEYBLOB_MASTER_HEADER || memcmp(bytes, master_magic, sizeof(master_magic)) != 0 ||
        memcmp(bytes + KEYBLOB_MAGIC_SIZE + 1, zero, sizeof(zero)) != 0)
        return -EBADMSG;
    n = bytes[KEYBLOB_MAGIC_SIZE];
    if (n < 1 || n > KEYBLOB_KIND_MAX ||
        size != KEYBLOB_MASTER_HEADER + n * KEYBLOB_SLOT_SIZE + KEYBLOB_DIGEST_SIZE)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++) {
        kind = take_slot(bytes + KEYBLOB_MASTER_HEADER + i * KEYBLOB_SLOT_SIZE, kind, &m);
        if (kind < 0)
            return kind;
    }
    *ret = m;
    return 0;
}

size_t keyblob_master_write(uint8_t out[static KEYBLOB_MASTER_FILE_MAX],
                            const struct keyblob_master *m)
{
    uint8_t *p = out + KEYBLOB_MASTER_HEADER;
    uint8_t n = 0;

    memset(out, 0, KEYBLOB_MASTER_HEADER);
    memcpy(out, master_magic, sizeof(master_magic));
    for (unsigned kind = 0; kind < KEYBLOB_KIND_MAX; kind++) {
        const struct keyblob_slot *slot = &m->slots[kind];

        if (!slot->used)
            continue;
        p = put_slot_header(p, (enum keyblob_kind)kind, slot);
        p = put_bytes(p, slot->nonce, sizeof(slot->nonce));
        p = put_bytes(p, slot->sealed, sizeof(slot->sealed));
        n++;
    }
    out[KEYBLOB_MAGIC_SIZE] = n;
    return (size_t)(p - out);
}

/* A uid in decimal up to the byte `end`, as it would be written; where that stands, or NULL. */
static const char *take_uid(const char *p, const char *limit, char end, uint32_t *ret)
{
    const char *start = p;
    uint64_t uid = 0;

    for (; p < limit && *p >= '0' && *p <= '9' && uid < UID_INVALID; p++)
        uid = uid * 10 + (uint64_t)(*p - '0');
    if (p == start || p == limit || *p != end || uid >= UID_INVALID ||
        (*start == '0' && p - start > 1))
        return NULL;
    *ret = (uint32_t)uid;
    return p;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int keyblob_name_parse(const char *name, uint32_t *ret_owner, struct keystore_key *ret_key)
{
    size_t size = strnlen(name, KEYBLOB_NAME_SIZE);
    struct keystore_key key = { 0 };
    const char *p;
    uint32_t owner;

    p = take_uid(name, name + size, '_', &owner);
    if (!p)
        return -EBADMSG;
    size -= (size_t)(++p - name);
    if (size % 2 != 0 || size / 2 > KEYSTORE_KEY_MAX)
        return -EBADMSG;
    for (; size > 0; size -= 2, p += 2) {
        int high = hex_value(p[0]), low = hex_value(p[1]);

        if (high < 0 || low < 0)
            return -EBADMSG;
        key.bytes[key.size++] = (uint8_t)(high << 4 | low);
    }
    *ret_owner = owner;
    *ret_key = key;
    return 0;
}

void keyblob_name_write(char out[static KEYBLOB_NAME_SIZE], uint32_t owner,
                        const struct keystore_key *key)
{
    static const char digits[] = "0123456789abcdef";
    char *p = out + snprintf(out, KEYBLOB_NAME_SIZE, "%u_", owner);

    for (size_t i = 0; i < key->size; i++) {
        *p++ = digits[key->bytes[i] >> 4];
        *p++ = digits[key->bytes[i] & 0xf];
    }
    *p = '\0';
}

int keyblob_grants_parse(const char *text, size_t size, uint32_t uids[static KEYBLOB_GRANTS_MAX],
                         size_t *ret_n)
{
    const char *limit = text + size;
    uint32_t found[KEYBLOB_GRANTS_MAX];
    size_t n = 0;

    if (size == 0)
        return -EBADMSG;
    for (const char *p = text; p < limit; p++, n++) {
        if (n == KEYBLOB_GRANTS_MAX)
            return -EBADMSG;
        p = take_uid(p, limit, '\n', &found[n]);
        if (!p || (n > 0 && found[n - 1] >= found[n]))
            return -EBADMSG;
    }
    memcpy(uids, found, n * sizeof(found[0]));
    *ret_n = n;
    return 0;
}

size_t keyblob_grants_write(char out[static KEYBLOB_GRANTS_FILE_MAX], const uint32_t *uids,
                            size_t n)
{
    char line[16];
    char *p = out;

    for (size_t i = 0; i < n; i++) {
        int size = snprintf(line, sizeof(line), "%u\n", uids[i]);

        memcpy(p, line, (size_t)size);
        p += size;
    }
    return (size_t)(p - out);
}

int keyblob_tries_parse(const char *text, size_t size, unsigned *ret)
{
    char digit;

    if (size != KEYBLOB_TRIES_SIZE || memcmp(text, tries_text, KEYBLOB_TRIES_DIGIT) != 0 ||
        text[size - 1] != '\n')
        return -EBADMSG;
    digit = text[KEYBLOB_TRIES_DIGIT];
    if (digit < '0' || digit > '0' + KEYSTORE_TRIES)
        return -EBADMSG;
    *ret = (unsigned)(digit - '0');
    return 0;
}

void keyblob_tries_write(char out[static KEYBLOB_TRIES_SIZE], unsigned wrong)
{
    memcpy(out, tries_text, KEYBLOB_TRIES_SIZE);
    out[KEYBLOB_TRIES_DIGIT] = (char)('0' + wrong);
}
