/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/watch-users.h"

#include <sys/inotify.h>

#include "basic/log.h"
#include "daemon/change.h"

static int edit_users(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    (void)data;
    (void)why;
    return change_resolve_users(m);
}

/* passwd(5)'s tools write a new file and rename it over the old one: the folder is watched. */
static int on_change(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
    struct manager *m = userdata;
    struct why why = { 0 };
    int r;

    (void)source;
    if (event->len == 0 || (!streq(event->name, "passwd") && !streq(event->name, "group")))
        return 0;
    r = manager_change(m, edit_users, NULL, &why);
    if (r < 0)
        log_error("users or groups changed, but that could not be applied: %s", why_text(&why, r));
    return 0;
}

int watch_users_start(struct manager *m)
{
    int r = sd_event_add_inotify(m->event, NULL, "/etc", IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR,
                                 on_change, m);
    return r < 0 ? r : 0;
}
