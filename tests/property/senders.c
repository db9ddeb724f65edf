/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/senders.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/ethernet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/log.h"
#include "property/senders-internal.h"

/* What a sender is told; it answers with a byte. */
enum order { ORDER_ROUND, ORDER_RELEASE, ORDER_HOLD /* + when */ };

/* Before all nothing is in the way; later the guard may be, and a SYN that it drops says nothing. */
static const int hold_msec[HOLD_MAX] = { [HOLD_BEFORE_ALL] = 200, [HOLD_BEFORE_CHANGE] = 6 };

const char *send_kind_to_string(enum send_kind kind)
{
    static const char *const names[SEND_KIND_MAX] = {
        [SEND_UDP] = "udp",
        [SEND_UDP_CONNECTED] = "udp connected",
        [SEND_TCP] = "tcp",
        [SEND_PING] = "ping",
        [SEND_DEVICE_UDP] = "SO_BINDTODEVICE udp",
        [SEND_DEVICE_TCP] = "SO_BINDTODEVICE tcp",
        [SEND_PKTINFO] = "PKTINFO",
        [SEND_DONTROUTE] = "MSG_DONTROUTE",
        [SEND_MULTICAST] = "multicast",
        [SEND_SOURCE] = "multicast by source",
        [SEND_BROADCAST] = "broadcast",
        [SEND_MARK] = "SO_MARK",
        [SEND_HELD_UDP] = "held udp connected",
        [SEND_HELD_TCP] = "held tcp",
        [SEND_HELD_DEVICE_UDP] = "held SO_BINDTODEVICE udp",
        [SEND_HELD_DEVICE_TCP] = "held SO_BINDTODEVICE tcp",
    };

    return names[kind];
}

/*
 * Becomes the user, but for CAP_NET_ADMIN: whoever has a marked socket got it from somebody with that
 * (fwmarkd), and routing and the guard look at the uid alone.
 */
static bool become(uint32_t uid)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        { .effective = 1U << CAP_NET_ADMIN, .permitted = 1U << CAP_NET_ADMIN }
    };

    return prctl(PR_SET_KEEPCAPS, 1) == 0 && setgroups(0, NULL) == 0 &&
           setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0 &&
           (uid == 0 || syscall(SYS_capset, &header, data) == 0) &&
           prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

_noreturn_ static void sender_main(const struct self *me, int in, int out)
{
    struct held_set held[HOLD_MAX] = { { .n = 0 } };
    uint8_t c;

    if (!become(me->s->items[me->index].uid))
        _exit(1);
    while (read(in, &c, 1) == 1) {
        unsigned established = 0;

        if (c == ORDER_ROUND) {
            for (int i = 0; i < HOLD_MAX; i++)
                held_send(&held[i], me);
            send_round(me);
        } else if (c == ORDER_RELEASE) {
            for (int i = 0; i < HOLD_MAX; i++)
                held_close(&held[i]);
        } else
            established = held_open(&held[c - ORDER_HOLD], me, hold_msec[c - ORDER_HOLD]);
        c = (uint8_t)established;
        if (write(out, &c, 1) != 1)
            break;
    }
    _exit(0);
}

static void start_one(struct senders *s, unsigned index)
{
    struct self me = { .s = s, .index = index };
    int to[2], from[2];

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        abort();
    s->items[index].pid = fork();
    if (s->items[index].pid < 0)
        abort();
    if (s->items[index].pid == 0) {
        (void)close(to[1]); /* or it would never see the end of its input */
        sender_main(&me, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    s->items[index].to = to[1];
    s->items[index].from = from[0];
}

/* Takes in connections, and nothing else: answers to the rest would only be noise. */
static void start_far_end(void *data)
{
    struct senders *s = data;

    if (system("nft 'table inet far { chain in { type filter hook input priority 0; policy drop; "
               "tcp dport 19000-19099 accept; }; }'") != 0)
        abort();
    s->far = fork();
    if (s->far < 0)
        abort();
    if (s->far == 0)
        held_accept();
}

static void open_capture(struct senders *s)
{
    int size = 32 << 20, on = 1;

    s->capture = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (s->capture < 0 || setsockopt(s->capture, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
        abort();
    (void)setsockopt(s->capture, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
}

void senders_start(struct senders *s, const struct world *w, const struct kernel *k,
                   const uint32_t *uids, unsigned n)
{
    memset(s, 0, sizeof(*s));
    s->n_links = w->n_links;
    s->links = mmap(NULL, WORLD_LINKS_MAX * sizeof(*s->links), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->links == MAP_FAILED)
        abort();
    senders_see_links(s, w, k);
    world_at_far_end(w, start_far_end, s);
    open_capture(s);
    s->n = n;
    for (unsigned i = 0; i < n; i++)
        s->items[i].uid = uids[i];
    for (unsigned i = 0; i < n; i++)
        start_one(s, i);
}

void senders_stop(struct senders *s)
{
    /* a later process holds copies of the pipes of earlier ones: all are closed before any is waited for */
    for (unsigned i = 0; i < s->n; i++) {
        (void)close(s->items[i].to);
        (void)close(s->items[i].from);
    }
    for (unsigned i = 0; i < s->n; i++)
        (void)waitpid(s->items[i].pid, NULL, 0);
    (void)kill(s->far, SIGKILL);
    (void)waitpid(s->far, NULL, 0);
    (void)close(s->capture);
    (void)munmap(s->links, WORLD_LINKS_MAX * sizeof(*s->links));
}

void senders_see_links(struct senders *s, const struct world *w, const struct kernel *k)
{
    for (unsigned i = 0; i < s->n_links; i++)
        s->links[i] = world_ifindex(w, k, i);
}

/* Orders all to do it at once and waits for them; returns the sum of the answers. */
static unsigned order_all(struct senders *s, unsigned order)
{
    uint8_t c = (uint8_t)order;
    unsigned sum = 0;

    for (unsigned i = 0; i < s->n; i++)
        if (write(s->items[i].to, &c, 1) != 1)
            abort();
    for (unsigned i = 0; i < s->n; i++) {
        if (read(s->items[i].from, &c, 1) != 1)
            abort();
        sum += c;
    }
    return sum;
}

void senders_round(struct senders *s)
{
    (void)order_all(s, ORDER_ROUND);
}

unsigned senders_hold(struct senders *s, enum hold hold)
{
    return order_all(s, ORDER_HOLD + hold);
}

void senders_release(struct senders *s)
{
    (void)order_all(s, ORDER_RELEASE);
}
