/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A program that is a VPN: does what its arguments say, one after the other, and prints one line for
 * each: `ok`, a value, or the errno. The builder is the last one, and so is the VPN; lists are words with
 * commas between them, "-" is NULL.
 *
 *   vpn-client new work address 10.9.0.2 24 prepare 0 establish interface stdin disconnect
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <waymark.h>

#include "vpn-carry.h"

enum { VPNS_MAX = 16, LIST_MAX = 16, PATIENCE = 30000 };

struct script {
    char **words; /* what is left */
    struct wm_vpn_builder *builder;
    struct wm_vpn *vpns[VPNS_MAX]; /* the oldest first */
    size_t n;
    int transport; /* of carry */
};

static const char *word(struct script *s)
{
    return *s->words ? *s->words++ : "";
}

static const char *text(struct script *s)
{
    const char *w = word(s);

    return strcmp(w, "-") == 0 ? NULL : w;
}

static unsigned number(struct script *s)
{
    return (unsigned)strtoul(word(s), NULL, 0);
}

static struct wm_vpn *vpn(const struct script *s)
{
    return s->n > 0 ? s->vpns[s->n - 1] : NULL;
}

static void say(int result)
{
    printf("%s\n", result < 0 ? strerrorname_np(errno) : "ok");
}

/* Cuts a word up. Each is valid as long as the arguments. */
static size_t cut(char *list, const char *items[static LIST_MAX + 1])
{
    size_t n = 0;

    for (char *rest, *i = strtok_r(list, ",", &rest); i && n < LIST_MAX;
         i = strtok_r(NULL, ",", &rest))
        items[n++] = i;
    items[n] = NULL;
    return n;
}

/* "-": NULL, the default; "none": an empty list; else netIds. */
static const wm_network_t *networks(struct script *s, wm_network_t handles[static LIST_MAX],
                                    size_t *n)
{
    const char *items[LIST_MAX + 1], *list = word(s);

    *n = 0;
    if (strcmp(list, "-") == 0)
        return NULL;
    if (strcmp(list, "none") == 0)
        return handles;
    *n = cut((char *)list, items);
    for (size_t i = 0; i < *n; i++)
        handles[i] = strcmp(items[i], "bad") == 0
                         ? 1
                         : wm_network_from_netid((uint32_t)strtoul(items[i], NULL, 10));
    return handles;
}

/* The description. */

static void do_new(struct script *s)
{
    wm_vpn_builder_free(s->builder);
    s->builder = NULL;
    say(wm_vpn_builder_new(text(s), &s->builder));
}

static void do_session(struct script *s)
{
    say(wm_vpn_builder_set_session(s->builder, text(s)));
}

static void do_mtu(struct script *s)
{
    say(wm_vpn_builder_set_mtu(s->builder, number(s)));
}

/* ADDRESS LENGTH for one of the functions that take them. */
static void with_prefix(struct script *s,
                        int (*set)(struct wm_vpn_builder *, const char *, unsigned))
{
    const char *address = text(s);

    say(set(s->builder, address, number(s)));
}

static void do_address(struct script *s)
{
    with_prefix(s, wm_vpn_builder_add_address);
}

static void do_route(struct script *s)
{
    with_prefix(s, wm_vpn_builder_add_route);
}

static void do_exclude(struct script *s)
{
    with_prefix(s, wm_vpn_builder_exclude_route);
}

static void do_dns(struct script *s)
{
    say(wm_vpn_builder_add_dns_server(s->builder, text(s)));
}

static void do_domain(struct script *s)
{
    say(wm_vpn_builder_add_search_domain(s->builder, text(s)));
}

static void do_proxy(struct script *s)
{
    with_prefix(s, wm_vpn_builder_set_http_proxy);
}

static void do_family(struct script *s)
{
    unsigned n = number(s);

    say(wm_vpn_builder_allow_family(s->builder, n == 4 ? AF_INET : n == 6 ? AF_INET6 : AF_UNIX));
}

static void do_bypass(struct script *s)
{
    say(wm_vpn_builder_allow_bypass(s->builder));
}

static void do_blocking(struct script *s)
{
    say(wm_vpn_builder_set_blocking(s->builder, (int)number(s)));
}

static void do_allow(struct script *s)
{
    say(wm_vpn_builder_add_allowed_app(s->builder, text(s)));
}

static void do_disallow(struct script *s)
{
    say(wm_vpn_builder_add_disallowed_app(s->builder, text(s)));
}

static void do_underlying(struct script *s)
{
    wm_network_t handles[LIST_MAX];
    size_t n;
    const wm_network_t *list = networks(s, handles, &n);

    say(wm_vpn_builder_set_underlying_networks(s->builder, list, n));
}

