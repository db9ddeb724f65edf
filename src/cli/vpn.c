/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `waymark vpn …`: which VPNs there are, what they are to be, who may make them. vpn-up.c waits for
 * one, vpn-import.c reads what wg-quick has.
 */

#include "cli/vpn.h"

#include <errno.h>
#include <stdint.h>

#include "cli/commands.h"
#include "cli/request.h"

/* Looking. */

/* The lists are short or the table is no help: `vpn show` has all of it. */
enum { APPS_SHOWN = 3 };

static void print_some(const json_t *list, struct strbuf *b)
{
    size_t n = json_array_size(list);

    for (size_t i = 0; i < MIN(n, (size_t)APPS_SHOWN); i++)
        strbuf_add(b, "%s%s", i > 0 ? "," : "", json_string_value(json_array_get(list, i)));
    if (n > APPS_SHOWN)
        strbuf_add(b, ",… (%zu)", n);
}

/* One that was made without a word of the administrator's has a program's user for its owner. */
static bool has_owner(const json_t *vpn)
{
    return *json_text(vpn, "owner") || json_number(vpn, "owner_uid") != UINT32_MAX;
}

static void print_owner(const json_t *vpn, struct strbuf *b)
{
    const char *owner = json_text(vpn, "owner");

    if (*owner)
        strbuf_add(b, "%s", owner);
    else if (has_owner(vpn) && json_object_get(vpn, "owner_uid"))
        strbuf_add(b, "uid:%lld", (long long)json_number(vpn, "owner_uid"));
    else
        strbuf_add(b, "-");
}

/* Whom it is for, before anybody's own choice. */
static void print_apps_of(const json_t *vpn, struct strbuf *b)
{
    const json_t *allowed = json_object_get(vpn, "allowed");
    const json_t *disallowed = json_object_get(vpn, "disallowed");

    if (json_array_size(allowed) > 0) {
        print_some(allowed, b);
        return;
    }
    strbuf_add(b, "%s",
               json_flag(vpn, "everyone") ? "everyone"
               : has_owner(vpn)           ? "its owner's"
                                          : "nobody");
    if (json_array_size(disallowed) > 0) {
        strbuf_add(b, " but ");
        print_some(disallowed, b);
    }
}

/* What keeps its apps from everything else. */
static void print_hold(const json_t *vpn, struct strbuf *b)
{
    bool lockdown = json_flag(vpn, "lockdown"), always_on = json_flag(vpn, "always_on");

    strbuf_add(b, "%s%s%s", lockdown ? "lockdown" : "", lockdown && always_on ? "," : "",
               always_on                  ? "always-on"
               : lockdown                 ? ""
               : json_flag(vpn, "bypass") ? "bypassable"
                                          : "-");
}

static const struct column vpn_columns[] = {
    { .title = "NETID", .key = "netid" },
    { .title = "NAME", .key = "name" },
    { .title = "KIND", .key = "kind" },
    { .title = "STATE", .key = "state", .colored = true },
    { .title = "INTERFACES", .key = "interfaces" },
    { .title = "OWNER", .text = print_owner },
    { .title = "HOLD", .text = print_hold },
    { .title = "APPS", .text = print_apps_of },
};

static const struct table vpns_table = TABLE_OF(vpn_columns);

int run_vpn_list(struct cli *c)
{
    int r = cli_get_vpns(c);

    return r < 0 ? r : json_put(c->doc, "vpns", json_incref(c->vpns));
}

void print_vpns(struct cli *c)
{
    const json_t *vpns = json_object_get(c->doc, "vpns");

    if (json_array_size(vpns) == 0)
        cli_print(c, STYLE_PLAIN, "no VPNs\n");
    else
        cli_print_table(c, &vpns_table, vpns, SIZE_MAX);
}

int vpn_put(struct cli *c, const char *name)
{
    json_t *vpn;
    int r;

    cli_forget_vpns(c);
    r = cli_get_vpns(c);
    if (r < 0)
        return r;
    vpn = cli_find(c->vpns, name);
    if (!vpn)
        return why_set(&c->why, -ENONET, "there is no VPN '%.64s': see `waymark vpn list`", name);
    return json_put(c->doc, "vpn", json_incref(vpn));
}

