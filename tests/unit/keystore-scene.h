/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A store in a folder of its own, and scripts for it: a line is what is asked, "->", what is expected.
 *
 *   p OLD NEW   u PASSWORD   l   r                    what waymark-keystored calls so
 *   i UID KEY VALUE   g UID KEY   d UID KEY   e UID KEY   s UID PREFIX   z   t
 *   x UID KEY READER   y UID KEY READER
 *   f READER NAME    what is found among grants: "OWNER KEY" or "7"
 *   n                tries that are left
 *   restart          closes and opens it
 *   key-file TEXT    what it is opened with from the next start on
 *
 * "-" is empty; "\xNN" is a byte. What is listed is in alphabetical order, with commas.
 */

#include "keystore/store.h"

struct keystore_scene {
    char folder[64];
    int fd; /* of it; -1 while it is closed */
    sd_event *event;
    struct store *store;
    struct store_settings settings;
    struct secret key_file;
};

/* Opens a new one; Argon2id costs next to nothing, and there is no delay after wrong passwords. */
void keystore_scene_init(struct keystore_scene *s);
void keystore_scene_done(struct keystore_scene *s);

/* 0 or -errno. */
int keystore_scene_open(struct keystore_scene *s, struct why *why);
void keystore_scene_close(struct keystore_scene *s);
void keystore_scene_restart(struct keystore_scene *s);

void keystore_scene_run(struct keystore_scene *s, const char *row, const char *script);

/* Lets the loop run until *answers is `n`. */
void keystore_scene_wait(struct keystore_scene *s, const unsigned *answers, unsigned n);

struct keystore_key keystore_scene_key(const char *text);
struct secret keystore_scene_secret(const char *text);
