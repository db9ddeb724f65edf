/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "vpn-carry.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Packets that are taken from one side before the other one has its turn; bytes; ms. */
enum { BATCH = 64, PACKET_MAX = 2048, ROOM = 1 << 20, PATIENCE = 30000 };

enum state { IDLE, ESTABLISHING, FREEING };

struct handover {
    struct carrying *c;
    enum state state;
    struct wm_vpn *new, *old; /* NULL: it failed; there is none to free */
    pthread_t thread;
    sem_t switched;
    int news[2]; /* a pipe: a byte when the thread has an answer, and one when it is done */
    int64_t start, next, slowest;
    unsigned done, failed;
};

static int64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int transport_open(const char *server, unsigned port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
    const int room = ROOM; /* a burst that comes while we do something else is not to be lost */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)inet_pton(AF_INET, server, &to.sin_addr);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    if (wm_protect(fd) < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        send(fd, "", 0, 0) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool move_packet(int from, int to)
{
    char packet[PACKET_MAX];
    ssize_t n = read(from, packet, sizeof(packet));

    if (n > 0)
        (void)!write(to, packet, (size_t)n);
    return n > 0;
}

static void move_packets(int from, int to, int most)
{
    while (most-- > 0 && move_packet(from, to))
        ;
}

static void tell_news(struct handover *h)
{
    (void)!write(h->news[1], "", 1);
}

static void *hand_over(void *data)
{
    struct handover *h = data;

    (void)wm_vpn_establish(h->c->builder, &h->new);
    tell_news(h);
    (void)sem_wait(&h->switched);
    wm_vpn_free(h->old);
    tell_news(h);
    return NULL;
}

static void begin(struct handover *h)
{
    h->c->handovers--;
    h->new = h->old = NULL;
    h->start = now_us();
    if (pthread_create(&h->thread, NULL, hand_over, h) == 0)
        h->state = ESTABLISHING;
    else
        h->failed++;
}

static void switch_over(struct handover *h)
{
    struct carrying *c = h->c;
    int64_t took;

    if (h->new) {
        move_packets(wm_vpn_get_fd(c->vpn), c->transport, INT32_MAX);
        h->old = c->vpn;
        c->vpn = h->new;
    }
    *(h->new ? &h->done : &h->failed) += 1;
    took = now_us() - h->start;
    h->slowest = took > h->slowest ? took : h->slowest;
    h->state = FREEING;
    if (c->tell)
        printf("%" PRId64 " %" PRId64 "\n", h->start, h->start + took);
    (void)sem_post(&h->switched);
}

static void on_news(struct handover *h)
{
    char byte;

    (void)!read(h->news[0], &byte, 1);
    if (h->state == ESTABLISHING) {
        switch_over(h);
        return;
    }
    (void)pthread_join(h->thread, NULL);
    h->state = IDLE;
    h->next = now_us() + h->c->pause;
    if (h->c->handovers == 0)
        printf("%u %u %" PRId64 "\n", h->done, h->failed, h->slowest);
}

static void run(struct carrying *c, struct handover *h)
{
    bool over = false;

    while (!over || h->state != IDLE) {
        struct pollfd p[] = { { wm_vpn_get_fd(c->vpn), POLLIN, 0 },
                              { c->transport, POLLIN, 0 },
                              { h->news[0], POLLIN, 0 },
                              { over ? -1 : wm_vpn_get_event_fd(c->vpn), POLLIN, 0 },
                              { over ? -1 : STDIN_FILENO, POLLIN, 0 } };
        bool waiting = h->state == IDLE && c->handovers > 0;

        (void)poll(p, 5, waiting ? 1 : PATIENCE);
        move_packets(c->transport, wm_vpn_get_fd(c->vpn), BATCH);
        move_packets(wm_vpn_get_fd(c->vpn), c->transport, BATCH);
        over |= (p[3].revents && wm_vpn_dispatch(c->vpn) < 0) || p[4].revents;
        if (p[2].revents)
            on_news(h);
        if (!over && waiting && now_us() >= h->next)
            begin(h);
    }
}

void carry(struct carrying *c)
{
    struct handover h = { .c = c, .next = now_us() + c->pause };

    if (sem_init(&h.switched, 0, 0) < 0 || pipe(h.news) < 0)
        return;
    run(c, &h);
    (void)close(h.news[0]);
    (void)close(h.news[1]);
    (void)sem_destroy(&h.switched);
}