int run_vpn_show(struct cli *c)
{
    return vpn_put(c, cli_word(c, 0));
}

static const struct {
    const char *label, *key;
    bool always; /* also when it is empty */
    bool colored;
} vpn_rows[] = {
    { "name", "name", true, false },
    { "netId", "netid", true, false },
    { "kind", "kind", true, false },
    { "state", "state", true, true },
    { "reason", "reason", false, false },
    { "origin", "origin", true, false },
    { "source", "source", false, false },
    { "owner", "owner", false, false },
    { "session", "session", false, false },
    { "interfaces", "interfaces", true, false },
    { "addresses", "addresses", true, false },
    { "routes", "routes", true, false },
    { "excluded", "exclude_routes", false, false },
    { "dns", "dns", true, false },
    { "domains", "domains", true, false },
    { "mtu", "mtu", false, false },
    { "everyone", "everyone", true, false },
    { "apps", "allowed", false, false },
    { "except", "disallowed", false, false },
    { "exempt", "exempt", false, false },
    { "lockdown", "lockdown", true, false },
    { "always on", "always_on", true, false },
    { "bypass", "bypass", true, false },
    { "fall through", "fall_through", false, false },
    { "forward", "forward", false, false },
    { "lan", "lan", false, false },
    { "engine", "engine", false, false },
    { "underlying", "underlying", false, false },
    { "metered", "metered", false, false },
    { "http proxy", "http_proxy", false, false },
};

static bool is_empty(const json_t *value)
{
    const char *text = json_string_value(value);

    return !value || (text && !*text) || (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_integer(value) && json_integer_value(value) == 0);
}

void print_vpn(struct cli *c)
{
    const json_t *vpn = json_object_get(c->doc, "vpn");

    for (size_t i = 0; i < ELEMENTSOF(vpn_rows); i++) {
        const json_t *value = json_object_get(vpn, vpn_rows[i].key);

        if (vpn_rows[i].always || !is_empty(value))
            cli_print_field(c, vpn_rows[i].label, value, vpn_rows[i].colored);
    }
}

void vpn_print_added(struct cli *c)
{
    const json_t *vpn = json_object_get(c->doc, "vpn");

    cli_print(c, STYLE_PLAIN, "%s: netId %lld\n", json_text(vpn, "name"),
              (long long)json_number(vpn, "netid"));
}

void print_added_vpn(struct cli *c)
{
    vpn_print_added(c);
}

/* Profiles. */

void vpn_add_who(struct strbuf *b, const char *word)
{
    bool number = *word != '\0' && word[strspn(word, "0123456789")] == '\0';
    const char *kind = "user:";

    if (*word == '/')
        kind = "exe:";
    else if (strchr(word, ':')) /* no user's name has one */
        kind = "";
    else if (number)
        kind = "uid:";
    strbuf_add(b, "%s%s", kind, word);
}

static int append_owner(struct cli *c, sd_bus_message *m, const struct request_option *o)
{
    _cleanup_strbuf_ struct strbuf who = STRBUF_INIT;
    const char *word = arguments_value(&c->args, o->id);

    if (*word) /* "" is nobody */
        vpn_add_who(&who, word);
    return who.failed ? -ENOMEM : sd_bus_message_append(m, "v", "s", strbuf_text(&who));
}

static const struct request_option vpn_options[] = {
    { OPTION_OWNER, "Owner", append_owner },
    { OPTION_EVERYONE, "Everyone", request_flag },
    { OPTION_APPS, "Allowed", request_words },
    { OPTION_EXCEPT, "Disallowed", request_words },
    { OPTION_EXEMPT, "Exempt", request_words },
    { OPTION_LOCKDOWN, "Lockdown", request_flag },
    { OPTION_ALWAYS_ON, "AlwaysOn", request_flag },
    { OPTION_BYPASS, "Bypass", request_flag },
    { OPTION_FALL_THROUGH, "FallThrough", request_flag },
    { OPTION_FORWARD, "Forward", request_flag },
    { OPTION_LAN, "Lan", request_words },
    { OPTION_ENGINE, "Engine", request_text },
    { OPTION_INTERFACE, "Interfaces", request_list },
    { OPTION_ADDRESS, "Addresses", request_list },
    { OPTION_ROUTE, "Routes", request_list },
    { OPTION_EXCLUDE, "ExcludeRoutes", request_list },
    { OPTION_DNS, "Dns", request_list },
    { OPTION_DOMAIN, "Domains", request_list },
};

