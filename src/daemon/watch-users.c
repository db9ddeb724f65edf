/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/watch-users.h"

#include <sys/inotify.h>

#include "daemon/reconcile.h"

/* passwd(5)'s tools write a new file and rename it over the old one: the folder is watched. */
static int on_change(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
    struct manager *m = userdata;
    bool lost = event->mask & IN_Q_OVERFLOW;

    (void)source;
    if (!lost &&
        (event->len == 0 || (!streq(event->name, "passwd") && !streq(event->name, "group"))))
        return 0;
    m->users_due = true;
    reconcile_follow_up(m);
    return 0;
}

int watch_users_start(struct manager *m)
{
    int r = sd_event_add_inotify(m->event, NULL, "/etc", IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR,
                                 on_change, m);
    return r < 0 ? r : 0;
}