static void do_metered(struct script *s)
{
    say(wm_vpn_builder_set_metered(s->builder, (int)number(s)));
}

static void do_lan(struct script *s)
{
    const char *items[LIST_MAX + 1], *list = text(s);

    if (list)
        (void)cut((char *)list, items);
    say(wm_vpn_builder_set_lan(s->builder, list ? items : NULL));
}

static void do_queues(struct script *s)
{
    say(wm_vpn_builder_set_queues(s->builder, number(s)));
}

static void do_offloads(struct script *s)
{
    say(wm_vpn_builder_set_offloads(s->builder, (int)number(s)));
}

/* More than the daemon reads at once. */
static void do_too_much(struct script *s)
{
    char address[sizeof("255.255.255.255")];
    int r = 0;

    for (unsigned i = 1; r == 0 && i < 100000; i++) {
        (void)snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255,
                       i & 255);
        r = wm_vpn_builder_add_route(s->builder, address, 32);
    }
    say(r);
}

/* Asking. */

static void do_prepare(struct script *s)
{
    say(wm_vpn_prepare(s->builder, number(s)));
}

static bool add(struct script *s)
{
    struct wm_vpn *v = NULL;

    if (s->n == VPNS_MAX || wm_vpn_establish(s->builder, &v) < 0)
        return false;
    s->vpns[s->n++] = v;
    return true;
}

static void do_establish(struct script *s)
{
    say(add(s) ? 0 : -1);
}

/* How many µs it took; the errno if it failed. */
static void do_timed(struct script *s)
{
    struct timespec a, b;
    bool done;

    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    done = add(s);
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    if (done)
        printf("%lld\n", (b.tv_sec - a.tv_sec) * 1000000LL + (b.tv_nsec - a.tv_nsec) / 1000);
    else
        say(-1);
}

/* So many ms of nothing. */
static void do_rest(struct script *s)
{
    unsigned ms = number(s);

    say(nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL));
}

static void do_error(struct script *s)
{
    printf("%s\n", wm_vpn_builder_get_error(s->builder));
}

static void do_vpn_error(struct script *s)
{
    printf("%s\n", wm_vpn_get_error(vpn(s)));
}

/* How many descriptors, and how they are. */
static void do_fds(struct script *s)
{
    const int *fds;
    size_t n;

    if (wm_vpn_get_fds(vpn(s), &fds, &n) < 0) {
        say(-1);
        return;
    }
    printf("%zu%s%s%s\n", n, fds[0] == wm_vpn_get_fd(vpn(s)) ? "" : " and another",
           fcntl(fds[n - 1], F_GETFL) & O_NONBLOCK ? "" : " blocking",
           fcntl(fds[n - 1], F_GETFD) & FD_CLOEXEC ? "" : " inherited");
}

static void do_interface(struct script *s)
{
    printf("%s\n", wm_vpn_get_interface(vpn(s)));
}

static void do_network(struct script *s)
{
    uint32_t netid = 0;

    (void)wm_network_to_netid(wm_vpn_get_network(vpn(s)), &netid);
    printf("%u\n", netid);
}

static void on_event(struct wm_vpn *v, const struct wm_vpn_event *event, void *data)
{
    (void)data;
    printf("revoked %s%s%s\n", wm_vpn_get_interface(v), event->kind == WM_VPN_REVOKED ? ": " : "? ",
           event->reason);
}

static void do_dispatch(struct script *s)
{
    (void)wm_vpn_set_callback(vpn(s), on_event, s);
    say(wm_vpn_dispatch(vpn(s)));
}

/* Until there is something to dispatch. */
static void do_wait(struct script *s)
{
    struct pollfd p = { .fd = wm_vpn_get_event_fd(vpn(s)), .events = POLLIN };

    printf("%s\n", poll(&p, 1, PATIENCE) == 1 ? "readable" : "nothing");
}

static void do_quiet(struct script *s)
{
    struct pollfd p = { .fd = wm_vpn_get_event_fd(vpn(s)), .events = POLLIN };

    printf("%s\n", poll(&p, 1, 0) == 1 ? "readable" : "nothing");
}

/* Events as they come, until the daemon or the VPN is gone. */
static void on_last_event(struct wm_vpn *v, const struct wm_vpn_event *event, void *data)
{
    struct script *s = data;

    on_event(v, event, data);
    wm_vpn_free(s->vpns[--s->n]);
}

