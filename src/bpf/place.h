/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Names in the kernel's memory, as decide/place.h has them. What cannot be read has no name: 0.
 *
 * Functions of their own: so they are verified once, not in each place where they are called.
 */

#include "bpf/facts.h"

enum { PLACE_WORDS = (PLACE_NAME_MAX + PLACE_WORD - 1) / PLACE_WORD };

/*
 * What a word of a string has before the zero byte that ends it; its bytes go to *length. There is no
 * look at a byte at a time: reading is what costs here.
 */
static __always_inline __u64 place_cut(__u64 word, __u64 *length)
{
    __u64 lowest_first = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
    __u64 zeros = (lowest_first - 0x0101010101010101) & ~lowest_first & 0x8080808080808080;
    __u64 before = zeros ? ((zeros & -zeros) >> 7) - 1 : ~0ULL;

    *length = ((before & 0x0101010101010101) * 0x0101010101010101) >> 56; /* whole bytes */
    lowest_first &= before;
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? lowest_first
                                                     : __builtin_bswap64(lowest_first);
}

/*
 * Of the string there; its length goes to *length. Names are in memory of whole words, so the last one
 * may be read as such.
 */
__attribute__((noinline)) __u64 place_hash(__u64 address, __u64 *length)
{
    __u64 hash = place_name_begin(), at = 0, n = PLACE_WORD;

    if (!length)
        return 0;
    for (int i = 0; i < PLACE_WORDS && n == PLACE_WORD; i++) {
        __u64 word = 0;

        if (bpf_probe_read_kernel(&word, sizeof(word), (void *)(address + at)) < 0)
            return 0;
        word = place_cut(word, &n);
        if (n > 0)
            hash = place_mix(hash, word);
        at += n;
    }
    *length = at;
    return at == 0 ? 0 : place_name_end(hash);
}

struct place_cgroup {
    __u64 name, unit;
    __u64 holds_units;
};

/* Are these n bytes, at most 8, those of `text`? (There is no memcmp() here.) */
static __always_inline bool place_is(__u64 address, __u32 n, const char text[static PLACE_WORD])
{
    __u64 found = 0, wanted;

    __builtin_memcpy(&wanted, text, sizeof(wanted));
    return bpf_probe_read_kernel(&found, n, (void *)address) == 0 && found == wanted;
}

/* What app_holds_units() and app_unit_name() of decide/app.h say of a string. */
__attribute__((noinline)) int place_read_cgroup(struct place_cgroup *ret, __u64 address)
{
    __u64 length = 0, rest = 0;
    char first = 0;

    if (!ret)
        return 0;
    ret->name = ret->unit = place_hash(address, &length);
    (void)bpf_probe_read_kernel(&first, sizeof(first), (void *)address);
    if (first == '_')
        ret->unit = place_hash(address + 1, &rest);
    ret->holds_units = (length > 6 && place_is(address + length - 6, 6, ".slice\0")) ||
                       (length > 8 && place_is(address + length - 8, 8, ".service") &&
                        place_is(address, 5, "user@\0\0"));
    return 0;
}
