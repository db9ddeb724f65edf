/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark.h: the list of networks. */

#include <errno.h>
#include <stdlib.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "lib/bus-client.h"
#include "lib/public.h"

struct list {
    struct wm_network_info **networks;
    size_t n, capacity;
};

static void free_strings(char **strings)
{
    for (char **s = strings; s && *s; s++)
        free(*s);
    free(strings);
}

static void free_network(struct wm_network_info *info)
{
    free((char *)info->name);
    free_strings(info->interfaces);
    free_strings(info->dns);
    free_strings(info->domains);
    free(info);
}
DEFINE_CLEANUP(struct wm_network_info *, free_network)

WM_PUBLIC void wm_networks_free(struct wm_network_info **networks)
{
    int error = errno;

    for (struct wm_network_info **n = networks; n && *n; n++)
        free_network(*n);
    free(networks);
    errno = error;
}

/* Words of docs/dbus.md. */
static const char *const types[] = { [WM_TYPE_PHYSICAL] = "physical",
                                     [WM_TYPE_VPN] = "vpn",
                                     [WM_TYPE_LOCAL] = "local",
                                     [WM_TYPE_UNREACHABLE] = "unreachable" };
static const char *const states[] = { [WM_STATE_UP] = "up",
                                      [WM_STATE_DOWN] = "down",
                                      [WM_STATE_ABSENT] = "absent",
                                      [WM_STATE_EMPTY] = "empty",
                                      [WM_STATE_UNREACHABLE] = "unreachable" };
static const char *const permissions[] = { [WM_PERMISSION_NONE] = "none",
                                           [WM_PERMISSION_NETWORK] = "network",
                                           [WM_PERMISSION_SYSTEM] = "system" };

/* A property: what it is on the bus, and what becomes of it. */
struct property {
    const char *name, *signature;
    int (*read)(sd_bus_message *m, const struct property *p, void *field);
    size_t field;
    const char *const *words; /* read_word() */
    size_t n_words;
    uint32_t flag; /* read_flag() */
};

static int read_number(sd_bus_message *m, const struct property *p, void *field)
{
    (void)p;
    return sd_bus_message_read(m, "u", (uint32_t *)field);
}

static int read_word(sd_bus_message *m, const struct property *p, void *field)
{
    const char *text;
    int r = sd_bus_message_read(m, "s", &text);

    if (r >= 0)
        *(uint32_t *)field = (uint32_t)MAX(parse_word(p->words, p->n_words, text), 0);
    return r;
}

static int read_flag(sd_bus_message *m, const struct property *p, void *field)
{
    int is;
    int r = sd_bus_message_read(m, "b", &is);

    if (r >= 0 && is)
        *(uint32_t *)field |= p->flag;
    return r;
}

static int read_text(sd_bus_message *m, const struct property *p, void *field)
{
    char **string = field;
    const char *text;
    int r = sd_bus_message_read(m, "s", &text);

    (void)p;
    if (r < 0)
        return r;
    free(*string);
    *string = strdup(text);
    return *string ? 0 : -ENOMEM;
}

static int read_list(sd_bus_message *m, const struct property *p, void *field)
{
    char ***strings = field;

    (void)p;
    free_strings(*strings);
    *strings = NULL;
    return sd_bus_message_read_strv(m, strings);
}

#define FIELD(f) .field = offsetof(struct wm_network_info, f)
#define WORDS(w) .words = (w), .n_words = ELEMENTSOF(w)

static const struct property properties[] = {
    { "NetId", "u", read_number, FIELD(netid) },
    { "Name", "s", read_text, FIELD(name) },
    { "Type", "s", read_word, FIELD(type), WORDS(types) },
    { "State", "s", read_word, FIELD(state), WORDS(states) },
    { "Permission", "s", read_word, FIELD(permission), WORDS(permissions) },
    { "Default", "b", read_flag, FIELD(flags), .flag = WM_NETWORK_DEFAULT },
    { "Secure", "b", read_flag, FIELD(flags), .flag = WM_NETWORK_SECURE },
    { "ExcludeLocal", "b", read_flag, FIELD(flags), .flag = WM_NETWORK_EXCLUDE_LOCAL },
    { "Interfaces", "as", read_list, FIELD(interfaces) },
    { "Dns", "as", read_list, FIELD(dns) },
    { "Domains", "as", read_list, FIELD(domains) },
};

static int read_value(sd_bus_message *m, const struct property *p, struct wm_network_info *info)
{
    int r = sd_bus_message_enter_container(m, 'v', p->signature);

    if (r >= 0)
        r = p->read(m, p, (char *)info + p->field);
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* One {sv}. 1: there was one. */
static int read_property(sd_bus_message *m, struct wm_network_info *info)
{
    const struct property *p = NULL;
    const char *name;
    int r = sd_bus_message_enter_container(m, 'e', "sv");

    if (r <= 0)
        return r;
    r = sd_bus_message_read(m, "s", &name);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(properties); i++)
        if (streq(properties[i].name, name))
            p = &properties[i];
    if (r >= 0)
        r = p ? read_value(m, p, info) : sd_bus_message_skip(m, "v");
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

/* So that no reader of a list has to ask for NULL. */
static int settle(struct wm_network_info *info)
{
    char ***lists[] = { &info->interfaces, &info->dns, &info->domains };

    for (size_t i = 0; i < ELEMENTSOF(lists); i++)
        if (!*lists[i] && !(*lists[i] = calloc(1, sizeof(char *))))
            return -ENOMEM;
    info->size = sizeof(*info);
    info->network = wm_network_from_netid(info->netid);
    return info->netid == 0 || !info->name ? -EBADMSG : 0;
}

static int read_network(void *data, const char *path, sd_bus_message *m)
{
    _cleanup_(free_networkp) struct wm_network_info *info = calloc(1, sizeof(*info));
    struct list *list = data;
    int r = info ? sd_bus_message_enter_container(m, 'a', "{sv}") : -ENOMEM;

    (void)path;
    while (r >= 0 && (r = read_property(m, info)) > 0)
        ;
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    if (r >= 0)
        r = settle(info);
    if (r >= 0)
        r = ARRAY_RESERVE(list->networks, list->capacity, list->n + 2);
    if (r < 0)
        return r;
    list->networks[list->n++] = TAKE_PTR(info);
    list->networks[list->n] = NULL;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct wm_network_info *x = *(struct wm_network_info *const *)a;
    const struct wm_network_info *y = *(struct wm_network_info *const *)b;

    return CMP(x->netid, y->netid);
}

static int get_list(struct list *list)
{
    _cleanup_(client_freep) struct client *c = NULL;
    int r = ARRAY_RESERVE(list->networks, list->capacity, 1);

    if (r < 0)
        return r;
    list->networks[0] = NULL;
    r = bus_client_open(&c, NULL);
    if (r == 0)
        r = client_get_objects(c, CLIENT_NETWORK, read_network, list, NULL);
    if (r < 0)
        return bus_client_error(r);
    qsort(list->networks, list->n, sizeof(*list->networks), compare);
    return 0;
}

WM_PUBLIC int wm_networks_list(struct wm_network_info ***ret_networks, size_t *ret_n)
{
    struct list list = { 0 };
    int error = errno, r = ret_networks ? get_list(&list) : -EINVAL;

    if (r < 0) {
        wm_networks_free(list.networks);
        return public_result(r);
    }
    *ret_networks = list.networks;
    if (ret_n)
        *ret_n = list.n;
    errno = error;
    return 0;
}
