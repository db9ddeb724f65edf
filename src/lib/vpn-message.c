/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A VPN's description as docs/dbus.md has it. */

#include <errno.h>
#include <stdio.h>

#include "lib/vpn.h"

#define NETWORK_PATH "/org/waymark1/network/"

static const char *const list_names[VPN_LIST_MAX] = {
    [VPN_LIST_ADDRESSES] = "Addresses",
    [VPN_LIST_ROUTES] = "Routes",
    [VPN_LIST_EXCLUDED] = "ExcludeRoutes",
    [VPN_LIST_DNS] = "Dns",
    [VPN_LIST_DOMAINS] = "Domains",
    [VPN_LIST_ALLOWED] = "Allowed",
    [VPN_LIST_DISALLOWED] = "Disallowed",
    [VPN_LIST_FAMILIES] = "AllowFamilies",
    [VPN_LIST_LAN] = "Lan",
};

/* Begins one {sv} whose value is an array of strings. */
static int open_strings(sd_bus_message *m, const char *name)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    return r < 0 ? r : sd_bus_message_open_container(m, 'v', "as");
}

static int close_strings(sd_bus_message *m)
{
    int r = sd_bus_message_close_container(m);

    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_list(sd_bus_message *m, const char *name, const struct vpn_strings *s)
{
    int r;

    if (s->n == 0)
        return 0;
    r = open_strings(m, name);
    if (r >= 0)
        r = sd_bus_message_append_strv(m, s->items);
    return r < 0 ? r : close_strings(m);
}

static int append_text(sd_bus_message *m, const char *name, const char *text)
{
    return text ? sd_bus_message_append(m, "{sv}", name, "s", text) : 0;
}

static int append_number(sd_bus_message *m, const char *name, uint32_t number)
{
    return number > 0 ? sd_bus_message_append(m, "{sv}", name, "u", number) : 0;
}

static int append_flag(sd_bus_message *m, const char *name, bool set, bool value)
{
    return set ? sd_bus_message_append(m, "{sv}", name, "b", (int)value) : 0;
}

/* Networks have numbers here, and names on the bus. */
static int append_network(struct client *c, sd_bus_message *m, uint32_t netid, struct why *why)
{
    char path[STRLEN(NETWORK_PATH) + sizeof("65535")];
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *name;
    int r;

    (void)snprintf(path, sizeof(path), NETWORK_PATH "%u", (unsigned)(uint16_t)netid);
    r = client_get_property_of(c, path, CLIENT_NETWORK, "Name", &reply, why);
    if (r == -ENONET)
        return why_set(why, -ENONET, "there is no network with the netId %u", (unsigned)netid);
    if (r < 0)
        return r;
    r = sd_bus_message_read(reply, "v", "s", &name);
    if (r < 0)
        return client_bad_answer(r, "Name", why);
    r = sd_bus_message_append(m, "s", name);
    return MIN(r, 0);
}

int vpn_append_networks(struct client *c, sd_bus_message *m, const struct vpn_underlying *u,
                        struct why *why)
{
    int r = sd_bus_message_open_container(m, 'a', "s");

    for (size_t i = 0; i < u->n && r >= 0; i++)
        r = append_network(c, m, u->netids[i], why);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_underlying(struct client *c, sd_bus_message *m, const struct vpn_underlying *u,
                             struct why *why)
{
    int r;

    if (!u->set)
        return 0;
    r = open_strings(m, "Underlying");
    if (r >= 0)
        r = vpn_append_networks(c, m, u, why);
    return r < 0 ? r : close_strings(m);
}

static int append_all(struct client *c, sd_bus_message *m, const struct wm_vpn_builder *b,
                      struct why *why)
{
    int r = append_text(m, "Session", b->session);

    for (int i = 0; i < VPN_LIST_MAX && r >= 0; i++)
        r = append_list(m, list_names[i], &b->lists[i]);
    if (r >= 0)
        r = append_text(m, "HttpProxy", b->http_proxy);
    if (r >= 0)
        r = append_number(m, "Mtu", b->mtu);
    if (r >= 0)
        r = append_number(m, "Queues", b->queues);
    if (r >= 0)
        r = append_flag(m, "AllowBypass", b->bypass, true);
    if (r >= 0)
        r = append_flag(m, "Blocking", b->blocking, true);
    if (r >= 0)
        r = append_flag(m, "Offloads", b->offloads, true);
    if (r >= 0)
        r = append_flag(m, "Metered", b->metered_set, b->metered);
    return r < 0 ? r : append_underlying(c, m, &b->underlying, why);
}

int vpn_append_description(struct client *c, sd_bus_message *m, const struct wm_vpn_builder *b,
                           struct why *why)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    if (r >= 0)
        r = append_all(c, m, b, why);
    return r < 0 ? r : sd_bus_message_close_container(m);
}
