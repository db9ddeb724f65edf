/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/json.h"

#include <ctype.h>
#include <errno.h>

/* Dictionary keys whose values hold structs: docs/dbus.md names their members. */
static const struct {
    const char *key;
    const char *const names[8];
} dictionary_structs[] = {
    { "Counters",
      { "network", "netid", "packets_out", "bytes_out", "packets_in", "bytes_in", "drops", NULL } },
    { "Decision", { "command", "step", "reason", "mark", NULL } },
    { "Others", { "selector", "network", "strength", "step", "why", NULL } },
    { "Otherwise", { "priority", "packets", "differs", "error_text", "interface", NULL } },
    { "Steps", { "priority", "name", "rule", "match", "outcome", "route", NULL } },
};

/* Keys that are one word to us, whatever their capitals say. */
static const struct {
    const char *key, *name;
} whole_words[] = {
    { "NetId", "netid" },
};

static int snake_case(const char *key, char **ret)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    for (size_t i = 0; i < ELEMENTSOF(whole_words); i++)
        if (streq(whole_words[i].key, key))
            key = whole_words[i].name;
    for (const char *p = key; *p; p++) {
        if (isupper((unsigned char)*p) && p > key)
            strbuf_add_char(&b, '_');
        strbuf_add_char(&b, (char)tolower((unsigned char)*p));
    }
    return strbuf_finish(&b, ret);
}

int json_put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

/* Hands a new value over, if there is one. */
static int give(json_t *value, json_t **ret)
{
    if (!value)
        return -ENOMEM;
    *ret = value;
    return 1;
}

static int read_basic(sd_bus_message *m, char type, json_t **ret)
{
    union {
        uint8_t u8;
        int16_t i16;
        uint16_t u16;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        double d;
        int boolean;
        const char *s;
    } v;
    int r = sd_bus_message_read_basic(m, type, &v);

    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    switch (type) {
    case SD_BUS_TYPE_BYTE:
        return give(json_integer(v.u8), ret);
    case SD_BUS_TYPE_BOOLEAN:
        return give(json_boolean(v.boolean), ret);
    case SD_BUS_TYPE_INT16:
        return give(json_integer(v.i16), ret);
    case SD_BUS_TYPE_UINT16:
        return give(json_integer(v.u16), ret);
    case SD_BUS_TYPE_INT32:
        return give(json_integer(v.i32), ret);
    case SD_BUS_TYPE_UINT32:
        return give(json_integer(v.u32), ret);
    case SD_BUS_TYPE_INT64:
        return give(json_integer(v.i64), ret);
    case SD_BUS_TYPE_UINT64: /* JSON's readers take no more than 2^53 for sure */
        return give(json_integer((json_int_t)MIN(v.u64, (uint64_t)INT64_MAX)), ret);
    case SD_BUS_TYPE_DOUBLE:
        return give(json_real(v.d), ret);
    case SD_BUS_TYPE_STRING:
    case SD_BUS_TYPE_OBJECT_PATH:
    case SD_BUS_TYPE_SIGNATURE:
        return give(json_string(v.s), ret);
    default:
        return -EBADMSG;
    }
}

static const char *const *names_of_key(const char *key)
{
    for (size_t i = 0; i < ELEMENTSOF(dictionary_structs); i++)
        if (streq(dictionary_structs[i].key, key))
            return dictionary_structs[i].names;
    return NULL;
}

/* One entry of a dictionary with strings for keys. 1: there was one. */
static int read_entry(sd_bus_message *m, const char *contents, json_t *object)
{
    _cleanup_free_ char *name = NULL;
    json_t *value = NULL;
    const char *key;
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, contents);

    if (r <= 0)
        return r;
    r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &key);
    if (r >= 0)
        r = snake_case(key, &name);
    if (r >= 0)
        r = json_from_message(m, names_of_key(key), &value);
    if (r >= 0)
        r = json_put(object, name, value);
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_dictionary(sd_bus_message *m, const char *contents, json_t **ret)
{
    json_auto_t *object = json_object();
    _cleanup_free_ char *inner = strndup(contents + 1, strlen(contents) - 2);
    int r = object && inner ? 1 : -ENOMEM;

    if (r > 0)
        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents);
    while (r > 0)
        r = read_entry(m, inner, object);
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : give(TAKE_PTR(object), ret);
}

static int read_array(sd_bus_message *m, const char *contents, const char *const *names,
                      json_t **ret)
{
    json_auto_t *array = json_array();
    int r = array ? sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents) : -ENOMEM;

    while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0) {
        json_t *value = NULL;

        r = json_from_message(m, names, &value);
        if (r >= 0 && json_array_append_new(array, value) < 0)
            r = -ENOMEM;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : give(TAKE_PTR(array), ret);
}

static int read_struct(sd_bus_message *m, const char *contents, const char *const *names,
                       json_t **ret)
{
    json_auto_t *members = names ? json_object() : json_array();
    int r = members ? sd_bus_message_enter_container(m, SD_BUS_TYPE_STRUCT, contents) : -ENOMEM;

    while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0) {
        json_t *value = NULL;

        if (names && !*names)
            return -EBADMSG; /* more members than we know */
        r = json_from_message(m, NULL, &value);
        if (r < 0)
            break;
        if (names)
            r = json_put(members, *names++, value);
        else if (json_array_append_new(members, value) < 0)
            r = -ENOMEM;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : give(TAKE_PTR(members), ret);
}

static int read_variant(sd_bus_message *m, const char *contents, const char *const *names,
                        json_t **ret)
{
    json_auto_t *value = NULL;
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, contents);

    if (r >= 0)
        r = json_from_message(m, names, &value);
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : give(TAKE_PTR(value), ret);
}

int json_from_message(sd_bus_message *m, const char *const *names, json_t **ret)
{
    const char *contents;
    char type;
    int r = sd_bus_message_peek_type(m, &type, &contents);

    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    if (type == SD_BUS_TYPE_ARRAY && contents[0] == SD_BUS_TYPE_DICT_ENTRY_BEGIN)
        r = read_dictionary(m, contents, ret);
    else if (type == SD_BUS_TYPE_ARRAY)
        r = read_array(m, contents, names, ret);
    else if (type == SD_BUS_TYPE_STRUCT)
        r = read_struct(m, contents, names, ret);
    else if (type == SD_BUS_TYPE_VARIANT)
        r = read_variant(m, contents, names, ret);
    else
        r = read_basic(m, type, ret);
    return MIN(r, 0);
}

const char *json_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

json_int_t json_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool json_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static void print_scalar(const json_t *value, struct strbuf *b)
{
    const char *s = json_string_value(value);

    if (json_is_integer(value))
        strbuf_add(b, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        strbuf_add(b, "%s", json_is_true(value) ? "yes" : "no");
    else
        strbuf_add(b, "%s", s && *s ? s : "-");
}

void json_print_plain(const json_t *value, const char *separator, struct strbuf *b)
{
    if (!json_is_array(value)) {
        print_scalar(value, b);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0)
            strbuf_add(b, "%s", separator);
        print_scalar(json_array_get(value, i), b);
    }
    if (json_array_size(value) == 0)
        strbuf_add(b, "-");
}
