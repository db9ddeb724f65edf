/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/request.h"

#include <errno.h>

#include "basic/parse.h"

int request_netid(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    const char *text = arguments_value(&c->args, o->id);
    uint32_t value;

    if (parse_u32(text, UINT32_MAX, &value) < 0)
        return cli_usage(c, "'%.40s' is no netId: use a number, 100 to 65535", text);
    return sd_bus_message_append(m, "v", "u", value);
}

int request_text(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    return sd_bus_message_append(m, "v", "s", arguments_value(&c->args, o->id));
}

int request_read_flag(struct cli *c, enum option_id id, bool *ret)
{
    static const char *const words[] = { "no", "yes" };
    const char *text = arguments_value(&c->args, id);
    int value = text ? parse_word(words, ELEMENTSOF(words), text) : false;

    if (value < 0)
        return cli_usage(c, "'%.40s' is no answer to --%s: use yes or no", text,
                         option_rows[id].name);
    *ret = value;
    return 0;
}

int request_flag(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    bool value = false;
    int r = request_read_flag(c, o->id, &value);

    return r < 0 ? r : sd_bus_message_append(m, "v", "b", (int)value);
}

static int append_word(sd_bus_message *m, const char *word, size_t n)
{
    _cleanup_free_ char *text = strndup(word, n);

    if (!text)
        return -ENOMEM;
    return n > 0 ? sd_bus_message_append(m, "s", text) : 0;
}

static int append_words(sd_bus_message *m, const char *list)
{
    int r = 0;

    for (const char *p = list; r >= 0 && p;) {
        size_t n = strcspn(p, ",");

        r = append_word(m, p, n);
        p = p[n] ? p + n + 1 : NULL;
    }
    return r;
}

static int append_array(struct cli *c, sd_bus_message *m, enum option_id id, bool commas)
{
    int r = sd_bus_message_open_container(m, 'v', "as");

    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = 0; r >= 0 && i < c->args.n_options; i++) {
        const char *value = c->args.options[i].value;

        if (c->args.options[i].id == id)
            r = commas ? append_words(m, value) : append_word(m, value, strlen(value));
    }
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int request_list(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    return append_array(c, m, o->id, false);
}

int request_words(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    return append_array(c, m, o->id, true);
}

bool request_any(const struct cli *c, const struct request_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (arguments_have(&c->args, options[i].id))
            return true;
    return false;
}

static int append_option(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", o->key);
    if (r >= 0)
        r = o->append(c, m, o);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int request_append_options(struct cli *c, sd_bus_message *m, const struct request_option *options,
                           size_t n, int (*more)(struct cli *c, sd_bus_message *m))
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    for (size_t i = 0; r >= 0 && i < n; i++)
        if (arguments_have(&c->args, options[i].id))
            r = append_option(c, m, &options[i]);
    if (r >= 0 && more)
        r = more(c, m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int request_send(struct cli *c, sd_bus_message *m, const char *method, int r)
{
    if (r >= 0)
        return client_send(c->client, m, NULL, &c->why);
    return c->why.error ? r : client_bad_argument(r, method, &c->why);
}
