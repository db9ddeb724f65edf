/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A program that uses libwaymark: does what its arguments say, one after the other, and prints one
 * line for each, `ok`, a value, or the errno. A network is a netId, `none`, `bad` (no handle) or 0.
 *
 *   client set 101 socket fork get exec get
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <waymark.h>

struct script {
    char **words; /* what is left */
    int fd;       /* the socket made last; -1: none */
    int type;
    struct wm_monitor *monitor;
};

static const char *word(struct script *s)
{
    return *s->words ? *s->words++ : "";
}

static wm_network_t network(struct script *s)
{
    const char *text = word(s);

    if (strcmp(text, "none") == 0)
        return WM_NETWORK_NONE;
    if (strcmp(text, "bad") == 0)
        return 0x6400000001;
    return wm_network_from_netid((uint32_t)strtoul(text, NULL, 10));
}

static void say(int result)
{
    printf("%s\n", result < 0 ? strerrorname_np(errno) : "ok");
}

static void say_network(int result, wm_network_t n)
{
    uint32_t netid;

    if (result < 0)
        say(result);
    else if (n == WM_NETWORK_NONE)
        printf("none\n");
    else if (wm_network_to_netid(n, &netid) < 0)
        printf("no handle\n");
    else
        printf("%u\n", netid);
}

static void say_socket(struct script *s, int fd)
{
    socklen_t n = sizeof(unsigned);
    unsigned mark;

    if (fd < 0) {
        say(fd);
        return;
    }
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = fd;
    if (getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &n) == 0)
        printf("%#x\n", mark);
}

/* The process. */

static void do_set(struct script *s)
{
    say(wm_setprocnetwork(network(s)));
}

static void do_set_exec(struct script *s)
{
    say(wm_setprocnetwork_flags(network(s), WM_PROC_EXEC));
}

static void do_set_flag(struct script *s)
{
    say(wm_setprocnetwork_flags(network(s), 1U << 31));
}

static void do_get(struct script *s)
{
    wm_network_t n = 0;
    int r = wm_getprocnetwork(&n);

    (void)s;
    say_network(r, n);
}

static void do_fork(struct script *s)
{
    int status;
    pid_t pid;

    (void)s;
    (void)fflush(stdout);
    pid = fork();
    if (pid > 0) { /* the rest is the child's */
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
}

static void do_exec(struct script *s)
{
    char self[] = "client";

    (void)fflush(stdout);
    *--s->words = self;
    (void)execv("/proc/self/exe", s->words);
    _exit(1);
}

static void do_environment(struct script *s)
{
    const char *value = getenv("WAYMARK_NETWORK");

    (void)s;
    printf("%s\n", value ? value : "-");
}

/* Sockets. */

static void do_type(struct script *s)
{
    s->type = strcmp(word(s), "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
}

static void do_socket(struct script *s)
{
    say_socket(s, wm_socket(AF_INET6, s->type | SOCK_CLOEXEC, 0));
}

static void do_socket4(struct script *s)
{
    say_socket(s, wm_socket(AF_INET, s->type | SOCK_CLOEXEC, 0));
}

static void do_unix_socket(struct script *s)
{
    say_socket(s, wm_socket(AF_UNIX, SOCK_STREAM, 0));
}

static void do_plain(struct script *s)
{
    say_socket(s, socket(AF_INET, s->type | SOCK_CLOEXEC, 0));
}

static void do_file(struct script *s)
{
    s->fd = STDOUT_FILENO;
}

static void do_no_descriptor(struct script *s)
{
    s->fd = -1;
}

static void do_mark(struct script *s)
{
    say_socket(s, dup(s->fd));
}

static void do_setsock(struct script *s)
{
    say(wm_setsocknetwork(network(s), s->fd));
}

static void do_getsock(struct script *s)
{
    wm_network_t n = 0;
    int r = wm_getsocknetwork(s->fd, &n);

    say_network(r, n);
}

static void do_protect(struct script *s)
{
    say(wm_protect(s->fd));
}

static void do_for_user(struct script *s)
{
    say(wm_select_for_user(s->fd, (uid_t)strtoul(word(s), NULL, 10)));
}

static void do_query(struct script *s)
{
    uid_t uid = (uid_t)strtoul(word(s), NULL, 10);

    say(wm_query_user_access(uid, network(s)));
}

/* Whom the server there sees. */
static void do_ask(struct script *s)
{
    const struct timeval patience = { .tv_sec = 3 };
    struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
    char answer[100] = "";

    (void)inet_pton(AF_INET6, word(s), &to.sin6_addr);
    to.sin6_port = htons((in_port_t)strtoul(word(s), NULL, 10));
    (void)setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        send(s->fd, "x", 1, MSG_NOSIGNAL) < 0 || recv(s->fd, answer, sizeof(answer) - 1, 0) < 0) {
        say(-1);
        return;
    }
    answer[strcspn(answer, " \n")] = '\0';
    printf("%s\n", answer);
}

/* Networks. */

static void do_by_name(struct script *s)
{
    wm_network_t n = 0;
    int r = wm_network_by_name(word(s), &n);

    say_network(r, n);
}

static void say_list(const char *separator, char **list)
{
    for (; *list; list++, separator = ",")
        printf("%s%s", separator, *list);
}

static void do_list(struct script *s)
{
    struct wm_network_info **networks;
    size_t n;

    (void)s;
    if (wm_networks_list(&networks, &n) < 0) {
        say(-1);
        return;
    }
    printf("%zu", n);
    for (struct wm_network_info **i = networks; *i; i++) {
        printf(" %s:%u:%u:%u:%u:%u:%d", (*i)->name, (*i)->netid, (*i)->type, (*i)->state,
               (*i)->permission, (*i)->flags, WM_HAS(*i, domains));
        say_list(":", (*i)->interfaces);
        say_list(":", (*i)->dns);
        say_list(":", (*i)->domains);
    }
    printf("\n");
    wm_networks_free(networks);
}

static void on_event(const struct wm_event *event, void *data)
{
    static const char *const kinds[] = { "added", "removed", "changed", "default" };
    uint32_t netid = 0;

    (void)data;
    (void)wm_network_to_netid(event->network, &netid);
    printf("%s %u\n", kinds[event->kind], netid);
}

static void do_watch(struct script *s)
{
    say(wm_monitor_new(on_event, s, &s->monitor));
    (void)fflush(stdout);
}

/* Until the daemon goes. */
static void do_dispatch(struct script *s)
{
    struct pollfd p = { .fd = wm_monitor_get_fd(s->monitor), .events = POLLIN };

    while (wm_monitor_dispatch(s->monitor) == 0) {
        (void)fflush(stdout);
        (void)poll(&p, 1, -1);
    }
    say(-1);
    wm_monitor_free(s->monitor);
    s->monitor = NULL;
}

/* Threads: everybody switches the process to one of two networks, and every socket is on one. */

struct race {
    wm_network_t networks[2];
    unsigned bad;
};

static void *race(void *data)
{
    struct race *r = data;

    for (int i = 0; i < 200; i++) {
        wm_network_t n = 0;
        int fd;

        if (wm_setprocnetwork(r->networks[i % 2]) < 0 || wm_getprocnetwork(&n) < 0)
            r->bad++;
        fd = wm_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || wm_getsocknetwork(fd, &n) < 0 || (n != r->networks[0] && n != r->networks[1]))
            r->bad++;
        if (fd >= 0)
            (void)close(fd);
    }
    return NULL;
}

