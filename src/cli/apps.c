/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark apps`: what the programs at the cgroup have counted, by app and network. */

#include <errno.h>
#include <stdint.h>

#include "cli/commands.h"

/* doc["counted"], doc["reason"], doc["apps"]. */
static int put_apps(struct cli *c, sd_bus_message *reply)
{
    const char *uncounted;
    json_t *apps = NULL;
    int r = sd_bus_message_has_signature(reply, "saa{sv}") > 0 ? 0 : -EBADMSG;

    if (r == 0)
        r = sd_bus_message_read(reply, "s", &uncounted);
    if (r >= 0)
        r = json_from_message(reply, NULL, &apps);
    if (r < 0)
        return client_bad_answer(r, "ListApps", &c->why);
    r = json_put(c->doc, "apps", apps);
    if (r == 0)
        r = json_put(c->doc, "counted", json_boolean(*uncounted == '\0'));
    return r < 0 ? r : json_put(c->doc, "reason", json_string(uncounted));
}

int run_apps(struct cli *c)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_call(c->client, "ListApps", &reply, &c->why, "");
    return r < 0 ? r : put_apps(c, reply);
}

/* Why a packet was dropped, in the words of docs/dbus.md. */
static const struct {
    const char *reason, *text;
} drop_reasons[] = {
    { "none", "has no network" },
    { "interface", "by another interface" },
    { "incoming", "came in by another interface" },
};

static void print_drops(const json_t *row, struct strbuf *b)
{
    json_t *drops = json_object_get(row, "drops");
    const char *reason, *separator = "";
    json_t *number;

    if (json_object_size(drops) == 0)
        strbuf_add(b, "-");
    json_object_foreach(drops, reason, number)
    {
        const char *text = reason;

        for (size_t i = 0; i < ELEMENTSOF(drop_reasons); i++)
            if (streq(drop_reasons[i].reason, reason))
                text = drop_reasons[i].text;
        strbuf_add(b, "%s%lld %s", separator, (long long)json_integer_value(number), text);
        separator = ", ";
    }
}

/* Whose interface they went by: no network's is "?", for a network that is gone there is its number. */
static void print_by(const json_t *row, struct strbuf *b)
{
    const char *name = json_text(row, "by");

    if (*name)
        strbuf_add(b, "%s", name);
    else if (json_number(row, "netid"))
        strbuf_add(b, "%lld", (long long)json_number(row, "netid"));
    else
        strbuf_add(b, "%s", json_object_get(row, "netid") ? "?" : "-");
}

static const struct column app_columns[] = {
    { .title = "SELECTOR", .key = "selector" },  { .title = "NETWORK", .key = "network" },
    { .title = "STRENGTH", .key = "strength" },  { .title = "BY", .text = print_by },
    { .title = "OUT", .key = "packets_out" },    { .title = "BYTES", .key = "bytes_out" },
    { .title = "IN", .key = "packets_in" },      { .title = "BYTES", .key = "bytes_in" },
    { .title = "DROPPED", .text = print_drops },
};

static const struct table apps_table = TABLE_OF(app_columns);

/* A row of the table: the app, and one of its counters or NULL. Takes no reference of either. */
static json_t *make_row(json_t *app, json_t *counter)
{
    json_t *row = json_copy(app);

    (void)json_object_del(row, "counters");
    if (!row || !counter)
        return row;
    if (json_object_set(row, "by", json_object_get(counter, "network")) < 0 ||
        json_object_update_missing(row, counter) < 0) {
        json_decref(row);
        return NULL;
    }
    return row;
}

struct ranked {
    json_t *app;
    size_t place;
    json_int_t bytes;
};

/* Who has sent and got the most comes first; else as they are. */
static int compare_ranked(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;

    return a->bytes != b->bytes ? CMP(b->bytes, a->bytes) : CMP(a->place, b->place);
}

static struct ranked *rank(const json_t *apps)
{
    struct ranked *all = calloc(json_array_size(apps) + 1, sizeof(*all));
    json_t *app, *counter;
    size_t i, j;

    if (!all)
        return NULL;
    json_array_foreach(apps, i, app)
    {
        all[i] = (struct ranked){ .app = app, .place = i };
        json_array_foreach(json_object_get(app, "counters"), j, counter) all[i].bytes +=
            json_number(counter, "bytes_out") + json_number(counter, "bytes_in");
    }
    qsort(all, json_array_size(apps), sizeof(*all), compare_ranked);
    return all;
}

/* One row for each network that an app has sent by; for one that was not seen at all, a row with nothing. */
static int add_rows(json_t *rows, json_t *app)
{
    const json_t *counters = json_object_get(app, "counters");
    json_t *counter;
    int r = 0;
    size_t i;

    json_array_foreach(counters, i, counter) r |=
        json_array_append_new(rows, make_row(app, counter));
    if (json_array_size(counters) == 0)
        r |= json_array_append_new(rows, make_row(app, NULL));
    return r < 0 ? -ENOMEM : 0;
}

static json_t *make_rows(const json_t *apps)
{
    _cleanup_free_ struct ranked *all = rank(apps);
    json_auto_t *rows = json_array();
    int r = all && rows ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < json_array_size(apps); i++)
        r = add_rows(rows, all[i].app);
    return r < 0 ? NULL : TAKE_PTR(rows);
}

void print_apps(struct cli *c)
{
    const json_t *apps = json_object_get(c->doc, "apps");
    json_auto_t *rows = NULL;

    if (!json_flag(c->doc, "counted")) {
        cli_print(c, STYLE_WARN, "not counted: %s\n", json_text(c->doc, "reason"));
        return;
    }
    if (json_array_size(apps) == 0) {
        cli_print(c, STYLE_PLAIN, "no assignments\n");
        return;
    }
    rows = make_rows(apps);
    if (rows)
        cli_print_table(c, &apps_table, rows, SIZE_MAX);
    else
        c->out.failed = true;
}
