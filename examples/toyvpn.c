/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A whole VPN on one page, for an ordinary user. docs/vpn-service.md goes through it.
 *
 *   cc -o toyvpn toyvpn.c $(pkg-config --cflags --libs libwaymark)
 *   server$ ./toyvpn server toy 10.9.0.1 5555
 *   client$ ./toyvpn client toy 10.9.0.2 192.0.2.1 5555
 *
 * waymarkd runs on both machines, and has consented: `sudo waymark vpn consent user:$USER`. What the
 * client's user sends then goes through the tunnel to the server.
 *
 * IT DOES NOT ENCRYPT. Everybody on the way can read and change what is sent, and whoever sends the
 * server a datagram is its client from then on. It is a page to learn from, not to be private with.
 *
 * The protocol: a datagram is an IP packet. An empty one, every TICK seconds, says "here I am".
 */

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <waymark.h>

enum { TICK = 5, MTU = 1400 };       /* seconds; bytes, so that a packet fits into a datagram */
enum { ROOM = 1 << 20, BATCH = 64 }; /* bytes of datagrams that may wait; packets at a time */

struct toy {
    bool is_server, over;
    struct wm_vpn *vpn;
    int transport; /* the UDP socket */
    struct sockaddr_storage peer;
    socklen_t peer_size; /* 0: nobody has been heard of yet */
};

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "toyvpn: %s: %s\n", what, *why ? why : strerror(errno));
    return -1;
}

/*
 * The socket that carries the tunnel. The VPN is for all of our user's programs, this one among them:
 * without wm_protect() its datagrams would go into the tunnel that they are to carry.
 */
static int open_transport(struct toy *t, const char *host, const char *port)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE,
                                    .ai_socktype = SOCK_DGRAM };
    struct addrinfo *a;
    int r = getaddrinfo(host, port, &hints, &a);

    if (r != 0)
        return complain(port, gai_strerror(r));
    t->transport = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(t->transport, SOL_SOCKET, SO_RCVBUF, &(int){ ROOM }, sizeof(int));
    r = wm_protect(t->transport);
    if (r == 0 && t->is_server)
        r = bind(t->transport, a->ai_addr, a->ai_addrlen);
    else if (r == 0) {
        memcpy(&t->peer, a->ai_addr, a->ai_addrlen);
        t->peer_size = a->ai_addrlen;
    }
    freeaddrinfo(a);
    return r < 0 ? complain("transport", "") : 0;
}

/* The client takes everything; IPv6, of which it says nothing, is blocked. The server takes little. */
static int describe(struct wm_vpn_builder *b, bool is_server, const char *address)
{
    int r = wm_vpn_builder_set_mtu(b, MTU);

    if (r == 0)
        r = wm_vpn_builder_add_address(b, address, 24);
    if (r == 0 && is_server)
        r = wm_vpn_builder_allow_family(b, AF_INET6);
    return r < 0 ? r
                 : wm_vpn_builder_add_route(b, is_server ? "10.9.0.0" : "0.0.0.0",
                                            is_server ? 24 : 0);
}

/* May we? Then the way around the tunnel, and then the tunnel. */
static int set_up(struct toy *t, struct wm_vpn_builder *b, char **argv)
{
    if (wm_vpn_prepare(b, WM_VPN_INTERACTIVE) < 0)
        return complain("prepare", wm_vpn_builder_get_error(b));
    if (open_transport(t, t->is_server ? NULL : argv[4], argv[t->is_server ? 4 : 5]) < 0)
        return -1;
    if (describe(b, t->is_server, argv[3]) < 0 || wm_vpn_establish(b, &t->vpn) < 0)
        return complain("establish", wm_vpn_builder_get_error(b));
    printf("%s is up\n", wm_vpn_get_interface(t->vpn));
    return fflush(stdout);
}

/* A packet of an app's, to the other side. IP promises nobody that it arrives, and neither do we. */
static bool carry_out(struct toy *t)
{
    char packet[MTU];
    ssize_t n = read(wm_vpn_get_fd(t->vpn), packet, sizeof(packet));

    if (n < 0 && errno != EAGAIN) /* somebody has deleted the interface */
        t->over = true;
    else if (n > 0 && t->peer_size > 0)
        (void)sendto(t->transport, packet, (size_t)n, 0, (struct sockaddr *)&t->peer, t->peer_size);
    return n > 0;
}

/* A packet of the other side's, to an app; the kernel refuses what is none. */
static bool carry_in(struct toy *t)
{
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    char packet[MTU];
    ssize_t n = recvfrom(t->transport, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size);

    if (n >= 0 && t->is_server) { /* the client may have moved to another address */
        t->peer = from;
        t->peer_size = size;
    }
    if (n > 0)
        (void)!write(wm_vpn_get_fd(t->vpn), packet, (size_t)n);
    return n > 0;
}

/* Another VPN came, or the administrator has had enough of us. The interface is down already. */
static void on_event(struct wm_vpn *vpn, const struct wm_vpn_event *event, void *data)
{
    (void)vpn;
    (void)complain("revoked", event->reason);
    ((struct toy *)data)->over = true;
}

/* Without waymarkd there are no events, but the tunnel goes on: it is looked for when it is time. */
static void tick(const struct toy *t, struct pollfd *events)
{
    if (!t->is_server)
        (void)sendto(t->transport, "", 0, 0, (const struct sockaddr *)&t->peer, t->peer_size);
    if (events->fd < 0 && wm_vpn_reconnect(t->vpn) == 0)
        events->fd = wm_vpn_get_event_fd(t->vpn);
}

/*
 * Until it is over, or we are told to end. Ended without a word we would have *died*, and waymarkd
 * would keep our apps off the net, lest they speak in the clear: so signals are read like all else.
 */
static int run(struct toy *t, int signals)
{
    struct pollfd p[] = { { .fd = wm_vpn_get_fd(t->vpn), .events = POLLIN },
                          { .fd = t->transport, .events = POLLIN },
                          { .fd = wm_vpn_get_event_fd(t->vpn), .events = POLLIN },
                          { .fd = signals, .events = POLLIN } };
    time_t next = 0;

    (void)wm_vpn_set_callback(t->vpn, on_event, t);
    for (; !t->over; (void)poll(p, 4, TICK * 1000)) {
        if (time(NULL) >= next) {
            tick(t, &p[2]);
            next = time(NULL) + TICK;
        }
        if (p[3].revents)
            return wm_vpn_disconnect(t->vpn) < 0 ? 1 : 0;
        if (p[2].revents && wm_vpn_dispatch(t->vpn) < 0)
            p[2].fd = -1; /* poll(2) leaves it out */
        for (int i = 0, n = 1; i < BATCH && n > 0; i++)
            n = carry_in(t) + carry_out(t);
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct toy t = { .is_server = argc == 5 && strcmp(argv[1], "server") == 0 };
    struct wm_vpn_builder *b = NULL;
    int signals, code = 1;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (!t.is_server && (argc != 6 || strcmp(argv[1], "client") != 0))
        (void)complain("usage",
                       "toyvpn server NAME ADDRESS PORT | client NAME ADDRESS SERVER PORT");
    else if (signals < 0 || wm_vpn_builder_new(argv[2], &b) < 0)
        (void)complain(argv[2], "");
    else if (set_up(&t, b, argv) == 0)
        code = run(&t, signals);
    wm_vpn_free(t.vpn);
    wm_vpn_builder_free(b);
    return code;
}