static void do_watch(struct script *s)
{
    size_t n = s->n;
    struct pollfd p = { .fd = wm_vpn_get_event_fd(vpn(s)), .events = POLLIN };
    int r = 0;

    (void)wm_vpn_set_callback(vpn(s), on_last_event, s);
    while (r == 0 && s->n == n && poll(&p, 1, PATIENCE) == 1)
        r = wm_vpn_dispatch(vpn(s));
    say(r);
}

static void do_reconnect(struct script *s)
{
    say(wm_vpn_reconnect(vpn(s)));
}

static void do_add(struct script *s)
{
    const char *address = text(s);

    say(wm_vpn_add_address(vpn(s), address, number(s)));
}

static void do_remove(struct script *s)
{
    const char *address = text(s);

    say(wm_vpn_remove_address(vpn(s), address, number(s)));
}

static void do_set_underlying(struct script *s)
{
    wm_network_t handles[LIST_MAX];
    size_t n;
    const wm_network_t *list = networks(s, handles, &n);

    say(wm_vpn_set_underlying_networks(vpn(s), list, n));
}

static void do_report(struct script *s)
{
    enum wm_vpn_state state = (enum wm_vpn_state)number(s);

    say(wm_vpn_report_state(vpn(s), state, text(s)));
}

static void do_disconnect(struct script *s)
{
    say(wm_vpn_disconnect(vpn(s)));
}

static void do_free(struct script *s)
{
    wm_vpn_free(s->n > 0 ? s->vpns[--s->n] : NULL);
    say(0);
}

static void free_oldest(struct script *s)
{
    wm_vpn_free(s->vpns[0]);
    memmove(s->vpns, s->vpns + 1, --s->n * sizeof(struct wm_vpn *));
}

static void do_free_oldest(struct script *s)
{
    free_oldest(s);
    say(0);
}

static void do_protect(struct script *s)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)s;
    say(wm_protect(fd));
    (void)close(fd);
}

/* Until a line comes, or the end. */
static void do_stdin(struct script *s)
{
    char c;

    (void)s;
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        ;
    say(0);
}

