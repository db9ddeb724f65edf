/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * D-Bus values as JSON, by their type: what --json prints, and what the printers for people read.
 *
 * Keys become lower_snake_case ("ExcludeLocal" → "exclude_local"). A struct becomes an object when
 * its members have names, an array when they have none.
 */

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "basic/strbuf.h"

/*
 * Reads the one value at the message's cursor. `names` (NULL = none), ended by NULL, are those of
 * the members of a struct that it is or holds. *ret is a new reference. -EBADMSG when the message
 * is at its end or has a type that JSON cannot say; -ENOMEM; sd-bus's own errors.
 */
int json_from_message(sd_bus_message *m, const char *const *names, json_t **ret);

/* The member of an object: "", 0, false, an empty iteration when it is not there. */
const char *json_text(const json_t *object, const char *key);
json_int_t json_number(const json_t *object, const char *key);
bool json_flag(const json_t *object, const char *key);

/* object[key] = value, taking the reference. 0 or -ENOMEM (also for a NULL value). */
int json_put(json_t *object, const char *key, json_t *value);

/* Appends a value as people read it: lists joined by `separator`, yes and no, "-" for nothing. */
void json_print_plain(const json_t *value, const char *separator, struct strbuf *b);
