/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "basic/parse.h"

#define TIMEOUT_DEFAULT (30 * USEC_PER_SEC)

int cli_usage(struct cli *c, const char *format, ...)
{
    char text[sizeof(c->why.text)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    c->code = EXIT_USAGE;
    return why_set(&c->why, -EINVAL, "%s", text);
}

char *cli_runtime_path(const struct cli *c, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", c->runtime_dir, name) < 0 ? NULL : path;
}

int cli_connect_within(struct cli *c, usec_t timeout)
{
    _cleanup_free_ char *socket = NULL;

    if (c->client)
        return 0;
    socket = cli_runtime_path(c, "bus");
    if (!socket)
        return -ENOMEM;
    timeout = c->timeout ? c->timeout : timeout;
    return client_open(socket, clock_monotonic() + timeout, &c->client, &c->why);
}

int cli_connect(struct cli *c)
{
    return cli_connect_within(c, TIMEOUT_DEFAULT);
}

static int change(struct cli *c, const char *interface, const char *method, const char *types,
                  va_list ap)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_new_call_to(c->client, interface, method, &m, &c->why);
    if (r < 0)
        return r;
    r = sd_bus_message_appendv(m, types, ap);
    if (r < 0)
        return client_bad_argument(r, method, &c->why);
    return client_send(c->client, m, NULL, &c->why);
}

int cli_change(struct cli *c, const char *method, const char *types, ...)
{
    va_list ap;
    int r;

    va_start(ap, types);
    r = change(c, CLIENT_MANAGER, method, types, ap);
    va_end(ap);
    return r;
}

int cli_change_vpn(struct cli *c, const char *method, const char *types, ...)
{
    va_list ap;
    int r;

    va_start(ap, types);
    r = change(c, CLIENT_VPN_SERVICE, method, types, ap);
    va_end(ap);
    return r;
}

int cli_put_answer(struct cli *c, const char *key, sd_bus_message *m, const char *method,
                   const char *signature, const char *const *names)
{
    json_t *value = NULL;
    int r = sd_bus_message_has_signature(m, signature) > 0 ? 0 : -EBADMSG;

    if (r == 0)
        r = json_from_message(m, names, &value);
    return r < 0 ? client_bad_answer(r, method, &c->why) : json_put(c->doc, key, value);
}

/* Networks and VPNs. */

/* The number is also the end of the object's path, and of a VPN's only that. */
static int put_netid(json_t *object, const char *path)
{
    const char *slash = strrchr(path, '/');
    uint32_t netid;

    if (json_object_get(object, "netid") || !slash || parse_u32(slash + 1, UINT32_MAX, &netid) < 0)
        return 0;
    return json_put(object, "netid", json_integer(netid));
}

static int take_object(void *data, const char *path, sd_bus_message *m)
{
    json_t *list = data, *object = NULL;
    int r = json_from_message(m, NULL, &object);

    if (r < 0)
        return r;
    r = put_netid(object, path);
    if (json_array_append_new(list, object) < 0)
        r = -ENOMEM;
    return r;
}

static int compare_netids(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;

    return CMP(json_number(*x, "netid"), json_number(*y, "netid"));
}

/* D-Bus has them in no order; people want one. */
static int sort_objects(const json_t *list, json_t **ret)
{
    size_t n = json_array_size(list);
    _cleanup_free_ json_t **items = calloc(n + 1, sizeof(json_t *));
    json_auto_t *sorted = json_array();
    int r = items && sorted ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < n; i++)
        items[i] = json_array_get(list, i);
    if (r == 0)
        qsort(items, n, sizeof(*items), compare_netids);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = json_array_append(sorted, items[i]) < 0 ? -ENOMEM : 0;
    if (r == 0)
        *ret = TAKE_PTR(sorted);
    return r;
}

static int get_objects(struct cli *c, const char *interface, json_t **list)
{
    json_auto_t *found = NULL;
    int r;

    if (*list)
        return 0;
    found = json_array();
    r = found ? cli_connect(c) : -ENOMEM;
    if (r == 0)
        r = client_get_objects(c->client, interface, take_object, found, &c->why);
    return r < 0 ? r : sort_objects(found, list);
}

int cli_get_networks(struct cli *c)
{
    return get_objects(c, CLIENT_NETWORK, &c->networks);
}

int cli_get_vpns(struct cli *c)
{
    return get_objects(c, CLIENT_VPN, &c->vpns);
}

void cli_forget_vpns(struct cli *c)
{
    json_decref(c->vpns);
    c->vpns = NULL;
}

json_t *cli_find(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *object = json_array_get(list, i);

        if (streq(json_text(object, "name"), name))
            return object;
    }
    return NULL;
}

int cli_put_networks(struct cli *c)
{
    int r = cli_get_networks(c);

    return r < 0 ? r : json_put(c->doc, "networks", json_incref(c->networks));
}

int cli_put_assignments(struct cli *c)
{
    static const char *const names[] = { "selector", "network", "strength", "state",
                                         "origin",   "source",  "uids",     NULL };
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_call(c->client, "ListAssignments", &reply, &c->why, "");
    return r < 0 ? r
                 : cli_put_answer(c, "assignments", reply, "ListAssignments", "a(ssssssas)", names);
}

/* Output. */

void cli_no_document(struct cli *c)
{
    json_decref(c->doc);
    c->doc = NULL;
}

void cli_print(struct cli *c, enum style style, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    char *line, *rest;
    va_list ap;
    int n;

    va_start(ap, format);
    n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0) {
        text = NULL;
        c->out.failed = true;
        return;
    }
    rest = text;
    while ((line = strsep(&rest, "\n"))) {
        if (*line)
            print_styled(&c->out, c->color, style, line);
        if (rest)
            strbuf_add_char(&c->out, '\n');
    }
}

void cli_print_table(struct cli *c, const struct table *table, const json_t *rows, size_t max)
{
    table_print(&c->out, c->color, table, rows, max);
}

enum { LABEL_WIDTH = 15 };

void cli_print_field(struct cli *c, const char *label, const json_t *value, bool colored)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    char separator[LABEL_WIDTH + 2];

    snprintf(separator, sizeof(separator), "\n%*s", LABEL_WIDTH, "");
    json_print_plain(value, separator, &text);
    cli_print(c, STYLE_PLAIN, "%s:%*s", label, LABEL_WIDTH - 1 - (int)strlen(label), "");
    cli_print(c, colored ? style_of_word(strbuf_text(&text)) : STYLE_PLAIN, "%s",
              strbuf_text(&text));
    cli_print(c, STYLE_PLAIN, "\n");
}
