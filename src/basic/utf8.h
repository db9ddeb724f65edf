/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Text for D-Bus, which takes nothing but UTF-8: a reply that is something else is not sent at all.
 *
 * What others wrote is checked when it comes. But a sentence that names it has a bound, "%.60s" as well as the
 * buffer's, and may end inside of a character.
 */

/* Leaves out the bytes that are no whole character (RFC 3629), and characters that D-Bus does not take. */
void utf8_keep_whole(char *text);
