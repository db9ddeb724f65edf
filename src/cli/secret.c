/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "basic/fd.h"

void secret_done(struct secret *s)
{
    if (s->data)
        explicit_bzero(s->data, s->size);
    free(s->data);
    *s = (struct secret){ 0 };
}

/* `capacity` bytes of which none is used yet. The memory is never moved: a copy would stay behind. */
static int secret_new(size_t capacity, struct secret *ret)
{
    uint8_t *data = malloc(capacity + 1);

    if (!data)
        return -ENOMEM;
    data[0] = '\0';
    *ret = (struct secret){ .data = data };
    return 0;
}

static struct secret take(struct secret *s)
{
    struct secret taken = *s;

    taken.data[taken.size] = '\0';
    *s = (struct secret){ 0 };
    return taken;
}

int secret_copy(const void *data, size_t size, struct secret *ret)
{
    _cleanup_secret_ struct secret s = { 0 };
    int r = secret_new(size, &s);

    if (r < 0)
        return r;
    if (size > 0)
        memcpy(s.data, data, size);
    s.size = size;
    *ret = take(&s);
    return 0;
}

/* read(2) that no signal interrupts. */
static ssize_t read_some(int fd, void *data, size_t size)
{
    ssize_t n;

    do
        n = read(fd, data, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int secret_read(int fd, size_t max, struct secret *ret)
{
    _cleanup_secret_ struct secret s = { 0 };
    ssize_t n = secret_new(max + 1, &s);

    if (n < 0)
        return (int)n;
    while ((n = read_some(fd, s.data + s.size, max + 1 - s.size)) > 0)
        s.size += (size_t)n;
    if (n < 0)
        return (int)n;
    if (s.size > max)
        return -EMSGSIZE;
    *ret = take(&s);
    return 0;
}

/* Byte for byte: what is behind the line may be the next one's, or another program's. */
int secret_read_line(int fd, size_t max, struct secret *ret)
{
    _cleanup_secret_ struct secret s = { 0 };
    ssize_t n = secret_new(max, &s);
    uint8_t byte = 0;

    if (n < 0)
        return (int)n;
    while ((n = read_some(fd, &byte, 1)) > 0 && byte != '\n') {
        if (s.size == max)
            return -EMSGSIZE;
        s.data[s.size++] = byte;
    }
    if (n < 0)
        return (int)n;
    if (n == 0 && s.size == 0)
        return 0;
    *ret = take(&s);
    return 1;
}

/* At the terminal. */

/* What would end or stop us: the terminal is to be as it was by then. */
static void interrupting_signals(sigset_t *set)
{
    static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP };

    (void)sigemptyset(set);
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        (void)sigaddset(set, signals[i]);
}

/* 1: there is a line; 0: a signal came, and waits. */
static int wait_for_line(int tty, int signals)
{
    struct pollfd fds[] = { { .fd = tty, .events = POLLIN }, { .fd = signals, .events = POLLIN } };

    if (poll(fds, ELEMENTSOF(fds), -1) < 0)
        return errno == EINTR ? 0 : -errno;
    return fds[1].revents ? 0 : 1;
}

/* 1: *ret is the line; 0: a signal came meanwhile; -ECANCELED: the end of the file. */
static int ask_once(int tty, int signals, const char *prompt, size_t max, struct secret *ret)
{
    struct termios before, hidden;
    int r;

    if (tcgetattr(tty, &before) < 0)
        return -errno;
    hidden = before;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hidden.c_lflag |= ICANON | ISIG | ECHONL;
    if (tcsetattr(tty, TCSAFLUSH, &hidden) < 0)
        return -errno;
    r = fd_write_all(tty, prompt, strlen(prompt));
    if (r == 0)
        r = fd_write_all(tty, ": ", STRLEN(": "));
    if (r == 0)
        r = wait_for_line(tty, signals);
    if (r > 0) {
        r = secret_read_line(tty, max, ret);
        r = r == 0 ? -ECANCELED : r;
    }
    if (r <= 0)
        (void)fd_write_all(tty, "\n", 1);
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    return r;
}

/* A signal that came is taken when the terminal is itself again; who was only stopped is asked anew. */
static int ask(int tty, const char *prompt, size_t max, struct secret *ret)
{
    sigset_t set, before;
    int r = 0;

    interrupting_signals(&set);
    while (r == 0) {
        (void)sigprocmask(SIG_BLOCK, &set, &before);

        int signals = signalfd(-1, &set, SFD_CLOEXEC);

        r = signals < 0 ? -errno : ask_once(tty, signals, prompt, max, ret);
        fd_closep(&signals);
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
    }
    return r < 0 ? r : 0;
}

int secret_ask(const char *prompt, size_t max, struct secret *ret, struct why *why)
{
    _cleanup_fd_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    int r = tty < 0 ? -ENXIO : ask(tty, prompt, max, ret);

    switch (r) {
    case 0:
        return 0;
    case -ENXIO:
        return why_set(why, r, "there is no terminal to ask at: give it on standard input");
    case -ECANCELED:
        return why_set(why, r, "nothing was entered, and nothing was done");
    case -EMSGSIZE:
        return why_set(why, r, "that is more than %zu bytes", max);
    default:
        return why_set(why, r, "cannot ask at the terminal: %s", strerror(-r));
    }
}

int secret_ask_twice(const char *prompt, size_t max, struct secret *ret, struct why *why)
{
    _cleanup_secret_ struct secret first = { 0 }, second = { 0 };
    int r = secret_ask(prompt, max, &first, why);

    if (r == 0)
        r = secret_ask("The same again", max, &second, why);
    if (r < 0)
        return r;
    if (first.size != second.size || !mem_equal(first.data, second.data, first.size))
        return why_set(why, -EINVAL, "the two are not the same, and nothing was done: try again");
    *ret = take(&first);
    return 0;
}
