/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/linger.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

static void on_signal(int signal)
{
    (void)signal; /* that it came is enough */
}

/* Blocked signals end no wait, and who started us may have blocked it. */
int linger_prepare(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    if (sigaction(SIGALRM, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &set, NULL) < 0)
        return -errno;
    return 0;
}

static void set_timer(suseconds_t usec)
{
    const struct itimerval limit = { .it_interval.tv_usec = usec, .it_value.tv_usec = usec };

    (void)setitimer(ITIMER_REAL, &limit, NULL);
}

void linger_begin(void)
{
    set_timer(LINGER_USEC);
}

void linger_end(void)
{
    set_timer(0);
}
