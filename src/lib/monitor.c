/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark.h: watching the networks. */

#include <errno.h>

#include "basic/parse.h"
#include "lib/bus-client.h"
#include "lib/public.h"

#define NETWORK_PATH "/org/waymark1/network/"

struct wm_monitor {
    struct client *client;
    wm_monitor_callback callback;
    void *data;
};

static void tell(struct wm_monitor *m, enum wm_event_kind kind, uint32_t netid)
{
    const struct wm_event event = { .size = sizeof(event),
                                    .kind = kind,
                                    .network = wm_network_from_netid(netid) };

    m->callback(&event, m->data);
}

/* The object's path says which network it is; false: it is no network's. */
static bool netid_of_path(const char *path, uint32_t *ret_netid)
{
    return path && startswith(path, NETWORK_PATH) &&
           parse_u32(path + STRLEN(NETWORK_PATH), FWMARK_NETID_MAX, ret_netid) == 0;
}

static int tell_object(sd_bus_message *msg, struct wm_monitor *m, enum wm_event_kind kind)
{
    const char *path;
    uint32_t netid;
    int r = sd_bus_message_read(msg, "o", &path);

    if (r >= 0 && netid_of_path(path, &netid))
        tell(m, kind, netid);
    return MIN(r, 0);
}

static int on_added(sd_bus_message *msg, void *data, sd_bus_error *error)
{
    (void)error;
    return tell_object(msg, data, WM_EVENT_ADDED);
}

static int on_removed(sd_bus_message *msg, void *data, sd_bus_error *error)
{
    (void)error;
    return tell_object(msg, data, WM_EVENT_REMOVED);
}

/* sa{sv}as: an interface, properties with their new values, properties without. */
static int manager_changed(sd_bus_message *msg, struct wm_monitor *m)
{
    const char *name;
    int r = sd_bus_message_skip(msg, "s");

    if (r >= 0)
        r = sd_bus_message_enter_container(msg, 'a', "{sv}");
    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = sd_bus_message_read(msg, "s", &name);
        if (r >= 0 && streq(name, "DefaultNetwork"))
            tell(m, WM_EVENT_DEFAULT, 0);
        if (r >= 0)
            r = sd_bus_message_skip(msg, "v");
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    return r;
}

static int on_changed(sd_bus_message *msg, void *data, sd_bus_error *error)
{
    uint32_t netid;

    (void)error;
    if (!netid_of_path(sd_bus_message_get_path(msg), &netid))
        return manager_changed(msg, data);
    tell(data, WM_EVENT_CHANGED, netid);
    return 0;
}

static const struct {
    const char *path, *interface, *member;
    sd_bus_message_handler_t handler;
} signals[] = {
    { "/org/waymark1", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", on_added },
    { "/org/waymark1", "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", on_removed },
    { NULL, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_changed },
};

static int connect_monitor(struct wm_monitor *m)
{
    int r = bus_client_open(&m->client, NULL);

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(signals); i++)
        r = client_watch(m->client, signals[i].path, signals[i].interface, signals[i].member,
                         signals[i].handler, m, NULL);
    return r;
}

WM_PUBLIC int wm_monitor_new(wm_monitor_callback callback, void *data,
                             struct wm_monitor **ret_monitor)
{
    struct wm_monitor *m;
    int error = errno, r;

    if (!callback || !ret_monitor)
        return public_result(-EINVAL);
    m = calloc(1, sizeof(*m));
    if (!m)
        return -1;
    *m = (struct wm_monitor){ .callback = callback, .data = data };
    r = connect_monitor(m);
    if (r < 0) {
        wm_monitor_free(m);
        return public_result(bus_client_error(r));
    }
    *ret_monitor = m;
    errno = error;
    return 0;
}

WM_PUBLIC int wm_monitor_get_fd(struct wm_monitor *monitor)
{
    int fd = monitor ? client_fd(monitor->client) : -EINVAL;

    return fd < 0 ? public_result(fd) : fd;
}

WM_PUBLIC int wm_monitor_dispatch(struct wm_monitor *monitor)
{
    int error = errno, r = monitor ? client_dispatch(monitor->client, NULL) : -EINVAL;

    if (r < 0)
        return public_result(monitor ? bus_client_error(r) : r);
    errno = error;
    return 0;
}

WM_PUBLIC void wm_monitor_free(struct wm_monitor *monitor)
{
    int error = errno;

    if (!monitor)
        return;
    client_free(monitor->client);
    free(monitor);
    errno = error;
}
