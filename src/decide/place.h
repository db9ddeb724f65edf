/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Executables and cgroups by their place: the directory and the name in it.
 *
 * A file that takes another one's place, and a cgroup that has just been made, have numbers that nobody
 * has heard of yet; their place was known before. So programs in the kernel need not wait for us to
 * read an event, nor that we run at all.
 *
 *   kind         parent                    name
 *   DIRECTORY    a directory's inode       0: there is a FILE in it (else there is no need to read names)
 *   FILE         a directory's inode       of an executable in it
 *   ROOT         id of the root cgroup     0: there paths begin
 *   WAY          a path                    of a cgroup that the path to a CGROUP leads through
 *   CGROUP       a path                    of a cgroup in it
 *   UNIT         0                         of a unit, wherever units are (decide/app.h)
 *
 * Names are hashed: tables and sockets' records are small so, and no name is too long. Who looks for two
 * names with one hash must be able to use the other one in the same directory; but then he can use the
 * very name as well, and hold his own programs by it, no others. A path is PLACE_TOP, or
 * place_below() of another: only who was led there from the root, name by name, comes to it.
 *
 * That is so while nobody but who administers the machine says what the places are: it takes no time to
 * find a name for any hash, and so a path that has another one's. So `waymark run` makes none.
 *
 * Compiled for BPF, too: no libc.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum place_kind {
    PLACE_DIRECTORY,
    PLACE_FILE,
    PLACE_ROOT,
    PLACE_WAY,
    PLACE_CGROUP,
    PLACE_UNIT,
    PLACE_KIND_MAX,
};

enum { PLACE_TOP = 1, PLACE_WORD = 8, PLACE_NAME_MAX = 255 };

/* Says nothing by itself: others are below, or in it. */
static inline bool place_is_passage(uint32_t kind)
{
    return kind == PLACE_DIRECTORY || kind == PLACE_ROOT || kind == PLACE_WAY;
}

/* One step of a multiplicative hash; 2⁶⁴ / golden ratio. */
static inline uint64_t place_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 32);
}

/* A name is mixed from this on, PLACE_WORD bytes at a time, the last ones filled up with zeros… */
static inline uint64_t place_name_begin(void)
{
    return UINT64_C(0x77617970);
}

/* …and is never 0. */
static inline uint64_t place_name_end(uint64_t hash)
{
    hash = place_mix(hash, 0);
    return hash ? hash : 1;
}

static inline uint64_t place_below(uint64_t path, uint64_t name)
{
    return place_mix(place_mix(path, name), PLACE_WORD);
}

/* All of that for n bytes of a string; 0 for an empty one. Not in BPF: bpf/place.h is its twin. */
uint64_t place_name(const char *name, size_t n);
