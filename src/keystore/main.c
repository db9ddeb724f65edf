/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark-keystored: the steps of a start and of an end. docs/keystore.md has the theory. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "keystore/folder.h"
#include "keystore/listen.h"
#include "keystore/options.h"
#include "keystore/sandbox.h"
#include "keystore/server.h"

#define USER_DEFAULT "waymark-keystore"

enum { EXIT_USAGE = 2 };

/* What is had by privileges, before they go. */
struct gains {
    int state_dir, socket;
    struct secret key_file;
    struct policy policy;
};

static void gains_done(struct gains *g)
{
    fd_closep(&g->state_dir);
    fd_closep(&g->socket);
    secret_done(&g->key_file);
}
#define _cleanup_gains_ _cleanup_(gains_done)

static int gain(const struct options *o, const struct sandbox_user *user, struct gains *g,
                struct why *why)
{
    int r = folder_open(o->state_dir, user, &g->state_dir, why);

    g->policy = options_policy(o);
    if (listen_raise_limits() < 0)
        log_warning("cannot have more descriptors: fewer clients at a time");
    if (r == 0)
        r = folder_read_key(o->key_file, &g->key_file, why);
    if (r == 0)
        r = listen_open(o->runtime_dir, &g->socket, why);
    return r;
}

static int shut_in(const struct options *o, const struct sandbox_user *user, int state_dir,
                   struct why *why)
{
    int r;

    if (!o->sandbox)
        return 0;
    r = sandbox_become(user, why);
    return r < 0 ? r : sandbox_enter(state_dir, why);
}

static int make_loop(sd_event **ret)
{
    static const int signals[] = { SIGTERM, SIGINT };
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    int r = sd_event_new(&event);
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        sigaddset(&set, signals[i]);
    if (r >= 0 && sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        r = -errno;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(signals); i++)
        r = sd_event_add_signal(event, NULL, signals[i], NULL, NULL); /* ends the loop */
    if (r >= 0)
        r = sd_event_set_watchdog(event, true);
    if (r >= 0)
        *ret = TAKE_PTR(event);
    return r;
}

static int serve(const struct options *o, struct gains *g, struct why *why)
{
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    _cleanup_(server_freep) struct server *server = NULL; /* after the store */
    _cleanup_store_ struct store *store = NULL;
    struct server_settings serving = { .policy = g->policy, .timeout = o->timeout };
    struct store_settings storing = o->store;
    int r = make_loop(&event);

    if (r < 0)
        return why_set(why, r, "cannot make the loop: %s", strerror(-r));
    storing.dir_fd = g->state_dir;
    storing.key_file = secret_is_set(&g->key_file) ? &g->key_file : NULL;
    r = store_open(event, &storing, &store, why);
    secret_done(&g->key_file);
    if (r == 0)
        r = server_new(event, store, g->socket, &serving, &server, why);
    if (r < 0)
        return r;
    (void)sd_notify(0, "READY=1");
    r = sd_event_loop(event);
    (void)sd_notify(0, "STOPPING=1");
    server_stop(server);
    return r < 0 ? why_set(why, r, "the loop: %s", strerror(-r)) : 0;
}

static int init_secrets(const struct sandbox_user *user, struct why *why)
{
    int r = secret_init(sandbox_lock_memory(user));

    return r < 0 ? why_set(why, r, "libsodium cannot be had") : 0;
}

int main(int argc, char **argv)
{
    _cleanup_options_ struct options o = { 0 };
    _cleanup_gains_ struct gains g = { .state_dir = -1, .socket = -1 };
    struct sandbox_user user = { 0 };
    struct why why = { 0 };
    int r = options_parse(argc, argv, &o);

    if (r <= 0)
        return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    (void)signal(SIGPIPE, SIG_IGN);
    log_never_wait();
    r = o.sandbox ? sandbox_find_user(o.user ? o.user : USER_DEFAULT, o.user, &user, &why) : 0;
    if (r == 0)
        r = init_secrets(&user, &why);
    if (r == 0)
        r = gain(&o, &user, &g, &why);
    if (r == 0)
        r = shut_in(&o, &user, g.state_dir, &why);
    if (r == 0)
        r = serve(&o, &g, &why);
    if (r < 0)
        log_error("%s", why_text(&why, r));
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