static void do_race(struct script *s)
{
    wm_network_t one = network(s), two = network(s);
    struct race races[4];
    pthread_t threads[4];
    unsigned bad = 0;

    for (int i = 0; i < 4; i++) {
        races[i] = (struct race){ .networks = { one, two } };
        if (pthread_create(&threads[i], NULL, race, &races[i]) != 0)
            abort();
    }
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        bad += races[i].bad;
    }
    printf("%u wrong\n", bad);
}

/* What must not be changed by a call that succeeds. */
static void do_errno(struct script *s)
{
    wm_network_t n;
    struct wm_network_info **networks;

    (void)s;
    errno = ELIBBAD;
    if (wm_setprocnetwork(0) == 0 && wm_getprocnetwork(&n) == 0 &&
        wm_networks_list(&networks, NULL) == 0)
        wm_networks_free(networks);
    printf("%s\n", strerrorname_np(errno));
}

static void do_null(struct script *s)
{
    int failed = 0;

    (void)s;
    failed += wm_getprocnetwork(NULL) < 0 && errno == EINVAL;
    failed += wm_getsocknetwork(0, NULL) < 0 && errno == EINVAL;
    failed += wm_network_to_netid(0, NULL) < 0 && errno == EINVAL;
    failed += wm_network_by_name(NULL, NULL) < 0 && errno == EINVAL;
    failed += wm_networks_list(NULL, NULL) < 0 && errno == EINVAL;
    failed += wm_monitor_new(NULL, NULL, NULL) < 0 && errno == EINVAL;
    failed += wm_monitor_get_fd(NULL) < 0 && errno == EINVAL;
    failed += wm_monitor_dispatch(NULL) < 0 && errno == EINVAL;
    wm_monitor_free(NULL);
    wm_networks_free(NULL);
    printf("%d refused\n", failed);
}

static const struct {
    const char *word;
    void (*run)(struct script *s);
} commands[] = {
    { "set", do_set },
    { "set-exec", do_set_exec },
    { "set-flag", do_set_flag },
    { "get", do_get },
    { "fork", do_fork },
    { "exec", do_exec },
    { "environment", do_environment },
    { "type", do_type },
    { "socket", do_socket },
    { "socket4", do_socket4 },
    { "unix", do_unix_socket },
    { "plain", do_plain },
    { "file", do_file },
    { "no-descriptor", do_no_descriptor },
    { "mark", do_mark },
    { "setsock", do_setsock },
    { "getsock", do_getsock },
    { "protect", do_protect },
    { "for-user", do_for_user },
    { "query", do_query },
    { "ask", do_ask },
    { "by-name", do_by_name },
    { "list", do_list },
    { "watch", do_watch },
    { "dispatch", do_dispatch },
    { "race", do_race },
    { "errno", do_errno },
    { "null", do_null },
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
    (void)fprintf(stderr, "client: '%s' is none of its words\n", name);
    return false;
}

int main(int argc, char **argv)
{
    struct script s = { .words = argv + 1, .fd = -1, .type = SOCK_DGRAM };

    (void)argc;
    while (*s.words)
        if (!step(&s))
            return 2;
    if (s.fd > STDERR_FILENO)
        (void)close(s.fd);
    wm_monitor_free(s.monitor);
    return 0;
}
