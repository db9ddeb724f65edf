/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "keystore/files.h"
#include "keystore/store.h"

#define CREDENTIAL "keystore.key"

/* What a store has at least one of, once it was begun; and what an empty file system has. */
static bool is_ours(const char *name)
{
    static const char *const names[] = { "masterkey", "resetting", "tries", "values", "grants" };

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (streq(name, names[i]))
            return true;
    return false;
}

static bool says_nothing(const char *name)
{
    return streq(name, ".") || streq(name, "..") || streq(name, "lost+found");
}

/* 1: it is a store's, or may become one; 0: something else is in it; or -errno. */
static int may_be_store(int fd)
{
    _cleanup_fd_ int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *entry;
    bool foreign = false, ours = false;
    DIR *dir = again < 0 ? NULL : fdopendir(again);

    if (!dir)
        return -errno;
    again = -1; /* the DIR's */
    while (!ours && (entry = readdir(dir))) {
        ours = is_ours(entry->d_name);
        foreign = foreign || !says_nothing(entry->d_name);
    }
    (void)closedir(dir);
    return ours || !foreign;
}

/* A folder that is something else's is given to nobody: a wrong path may be the machine's /var/lib. */
static int check(int fd, const char *path, const struct stat *st, bool given, struct why *why)
{
    int r = may_be_store(fd);

    if (r < 0)
        return why_set(why, r, "cannot read the state folder %s: %s", path, strerror(-r));
    if (r == 0 && given)
        return why_set(why, -ENOTEMPTY,
                       "the state folder %s has other files: it has to be a store's, or empty",
                       path);
    if (r == 0)
        log_warning("the state folder %s has other files: they stay as they are", path);
    if (st->st_mode & 022)
        return why_set(why, -EPERM, "others may write to the state folder %s: chmod 0700 it", path);
    if (st->st_mode & 055)
        log_warning("others may read the state folder %s: chmod 0700 it", path);
    return 0;
}

/* A file that has another name elsewhere is not given: it may be more than the store's. */
static int give_file(int folder, const char *name, const struct sandbox_user *user)
{
    struct stat st;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_nlink != 1)
        return 0;
    return fchownat(folder, name, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

struct gift {
    int folder;
    const struct sandbox_user *user;
    int (*give)(int folder, const char *name, const struct sandbox_user *user);
};

static int give_each(void *data, const char *name)
{
    const struct gift *g = data;

    return g->give(g->folder, name, g->user);
}

/*
 * What is in it first: as long as the folder is root's, nobody else can change what that is. Where it is not
 * root's it is left as it is.
 */
static int give_folder(int fd, const struct sandbox_user *user,
                       int (*give)(int folder, const char *name, const struct sandbox_user *user))
{
    struct gift gift = { fd, user, give };
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != 0 || (st.st_mode & 022) != 0)
        return 0;
    r = files_list(fd, give_each, &gift);
    if (r == 0 && fchown(fd, user->uid, user->gid) < 0)
        r = -errno;
    return r;
}

static int give_ours(int folder, const char *name, const struct sandbox_user *user)
{
    _cleanup_fd_ int inner = -1;

    if (!is_ours(name))
        return 0;
    inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner >= 0)
        return give_folder(inner, user, give_file);
    return errno == ENOTDIR || errno == ELOOP ? give_file(folder, name, user) : -errno;
}

/* systemd does the same for StateDirectory=. */
static int give_away(int fd, const struct sandbox_user *user)
{
    return user->known ? give_folder(fd, user, give_ours) : 0;
}

int folder_open(const char *path, const struct sandbox_user *user, int *ret_fd, struct why *why)
{
    _cleanup_fd_ int fd = -1;
    struct stat st;
    int r;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return why_set(why, -errno, "cannot make the state folder %s: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return why_set(why, -errno, "cannot open the state folder %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return why_set(why, errno == EWOULDBLOCK ? -EBUSY : -errno,
                       "another keystore has the state folder %s", path);
    r = check(fd, path, &st, user->known && st.st_uid == 0, why);
    if (r < 0)
        return r;
    r = give_away(fd, user);
    if (r < 0)
        return why_set(why, r, "cannot give the state folder %s away: %s", path, strerror(-r));
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* No fd_read_file(): its buffer would not be wiped. A credential's mode says nothing: its folder is shut. */
static int read_secret(const char *path, bool named, struct secret *ret)
{
    _cleanup_secret_ struct secret secret = SECRET_NONE;
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t size = 0;
    ssize_t n = 1;
    int r = fd < 0 ? -errno : secret_new_pages(STORE_KEY_FILE_MAX + 1, &secret);

    while (r == 0 && n > 0 && size < secret.size) {
        n = read(fd, secret.data + size, secret.size - size);
        if (n < 0 && errno != EINTR)
            r = -errno;
        size += (size_t)MAX(n, 0);
        n = n < 0 ? 1 : n;
    }
    if (r < 0)
        return r;
    if (size == secret.size)
        return -EFBIG;
    if (size < STORE_KEY_FILE_MIN)
        return -ENODATA;
    if (named && fstat(fd, &st) == 0 && (st.st_mode & 077))
        log_warning("others may read or change the key file %s: chmod 0600 it", path);
    secret_truncate(&secret, size);
    *ret = secret_take(&secret);
    return 0;
}

int folder_read_key(const char *path, struct secret *ret, struct why *why)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    char credential[PATH_MAX];
    bool named = path;
    int r;

    if (!named && !credentials)
        return 0;
    if (!named && (size_t)snprintf(credential, sizeof(credential), "%s/" CREDENTIAL, credentials) >=
                      sizeof(credential))
        return why_set(why, -ENAMETOOLONG, "the path of the credentials is too long");
    if (!named)
        path = credential;
    r = read_secret(path, named, ret);
    if (r == -ENOENT && !named)
        return 0;
    if (r == -EFBIG || r == -ENODATA)
        return why_set(why, r, "the key file %s is to have %d to %d bytes", path,
                       STORE_KEY_FILE_MIN, STORE_KEY_FILE_MAX);
    return r < 0 ? why_set(why, r, "cannot read the key file %s: %s", path, strerror(-r)) : 0;
}
