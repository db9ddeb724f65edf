/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "basic/parse.h"
#include "lib/netname.h"

#define RUNTIME_DIR "/run/waymark"

/* Longer than any network's name: one that does not fit is cut, and still no network's. */
enum { NAME_SIZE = 80 };

/*
 * The one place that a library has for what concerns the process as a whole. All but the choice is
 * constant after read_environment().
 */
static struct {
    pthread_once_t once;
    process_choice choice;
    char name[NAME_SIZE];           /* PROCESS_NAMED */
    char runtime[PROCESS_PATH_MAX]; /* "" = too long */
} process = { .once = PTHREAD_ONCE_INIT };

static uint32_t read_choice(const char *text)
{
    uint32_t netid;

    if (!text || !*text)
        return 0;
    if (streq(text, "none"))
        return PROCESS_DISABLED;
    if (parse_u32(text, FWMARK_NETID_MAX, &netid) == 0)
        return netid;
    (void)snprintf(process.name, sizeof(process.name), "%s", text);
    return PROCESS_NAMED;
}

static void read_environment(void)
{
    const char *runtime = secure_getenv("WAYMARK_RUNTIME_DIR");

    (void)str_set(process.runtime, sizeof(process.runtime),
                  runtime && *runtime ? runtime : RUNTIME_DIR);
    atomic_init(&process.choice, read_choice(secure_getenv("WAYMARK_NETWORK")));
}

__attribute__((constructor)) static void at_start(void)
{
    (void)pthread_once(&process.once, read_environment);
}

#ifdef WAYMARK_PRELOAD
static process_choice *choice(void)
{
    at_start(); /* a constructor of another library may be earlier than ours */
    return &process.choice;
}

__attribute__((visibility("default"))) process_choice *waymark_preload_choice_0(void)
{
    return choice();
}
#else
#pragma weak waymark_preload_choice_0

static process_choice *choice(void)
{
    at_start();
    return waymark_preload_choice_0 ? waymark_preload_choice_0() : &process.choice;
}
#endif

void process_set(uint32_t value)
{
    atomic_store(choice(), value);
}

int process_get(uint32_t *ret_value)
{
    uint32_t value = atomic_load(choice()), expected = PROCESS_NAMED, netid;
    char path[PROCESS_PATH_MAX];
    int r;

    if (value == PROCESS_NAMED) {
        r = process_path("bus", path);
        if (r == 0)
            r = netname_resolve(path, process.name, &netid);
        if (r < 0)
            return r;
        /* unless another thread has made a choice meanwhile, which then counts */
        value = atomic_compare_exchange_strong(choice(), &expected, netid) ? netid : expected;
    }
    *ret_value = value;
    return 0;
}

int process_path(const char *name, char buf[static PROCESS_PATH_MAX])
{
    int n;

    at_start();
    n = snprintf(buf, PROCESS_PATH_MAX, "%s/%s", process.runtime, name);
    return !*process.runtime || n >= PROCESS_PATH_MAX ? -ENAMETOOLONG : 0;
}

int process_ask(const struct fwmark_command *command, const struct fwmark_connect_info *info,
                int fd)
{
    char path[PROCESS_PATH_MAX];
    int r = process_path("fwmarkd", path);

    return r < 0 ? r : fwmark_client_ask(path, command, info, fd);
}

/*
 * Whether an assignment holds the app: then its sockets are on the assigned network, whatever is
 * selected, also when everything is reset. The process's choice gives way to that.
 */
static bool is_held(int fd)
{
    const struct fwmark_command reset = { .id = FWMARK_SELECT_NETWORK };
    socklen_t n = sizeof(uint32_t);
    uint32_t mark;

    return process_ask(&reset, NULL, fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &n) == 0 && mark & FWMARK_EXPLICIT;
}

int process_mark_new(int fd)
{
    struct fwmark_command command = { .id = FWMARK_ON_CONNECT };
    uint32_t value;
    int r = process_get(&value);

    if (r < 0)
        return r;
    if (value == PROCESS_DISABLED)
        return -EPERM;
    if (value != 0)
        command = (struct fwmark_command){ .id = FWMARK_SELECT_NETWORK, .netid = value };
    r = process_ask(&command, NULL, fd);
    return r == -EPERM && value != 0 && is_held(fd) ? 0 : r;
}
