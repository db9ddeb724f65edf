/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark network …`, `waymark route …`, `waymark default`. */

#include <errno.h>
#include <stdint.h>

#include "cli/commands.h"
#include "cli/request.h"

static const struct column network_columns[] = {
    { .title = "NETID", .key = "netid" },
    { .title = "NAME", .key = "name" },
    { .title = "TYPE", .key = "type" },
    { .title = "STATE", .key = "state", .colored = true },
    { .title = "INTERFACES", .key = "interfaces" },
    { .title = "DNS", .key = "dns" },
};

const struct table networks_table = TABLE_OF(network_columns);

int run_network_list(struct cli *c)
{
    return cli_put_networks(c);
}

void print_networks(struct cli *c)
{
    const json_t *networks = json_object_get(c->doc, "networks");

    if (json_array_size(networks) == 0)
        cli_print(c, STYLE_PLAIN, "no networks\n");
    else
        cli_print_table(c, &networks_table, networks, SIZE_MAX);
}

/* doc["network"] = the one of that name. */
static int put_network(struct cli *c, const char *name)
{
    json_t *network;
    int r = cli_get_networks(c);

    if (r < 0)
        return r;
    network = cli_find(c->networks, name);
    if (!network)
        return why_set(&c->why, -ENONET, "there is no network '%.64s': see `waymark network list`",
                       name);
    return json_put(c->doc, "network", json_incref(network));
}

int run_network_show(struct cli *c)
{
    return put_network(c, cli_word(c, 0));
}

enum shown { SHOWN_ALWAYS, SHOWN_IF_SET, SHOWN_OF_VPN };

static const struct {
    const char *label, *key;
    enum shown shown;
    bool colored;
} network_rows[] = {
    { "name", "name", SHOWN_ALWAYS, false },
    { "netId", "netid", SHOWN_ALWAYS, false },
    { "type", "type", SHOWN_ALWAYS, false },
    { "state", "state", SHOWN_ALWAYS, true },
    { "default", "default", SHOWN_ALWAYS, false },
    { "origin", "origin", SHOWN_ALWAYS, false },
    { "source", "source", SHOWN_IF_SET, false },
    { "interfaces", "interfaces", SHOWN_ALWAYS, false },
    { "routes", "routes", SHOWN_ALWAYS, false },
    { "dns", "dns", SHOWN_ALWAYS, false },
    { "domains", "domains", SHOWN_ALWAYS, false },
    { "permission", "permission", SHOWN_ALWAYS, false },
    { "secure", "secure", SHOWN_OF_VPN, false },
    { "exclude local", "exclude_local", SHOWN_OF_VPN, false },
    { "fall through", "fall_through", SHOWN_OF_VPN, false },
    { "lockdown", "lockdown", SHOWN_OF_VPN, false },
    { "outside", "outside", SHOWN_OF_VPN, false },
    { "users", "users", SHOWN_OF_VPN, false },
};

void print_network(struct cli *c)
{
    const json_t *network = json_object_get(c->doc, "network");
    bool vpn = streq(json_text(network, "type"), "vpn");

    for (size_t i = 0; i < ELEMENTSOF(network_rows); i++) {
        const json_t *value = json_object_get(network, network_rows[i].key);

        if ((network_rows[i].shown == SHOWN_OF_VPN && !vpn) ||
            (network_rows[i].shown == SHOWN_IF_SET && !*json_text(network, network_rows[i].key)))
            continue;
        cli_print_field(c, network_rows[i].label, value, network_rows[i].colored);
    }
}

/* Adding and setting: one row per option. */

static const struct request_option network_options[] = {
    { OPTION_NETID, "NetId", request_netid },
    { OPTION_TYPE, "Type", request_text },
    { OPTION_INTERFACE, "Interfaces", request_list },
    { OPTION_DNS, "Dns", request_list },
    { OPTION_DOMAIN, "Domains", request_list },
    { OPTION_PERMISSION, "Permission", request_text },
    { OPTION_FALL_THROUGH, "FallThrough", request_flag },
    { OPTION_LOCKDOWN, "Lockdown", request_flag },
    { OPTION_OUTSIDE, "Outside", request_list },
};

/* AddNetwork and SetNetwork take the same. */
static int send_options(struct cli *c, const char *method)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_new_call(c->client, method, &m, &c->why);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "s", cli_word(c, 0));
    if (r >= 0)
        r = request_append_options(c, m, network_options, ELEMENTSOF(network_options), NULL);
    return request_send(c, m, method, r);
}

int run_network_add(struct cli *c)
{
    int r = send_options(c, "AddNetwork");

    return r < 0 ? r : put_network(c, cli_word(c, 0));
}

void print_added_network(struct cli *c)
{
    const json_t *network = json_object_get(c->doc, "network");

    cli_print(c, STYLE_PLAIN, "%s: netId %lld\n", json_text(network, "name"),
              (long long)json_number(network, "netid"));
}

int run_network_set(struct cli *c)
{
    if (!request_any(c, network_options, ELEMENTSOF(network_options)))
        return cli_usage(c, "nothing to set: say what with --type, --dns, --domain or "
                            "--permission; see `waymark network set --help`");
    return send_options(c, "SetNetwork");
}

int run_network_remove(struct cli *c)
{
    return cli_change(c, "RemoveNetwork", "s", cli_word(c, 0));
}

int run_network_attach(struct cli *c)
{
    return cli_change(c, "Attach", "ss", cli_word(c, 0), cli_word(c, 1));
}

int run_network_detach(struct cli *c)
{
    return cli_change(c, "Detach", "ss", cli_word(c, 0), cli_word(c, 1));
}

/* Routes: the grammar is the daemon's, the words are only joined. */
static int change_route(struct cli *c, const char *method)
{
    _cleanup_strbuf_ struct strbuf route = STRBUF_INIT;

    for (size_t i = 1; i < c->args.n_words; i++)
        strbuf_add(&route, "%s%s", i > 1 ? " " : "", c->args.words[i]);
    return route.failed ? -ENOMEM
                        : cli_change(c, method, "ss", cli_word(c, 0), strbuf_text(&route));
}

int run_route_add(struct cli *c)
{
    return change_route(c, "AddRoute");
}

int run_route_remove(struct cli *c)
{
    return change_route(c, "RemoveRoute");
}

int run_default(struct cli *c)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r;

    if (cli_word(c, 0))
        return cli_change(c, "SetDefault", "s", cli_word(c, 0));
    r = cli_connect(c);
    if (r == 0)
        r = client_get_property(c->client, "DefaultNetwork", &reply, &c->why);
    return r < 0 ? r : cli_put_answer(c, "default_network", reply, "Get", "v", NULL);
}

void print_default(struct cli *c)
{
    const char *name = json_text(c->doc, "default_network");

    if (*name)
        cli_print(c, STYLE_PLAIN, "%s\n", name);
}
