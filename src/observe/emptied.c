/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/emptied.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "basic/fd.h"

int emptied_open(struct emptied *ret)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    if (fd < 0)
        return -errno;
    ret->fd = fd;
    return 0;
}

void emptied_close(struct emptied *e)
{
    fd_closep(&e->fd);
    *e = EMPTIED_CLOSED;
}

int emptied_watch(struct emptied *e, const struct cgroups *c, const char *path)
{
    char name[PATH_MAX];
    int number;

    if ((size_t)snprintf(name, sizeof(name), "%s%s/cgroup.events", c->path, path) >= sizeof(name))
        return -ENAMETOOLONG;
    number = inotify_add_watch(e->fd, name, IN_MODIFY);
    return number < 0 ? -errno : number;
}

void emptied_forget(struct emptied *e, int number)
{
    if (number >= 0)
        (void)inotify_rm_watch(e->fd, number); /* gone with the cgroup, maybe */
}

int emptied_dispatch(struct emptied *e, emptied_each each, void *data)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    while ((n = read(e->fd, events, sizeof(events))) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);

            each(data, event->wd); /* -1 when events were lost */
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    return n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}