/* The rest is the child's. */
static void do_fork(struct script *s)
{
    int status;
    pid_t pid = fork();

    (void)s;
    if (pid > 0)
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* What must not be changed by a call that succeeds. */
static void do_errno(struct script *s)
{
    struct wm_vpn_builder *b = NULL;
    wm_network_t n = wm_network_from_netid(100);
    const char *const lan[] = { "link-local", NULL };
    int r;

    (void)s;
    errno = ELIBBAD;
    r = wm_vpn_builder_new("errno", &b);
    r += wm_vpn_builder_add_address(b, "10.9.0.2", 24) + wm_vpn_builder_set_session(b, "x");
    r += wm_vpn_builder_set_lan(b, lan) + wm_vpn_builder_set_underlying_networks(b, &n, 1);
    r += wm_vpn_builder_set_http_proxy(b, "::1", 80) + wm_vpn_builder_add_allowed_app(b, "uid:1");
    wm_vpn_builder_free(b);
    printf("%d %s\n", r, strerrorname_np(errno));
}

static void do_null(struct script *s)
{
    struct wm_vpn_builder *b = NULL;
    struct wm_vpn *v = NULL;
    const int *fds;
    size_t n;
    const int results[] = {
        wm_vpn_builder_new(NULL, &b),
        wm_vpn_builder_new("x", NULL),
        wm_vpn_builder_set_session(NULL, "x"),
        wm_vpn_builder_set_mtu(NULL, 1400),
        wm_vpn_builder_add_address(NULL, "10.0.0.1", 8),
        wm_vpn_builder_add_route(NULL, "10.0.0.0", 8),
        wm_vpn_builder_exclude_route(NULL, "10.0.0.0", 8),
        wm_vpn_builder_add_dns_server(NULL, "10.0.0.1"),
        wm_vpn_builder_add_search_domain(NULL, "x"),
        wm_vpn_builder_set_http_proxy(NULL, "x", 1),
        wm_vpn_builder_allow_family(NULL, AF_INET),
        wm_vpn_builder_allow_bypass(NULL),
        wm_vpn_builder_set_blocking(NULL, 1),
        wm_vpn_builder_add_allowed_app(NULL, "uid:1"),
        wm_vpn_builder_add_disallowed_app(NULL, "uid:1"),
        wm_vpn_builder_set_underlying_networks(NULL, NULL, 0),
        wm_vpn_builder_set_metered(NULL, 1),
        wm_vpn_builder_set_lan(NULL, NULL),
        wm_vpn_builder_set_queues(NULL, 1),
        wm_vpn_builder_set_offloads(NULL, 1),
        wm_vpn_prepare(NULL, 0),
        wm_vpn_establish(NULL, &v),
        wm_vpn_get_fd(NULL),
        wm_vpn_get_fds(NULL, &fds, &n),
        wm_vpn_set_callback(NULL, NULL, NULL),
        wm_vpn_get_event_fd(NULL),
        wm_vpn_dispatch(NULL),
        wm_vpn_reconnect(NULL),
        wm_vpn_add_address(NULL, "10.0.0.1", 8),
        wm_vpn_remove_address(NULL, "10.0.0.1", 8),
        wm_vpn_set_underlying_networks(NULL, NULL, 0),
        wm_vpn_report_state(NULL, WM_VPN_CONNECTED, NULL),
        wm_vpn_disconnect(NULL),
    };
    size_t refused = 0, all = sizeof(results) / sizeof(results[0]);

    (void)s;
    for (size_t i = 0; i < all; i++)
        refused += results[i] == -1;
    wm_vpn_free(NULL);
    wm_vpn_builder_free(NULL);
    printf("%d %s %s%s\n", refused == all && errno == EINVAL, wm_vpn_builder_get_error(NULL),
           wm_vpn_get_error(NULL), wm_vpn_get_interface(NULL) ? "interface" : "");
}

/* Traffic: see vpn-carry.h. */

static void do_transport(struct script *s)
{
    const char *server = word(s);

    s->transport = transport_open(server, number(s));
    say(s->transport < 0 ? -1 : 0);
}

/* With the newest of the VPNs. */
static void carry_on(struct script *s, unsigned handovers, int64_t pause, bool tell)
{
    struct carrying c = { .builder = s->builder,
                          .vpn = vpn(s),
                          .transport = s->transport,
                          .handovers = handovers,
                          .pause = pause,
                          .tell = tell };

    carry(&c);
    s->vpns[s->n - 1] = c.vpn;
    do_stdin(s);
}

/* carry N: N handovers with 2 ms between them, then until a line comes. */
static void do_carry(struct script *s)
{
    carry_on(s, number(s), 2000, false);
}

/* carry-slowly N PAUSE: with so many µs between them, and a line about each. */
static void do_carry_slowly(struct script *s)
{
    unsigned n = number(s);

    carry_on(s, n, number(s), true);
}

static const struct {
    const char *word;
    void (*run)(struct script *s);
} commands[] = {
    { "new", do_new },
    { "session", do_session },
    { "mtu", do_mtu },
    { "address", do_address },
    { "route", do_route },
    { "exclude", do_exclude },
    { "dns", do_dns },
    { "domain", do_domain },
    { "proxy", do_proxy },
    { "family", do_family },
    { "bypass", do_bypass },
    { "blocking", do_blocking },
    { "allow", do_allow },
    { "disallow", do_disallow },
    { "underlying", do_underlying },
    { "metered", do_metered },
    { "lan", do_lan },
    { "queues", do_queues },
    { "offloads", do_offloads },
    { "too-much", do_too_much },
    { "prepare", do_prepare },
    { "establish", do_establish },
    { "timed", do_timed },
    { "rest", do_rest },
    { "error", do_error },
    { "vpn-error", do_vpn_error },
    { "fds", do_fds },
    { "interface", do_interface },
    { "network", do_network },
    { "dispatch", do_dispatch },
    { "wait", do_wait },
    { "quiet", do_quiet },
    { "watch", do_watch },
    { "reconnect", do_reconnect },
    { "add", do_add },
    { "remove", do_remove },
    { "set-underlying", do_set_underlying },
    { "report", do_report },
    { "disconnect", do_disconnect },
    { "free", do_free },
    { "free-oldest", do_free_oldest },
    { "protect", do_protect },
    { "stdin", do_stdin },
    { "fork", do_fork },
    { "errno", do_errno },
    { "null", do_null },
    { "transport", do_transport },
    { "carry", do_carry },
    { "carry-slowly", do_carry_slowly },
};

static bool step(struct script *s)
{
    const char *name = word(s);

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].word, name) == 0) {
            commands[i].run(s);
            return true;
        }
    }
    (void)fprintf(stderr, "vpn-client: '%s' is none of its words\n", name);
    return false;
}

int main(int argc, char **argv)
{
    struct script s = { .words = argv + 1, .transport = -1 };

    (void)argc;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    while (*s.words)
        if (!step(&s))
            return 2;
    while (s.n > 0)
        wm_vpn_free(s.vpns[--s.n]);
    wm_vpn_builder_free(s.builder);
    if (s.transport >= 0)
        (void)close(s.transport);
    return 0;
}
