/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/users.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/parse.h"

enum { BUFFER_FIRST = 1024, BUFFER_MAX = 1 << 20 };

/* get*_r() wants a buffer whose size nobody knows: it grows until it is enough. */
#define LOOK_UP(call)                                                                           \
    ({                                                                                          \
        int look_up_ = ERANGE;                                                                  \
        for (size_t size = BUFFER_FIRST; look_up_ == ERANGE && size <= BUFFER_MAX; size *= 4) { \
            char *grown = realloc(buffer, size);                                                \
            if (!grown) {                                                                       \
                look_up_ = ENOMEM;                                                              \
                break;                                                                          \
            }                                                                                   \
            buffer = grown;                                                                     \
            errno = EIO;                                                                        \
            look_up_ = call;                                                                    \
        }                                                                                       \
        look_up_;                                                                               \
    })

/*
 * 0, -ENOENT, -ENOMEM, -EIO: what getpwnam_r(3) and its like say, in our words. In glibc nobody found
 * is no error; ENOENT and its like, which other systems have for that, mean that there is no database.
 * When none of the services of nsswitch.conf is there, glibc returns errno as it was: EIO, by LOOK_UP.
 */
static int look_up_error(int error, const void *found)
{
    if (error == 0)
        return found ? 0 : -ENOENT;
    return error == ENOMEM ? -ENOMEM : -EIO;
}

static int uid_of_user(const char *name, uint32_t *ret)
{
    _cleanup_free_ char *buffer = NULL;
    struct passwd pw = { 0 }, *found = NULL;
    int error = LOOK_UP(getpwnam_r(name, &pw, buffer, size, &found));
    int r = look_up_error(error, found);

    if (r == 0)
        *ret = pw.pw_uid;
    return r;
}

static int cannot_look_up(const char *kind, const char *name, int error, struct why *why)
{
    return why_set(why, error, "cannot look up %s '%.64s': %s", kind, name,
                   error == -EIO ? "the user database cannot be read: is what `grep -E "
                                   "'passwd|group' /etc/nsswitch.conf` names there?"
                                 : strerror(-error));
}

int users_uid_of_name(const char *name, uint32_t *ret, struct why *why)
{
    struct uid_range range;
    int r;

    if (uid_range_parse(name, 10, &range) == 0 && range.lo == range.hi) {
        *ret = range.lo;
        return 0;
    }
    r = uid_of_user(name, ret);
    if (r == -ENOENT)
        return why_set(why, r, "there is no user '%.64s': see `getent passwd`", name);
    if (r < 0)
        return cannot_look_up("user", name, r, why);
    return 0;
}

int users_gid_of_uid(uint32_t uid, uint32_t *ret)
{
    _cleanup_free_ char *buffer = NULL;
    struct passwd pw = { 0 }, *found = NULL;
    int error = LOOK_UP(getpwuid_r(uid, &pw, buffer, size, &found));
    int r = look_up_error(error, found);

    if (r == 0)
        *ret = pw.pw_gid;
    return r;
}

int users_gid_of_group(const char *group, uint32_t *ret)
{
    _cleanup_free_ char *buffer = NULL;
    struct group gr = { 0 }, *found = NULL;
    int error = LOOK_UP(getgrnam_r(group, &gr, buffer, size, &found));
    int r = look_up_error(error, found);

    if (r == 0)
        *ret = gr.gr_gid;
    return r;
}

struct uid_list {
    struct uid_range *items;
    size_t n, cap;
};

static int add_uid(struct uid_list *list, uint32_t uid)
{
    return ARRAY_PUSH(list->items, list->n, list->cap, ((struct uid_range){ uid, uid }));
}

/*
 * Those who have the group as their primary one are not among its members: all users are read. A
 * database without anybody is none (what getpwent(3) leaves in errno at the end means nothing).
 */
static int add_primary_users(struct uid_list *list, gid_t gid)
{
    const struct passwd *pw;
    bool empty = true;
    int r = 0;

    setpwent();
    while (r == 0 && (pw = getpwent())) {
        empty = false;
        if (pw->pw_gid == gid)
            r = add_uid(list, pw->pw_uid);
    }
    endpwent();
    return empty ? -EIO : r;
}

static int add_group(struct uid_list *list, const char *name)
{
    _cleanup_free_ char *buffer = NULL;
    struct group gr = { 0 }, *found = NULL;
    int error = LOOK_UP(getgrnam_r(name, &gr, buffer, size, &found));
    int r = look_up_error(error, found);

    if (r < 0)
        return r;
    for (char **member = gr.gr_mem; r == 0 && *member; member++) {
        uint32_t uid;

        /* a member without an account is no error of the group's */
        r = uid_of_user(*member, &uid);
        if (r == 0)
            r = add_uid(list, uid);
        else if (r == -ENOENT)
            r = 0;
    }
    return r < 0 ? r : add_primary_users(list, gr.gr_gid);
}

int users_resolve(const struct selector *selector, struct uid_set **ret, struct why *why)
{
    const char *kind = selector_kind_to_string(selector->kind);
    const char *name = rstr_text(selector->text);
    struct uid_list list = { 0 };
    uint32_t uid;
    int r;

    if (selector->kind == SELECTOR_GROUP) {
        r = add_group(&list, name);
    } else {
        r = uid_of_user(name, &uid);
        if (r == 0)
            r = add_uid(&list, uid);
    }
    if (r == 0) {
        struct uid_set *set = uid_set_new(list.items, list.n);

        if (set)
            *ret = set;
        else
            r = -ENOMEM;
    }
    free(list.items);
    if (r == -ENOENT)
        return why_set(why, r, "there is no %s '%.64s': see `getent %s`", kind, name,
                       selector->kind == SELECTOR_GROUP ? "group" : "passwd");
    if (r < 0)
        return cannot_look_up(kind, name, r, why);
    return 0;
}

bool users_in_group(uint32_t uid, const char *group)
{
    _cleanup_free_ char *buffer = NULL;
    struct passwd pw = { 0 }, *found = NULL;
    gid_t groups[1024];
    int n = ELEMENTSOF(groups);
    uint32_t gid;
    int error;

    if (users_gid_of_group(group, &gid) < 0)
        return false;
    error = LOOK_UP(getpwuid_r(uid, &pw, buffer, size, &found));
    if (look_up_error(error, found) < 0 || getgrouplist(pw.pw_name, pw.pw_gid, groups, &n) < 0)
        return false;
    for (int i = 0; i < n; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

int users_uid_of_pid(uint32_t pid, uint32_t *ret, struct why *why)
{
    _cleanup_free_ char *text = NULL;
    const char *line;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%u/status", pid);
    if (fd_read_file(path, 65536, &text, NULL) < 0)
        return why_set(why, -ESRCH, "there is no process %u", pid);
    line = strstr(text, "\nUid:");
    /* "Uid:", then real, effective, saved and file system uid */
    if (!line || !(line = strpbrk(line, "0123456789")) || !(line = strchr(line, '\t')))
        return why_set(why, -ESRCH, "cannot tell the user of process %u", pid);
    *ret = (uint32_t)strtoul(line, NULL, 10);
    return 0;
}