/* AddVpn and SetVpn take the same. */
static int send_profile(struct cli *c, const char *method, const char *name,
                        int (*more)(struct cli *c, sd_bus_message *m))
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_new_call_to(c->client, CLIENT_VPN_SERVICE, method, &m, &c->why);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = request_append_options(c, m, vpn_options, ELEMENTSOF(vpn_options), more);
    return request_send(c, m, method, r);
}

static int append_service(struct cli *c, sd_bus_message *m)
{
    (void)c;
    return sd_bus_message_append(m, "{sv}", "Kind", "s", "service");
}

int run_vpn_add(struct cli *c)
{
    int r = send_profile(c, "AddVpn", cli_word(c, 0), append_service);

    return r < 0 ? r : vpn_put(c, cli_word(c, 0));
}

static int append_adopted(struct cli *c, sd_bus_message *m)
{
    int r = sd_bus_message_append(m, "{sv}", "Kind", "s", "adopted");

    return r < 0 ? r : sd_bus_message_append(m, "{sv}", "Interfaces", "as", 1, cli_word(c, 0));
}

int run_vpn_adopt(struct cli *c)
{
    const char *given = arguments_value(&c->args, OPTION_NAME);
    const char *name = given ? given : cli_word(c, 0);
    int r = send_profile(c, "AddVpn", name, append_adopted);

    return r < 0 ? r : vpn_put(c, name);
}

int run_vpn_set(struct cli *c)
{
    if (!request_any(c, vpn_options, ELEMENTSOF(vpn_options)))
        return cli_usage(c, "nothing to set: say what with --apps, --lockdown, …; see `waymark vpn "
                            "set --help`");
    return send_profile(c, "SetVpn", cli_word(c, 0), NULL);
}

int run_vpn_remove(struct cli *c)
{
    return cli_change_vpn(c, "RemoveVpn", "s", cli_word(c, 0));
}

int run_vpn_down(struct cli *c)
{
    return cli_change_vpn(c, "Down", "s", cli_word(c, 0));
}

/* Consent. */

static const struct column consent_columns[] = {
    { .title = "WHO", .key = "who" },
    { .title = "EVERYONE", .key = "everyone" },
};

static const struct table consents_table = TABLE_OF(consent_columns);

static int put_consents(struct cli *c)
{
    static const char *const names[] = { "who", "everyone", NULL };
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_new_call_to(c->client, CLIENT_VPN_SERVICE, "ListConsents", &m, &c->why);
    if (r == 0)
        r = client_send(c->client, m, &reply, &c->why);
    return r < 0 ? r : cli_put_answer(c, "consents", reply, "ListConsents", "a(sb)", names);
}

int run_vpn_consent(struct cli *c)
{
    _cleanup_strbuf_ struct strbuf who = STRBUF_INIT;
    bool revoke = arguments_have(&c->args, OPTION_REVOKE), everyone = false;
    int r = request_read_flag(c, OPTION_EVERYONE, &everyone);

    if (r < 0)
        return r;
    if (!cli_word(c, 0) && (revoke || everyone))
        return cli_usage(c, "whose consent? Name a user, or the path of a program");
    if (revoke && arguments_have(&c->args, OPTION_EVERYONE))
        return cli_usage(c, "--revoke takes all of a consent back: leave --everyone away");
    if (!cli_word(c, 0))
        return put_consents(c);
    vpn_add_who(&who, cli_word(c, 0));
    if (who.failed)
        return -ENOMEM;
    if (revoke)
        return cli_change_vpn(c, "RevokeConsent", "s", strbuf_text(&who));
    return cli_change_vpn(c, "Consent", "sb", strbuf_text(&who), (int)everyone);
}

void print_consents(struct cli *c)
{
    const json_t *consents = json_object_get(c->doc, "consents");

    if (!consents)
        return; /* it was a change */
    if (json_array_size(consents) == 0)
        cli_print(c, STYLE_PLAIN, "nobody but root and group waymark may be a VPN\n");
    else
        cli_print_table(c, &consents_table, consents, SIZE_MAX);
}
