/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "engine/minivtun/crypto.h"
#include "wire/minivtun.h"

enum {
    PASSWORD_FILE_MAX = 4096,
    MTU_MIN = 68, /* RFC 791 */
    MTU_MAX = MINIVTUN_MESSAGE_MAX - MINIVTUN_DATA_HEADER_SIZE,
    SECONDS_MAX = 10 * 365 * 86400,
};

typedef int (*option_setter)(struct options *o, const char *value, struct why *why);

struct option_row {
    char letter; /* 0: ours, with a long name only */
    const char *name;
    const char *value; /* NULL: takes none */
    option_setter set;
    const char *help;
};

/* "host:port", "[v6]:port", "host:port-port"; the host may be empty where it is to listen. */
static int set_endpoint(struct options *o, const char *value, bool range, struct why *why)
{
    const char *colon = strrchr(value, ':'), *dash;
    _cleanup_free_ char *first = NULL;
    uint32_t port, last;
    size_t n;

    if (!colon || colon[1] == '\0')
        return why_set(why, -EINVAL, "'%s' has no port: write it as HOST:PORT or [IPv6]:PORT",
                       value);
    dash = range ? strchr(colon, '-') : NULL;
    first = dash ? strndup(colon + 1, (size_t)(dash - colon - 1)) : strdup(colon + 1);
    if (!first)
        return why_set(why, -ENOMEM, "out of memory");
    if (parse_u32(first, UINT16_MAX, &port) < 0 || port == 0)
        return why_set(why, -EINVAL, "'%s' is no port, that is 1 to 65535", first);
    last = port;
    if (dash && (parse_u32(dash + 1, UINT16_MAX, &last) < 0 || last < port))
        return why_set(why, -EINVAL, "'%s' is no range of ports: write it as FIRST-LAST",
                       colon + 1);
    n = (size_t)(colon - value);
    if (n >= 2 && value[0] == '[' && value[n - 1] == ']') {
        value++;
        n -= 2;
    } else if (memchr(value, ':', n)) {
        return why_set(why, -EINVAL, "'%s': write an IPv6 address in brackets, [ADDRESS]:PORT",
                       value);
    }
    free(o->host);
    o->host = strndup(value, n);
    if (!o->host)
        return why_set(why, -ENOMEM, "out of memory");
    o->port = (uint16_t)port;
    o->port_last = (uint16_t)last;
    return 0;
}

static int set_local(struct options *o, const char *value, struct why *why)
{
    if (o->host && o->mode == MODE_CLIENT)
        return why_set(why, -EINVAL, "both -l and -r: it is a server or a client");
    o->mode = MODE_SERVER;
    return set_endpoint(o, value, false, why);
}

static int set_remote(struct options *o, const char *value, struct why *why)
{
    if (o->host && o->mode == MODE_SERVER)
        return why_set(why, -EINVAL, "both -l and -r: it is a server or a client");
    o->mode = MODE_CLIENT;
    if (value[0] == ':')
        return why_set(why, -EINVAL, "'%s' names no host: write it as HOST:PORT", value);
    return set_endpoint(o, value, true, why);
}

static int set_inner4(struct options *o, const char *value, struct why *why)
{
    const char *slash = strchr(value, '/');
    _cleanup_free_ char *address = slash ? strndup(value, (size_t)(slash - value)) : NULL;

    o->inner_peer = (struct ip_addr){ 0 };
    /* "10.7.0.2/10.7.0.1": point to point */
    if (slash && ip_addr_parse(slash + 1, &o->inner_peer) == 0) {
        if (!address)
            return why_set(why, -ENOMEM, "out of memory");
        if (o->inner_peer.family != AF_INET || ip_addr_parse(address, &o->inner[0]) < 0)
            goto bad;
        o->inner_len[0] = 32;
    } else if (routes_split(value, &o->inner[0], &o->inner_len[0]) < 0) {
        goto bad;
    }
    if (o->inner[0].family == AF_INET && minivtun_addr_is_host(&o->inner[0]))
        return 0;
bad:
    return why_set(why, -EINVAL,
                   "'%s' is no inner address: write it as 10.7.0.2/24 or 10.7.0.2/10.7.0.1", value);
}

static int set_inner6(struct options *o, const char *value, struct why *why)
{
    if (routes_split(value, &o->inner[1], &o->inner_len[1]) < 0 || o->inner[1].family != AF_INET6 ||
        !minivtun_addr_is_host(&o->inner[1]))
        return why_set(why, -EINVAL, "'%s' is no inner IPv6 address: write it as fd00::2/64",
                       value);
    return 0;
}

static int set_ifname(struct options *o, const char *value, struct why *why)
{
    if (value[0] == '\0' || strchr(value, '/') || streq(value, ".") || streq(value, "..") ||
        !str_set(o->ifname, sizeof(o->ifname), value))
        return why_set(why, -EINVAL, "'%s' is no name of an interface (1 to 15 bytes, no '/')",
                       value);
    return 0;
}

static int set_number(const char *value, uint32_t min, uint32_t max, const char *what,
                      uint32_t *ret, struct why *why)
{
    if (parse_u32(value, max, ret) < 0 || *ret < min)
        return why_set(why, -EINVAL, "'%s' is no %s, that is %u to %u", value, what, min, max);
    return 0;
}

static int set_seconds(const char *value, uint32_t min, const char *what, usec_t *ret,
                       struct why *why)
{
    uint32_t seconds = 0;
    int r = set_number(value, min, SECONDS_MAX, what, &seconds, why);

    if (r == 0)
        *ret = seconds * USEC_PER_SEC;
    return r;
}

static int set_mtu(struct options *o, const char *value, struct why *why)
{
    return set_number(value, MTU_MIN, MTU_MAX, "MTU", &o->mtu, why);
}

static int set_queue_length(struct options *o, const char *value, struct why *why)
{
    return set_number(value, 1, 1000000, "queue length", &o->queue_length, why);
}

static int set_password(struct options *o, const char *value, struct why *why)
{
    free(o->password);
    o->password = strdup(value);
    return o->password ? 0 : why_set(why, -ENOMEM, "out of memory");
}

static int set_password_file(struct options *o, const char *value, struct why *why)
{
    int r;

    free(o->password);
    o->password = NULL;
    r = fd_read_file(value, PASSWORD_FILE_MAX, &o->password, NULL);
    if (r < 0)
        return why_set(why, r, "cannot read the password from '%s': %s", value, strerror(-r));
    o->password[strcspn(o->password, "\r\n")] = '\0';
    if (o->password[0] == '\0')
        return why_set(why, -EINVAL, "the first line of '%s' is empty: it is to be the password",
                       value);
    return 0;
}

static int set_cipher(struct options *o, const char *value, struct why *why)
{
    o->cipher = value;
    return crypto_check_name(value, why);
}

static int set_route(struct options *o, const char *value, struct why *why)
{
    return routes_add(&o->routes, value, why);
}

static int set_wait_dns(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->wait_dns = true;
    return 0;
}

static int set_daemon(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->daemon = true;
    return 0;
}

static int set_tap(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->tap = true;
    return 0;
}

static int set_pidfile(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->pidfile = value;
    return 0;
}

static int set_keepalive(struct options *o, const char *value, struct why *why)
{
    return set_seconds(value, 1, "keepalive interval", &o->keepalive, why);
}

static int set_reconnect(struct options *o, const char *value, struct why *why)
{
    return set_seconds(value, 1, "reconnect timeout", &o->reconnect, why);
}

static int set_health_interval(struct options *o, const char *value, struct why *why)
{
    return set_seconds(value, 1, "interval of health", &o->health_interval, why);
}

static int set_exit_after(struct options *o, const char *value, struct why *why)
{
    return set_seconds(value, 0, "number of seconds", &o->exit_after, why);
}

static int set_buckets(struct options *o, const char *value, struct why *why)
{
    return set_number(value, 1, 1000, "number of buckets", &o->buckets, why);
}

static int set_max_drop(struct options *o, const char *value, struct why *why)
{
    return set_number(value, 0, 100, "drop rate in percent", &o->max_drop, why);
}

static int set_max_rtt(struct options *o, const char *value, struct why *why)
{
    uint32_t ms = 0;
    int r = set_number(value, 0, 3600000, "round-trip time in milliseconds", &ms, why);

    if (r == 0)
        o->max_rtt = ms * USEC_PER_MSEC;
    return r;
}

static int set_health_file(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->health_file = value;
    return 0;
}

static int set_vpn(struct options *o, const char *value, struct why *why)
{
    if (value[0] == '\0')
        return why_set(why, -EINVAL, "--waymark needs the VPN's name");
    o->vpn = value;
    return 0;
}

static int set_dns(struct options *o, const char *value, struct why *why)
{
    struct ip_addr a;

    if (ip_addr_parse(value, &a) < 0)
        return why_set(why, -EINVAL, "'%s' is no address of a DNS server", value);
    if (o->n_dns == OPTIONS_DNS_MAX)
        return why_set(why, -EINVAL, "more than %d DNS servers", OPTIONS_DNS_MAX);
    o->dns[o->n_dns++] = value;
    return 0;
}

static int set_everyone(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->everyone = true;
    return 0;
}

static int set_user(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->user = value;
    return 0;
}

static int set_no_offload(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->offload = false;
    return 0;
}

static int set_no_batch(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->batch = false;
    return 0;
}

static int set_no_sandbox(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->sandbox = false;
    return 0;
}

static int set_log_level(struct options *o, const char *value, struct why *why)
{
    if (log_level_from_string(value, &o->log_level) < 0)
        return why_set(why, -EINVAL,
                       "'%s' is no log level: use err, warning, notice, info or debug", value);
    return 0;
}

/* clang-format off */
static const struct option_row rows[] = {
    { 'l', "local", "ADDR:PORT", set_local, "be a server, and listen there" },
    { 'r', "remote", "HOST:PORT", set_remote, "be a client of that server; PORT-PORT: one of these ports" },
    { 'a', "ipv4-addr", "ADDR/LEN", set_inner4, "inner IPv4 address; ADDR/PEER: point to point" },
    { 'A', "ipv6-addr", "ADDR/LEN", set_inner6, "inner IPv6 address" },
    { 'n', "ifname", "NAME", set_ifname, "the TUN's name (default mv%d: the first that is free)" },
    { 'm', "mtu", "BYTES", set_mtu, "the TUN's MTU (default 1300)" },
    { 'Q', "qlen", "PACKETS", set_queue_length, "the TUN's queue length (default 1500)" },
    { 'e', "key", "PASSWORD", set_password, "shared password; without one nothing is encrypted" },
    { 't', "type", "CIPHER", set_cipher, "aes-128 (default), aes-256, des, desx or rc4" },
    { 'v', "route", "NET[=GATEWAY]", set_route, "route to the tunnel; server: NET is behind that client" },
    { 'w', "wait-dns", NULL, set_wait_dns, "wait until the server's name can be resolved" },
    { 'd', "daemon", NULL, set_daemon, "go into the background when all is set up" },
    { 'p', "pidfile", "FILE", set_pidfile, "write the process's number there" },
    { 'K', "keepalive", "SECONDS", set_keepalive, "between two echoes (default 7)" },
    { 'R', "reconnect-timeo", "SECONDS", set_reconnect, "without an answer until a peer is given up (default 47)" },
    { 'S', "health-interval", "SECONDS", set_health_interval, "length of a bucket (default 60)" },
    { 'B', "buckets", "NUMBER", set_buckets, "that are looked at together (default 3)" },
    { 'P', "max-droprate", "PERCENT", set_max_drop, "of lost echoes; more: reconnect (default 100)" },
    { 'X', "max-rtt", "MS", set_max_rtt, "mean round-trip time; more: reconnect (default 0: any)" },
    { 'H', "health-file", "FILE", set_health_file, "write the link's health there" },
    { 'x', "exit-after", "SECONDS", set_exit_after, "and end (default 0: never)" },
    { 'E', "tap", NULL, set_tap, "carry Ethernet frames (TAP) instead of IP packets" },
    { 0, "key-file", "FILE", set_password_file, "the password is the first line of FILE: others see -e" },
    { 0, "waymark", "NAME", set_vpn, "the TUN and all about it from waymarkd(8), as VPN NAME; needs no privileges" },
    { 0, "dns", "ADDRESS", set_dns, "--waymark: a DNS server behind the tunnel" },
    { 0, "everyone", NULL, set_everyone, "--waymark: for all users' apps, not only for one's own" },
    { 0, "user", "USER", set_user, "whom to be once all is set up (default, for root: nobody)" },
    { 0, "no-offload", NULL, set_no_offload, "one packet at a time to and from the TUN" },
    { 0, "no-batch", NULL, set_no_batch, "one datagram at a time to and from the network" },
    { 0, "no-sandbox", NULL, set_no_sandbox, "stay whom it was started as, with all system calls" },
    { 0, "log-level", "LEVEL", set_log_level, "err, warning, notice, info (default) or debug" },
};
/* clang-format on */

enum {
    FIRST_LONG = 256, /* + number of the row */
    OPTION_VERSION = FIRST_LONG + ELEMENTSOF(rows),
};

static int help(void)
{
    printf("Usage: waymark-minivtun -r HOST:PORT [-a ADDR/LEN] [OPTION]…\n"
           "       waymark-minivtun -l ADDR:PORT [-a ADDR/LEN] [OPTION]…\n"
           "Client and server of minivtun, a small UDP tunnel with a shared password.\n\n");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const struct option_row *o = &rows[i];
        char left[64], letter[8] = "    ";

        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-32s %s\n", left, o->help);
    }
    printf("      --version\n  -h, --help\n\n"
           "See waymark-minivtun(8), about what its encryption is worth, too.\n");
    return 0;
}

/* What getopt_long(3) wants, out of our rows. */
static void make_getopt(char *letters, struct option *longs)
{
    size_t n = 0;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        longs[i] = (struct option){ rows[i].name, rows[i].value ? required_argument : no_argument,
                                    NULL, (int)(FIRST_LONG + i) };
        if (!rows[i].letter)
            continue;
        letters[n++] = rows[i].letter;
        if (rows[i].value)
            letters[n++] = ':';
    }
    letters[n++] = 'h';
    letters[n] = '\0';
    longs[ELEMENTSOF(rows)] = (struct option){ "version", no_argument, NULL, OPTION_VERSION };
    longs[ELEMENTSOF(rows) + 1] = (struct option){ "help", no_argument, NULL, 'h' };
    longs[ELEMENTSOF(rows) + 2] = (struct option){ 0 };
}

static const struct option_row *row_of(int c)
{
    if (c >= FIRST_LONG)
        return &rows[c - FIRST_LONG];
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].letter && rows[i].letter == c)
            return &rows[i];
    return NULL;
}

/* What no option can see alone. */
static int check(struct options *o, struct why *why)
{
    if (!o->host)
        return why_set(why, -EINVAL,
                       "neither -r HOST:PORT (client) nor -l ADDR:PORT (server): see --help");
    if (!o->vpn && (o->n_dns > 0 || o->everyone))
        return why_set(why, -EINVAL, "--dns and --everyone need --waymark");
    if (o->mode == MODE_SERVER && o->vpn)
        return why_set(why, -EINVAL, "--waymark is for clients (-r)");
    if (o->vpn && o->tap)
        return why_set(why, -EINVAL, "--waymark and -E: a VPN carries IP packets, no frames");
    if (o->vpn && !ip_addr_is_set(&o->inner[0]) && !ip_addr_is_set(&o->inner[1]))
        return why_set(why, -EINVAL, "--waymark needs an inner address (-a, -A)");
    if (o->tap && o->mtu > MTU_MAX - MINIVTUN_FRAME_HEADER_SIZE)
        return why_set(why, -EINVAL, "'%u' is no MTU of a TAP, that is %u to %u", o->mtu, MTU_MIN,
                       MTU_MAX - MINIVTUN_FRAME_HEADER_SIZE);
    if (ip_addr_is_set(&o->inner[1]) && o->mtu < 1280)
        return why_set(why, -EINVAL, "IPv6 (-A) needs an MTU of 1280 or more, not %u", o->mtu);
    for (size_t i = 0; i < o->routes.n; i++)
        if (o->mode == MODE_CLIENT && ip_addr_is_set(&o->routes.items[i].gateway))
            return why_set(why, -EINVAL,
                           "-v NET=GATEWAY is for servers (-l): a client has one way");
    if (o->reconnect <= o->keepalive)
        log_warning("-R is not longer than -K: one echo that is lost ends the connection");
    return 0;
}

/* Others see the command line (ps): what is behind -e is wiped. */
static void wipe(char *value)
{
    explicit_bzero(value, strlen(value));
}

static int take(int argc, char **argv, struct options *o, struct why *why)
{
    char letters[2 * ELEMENTSOF(rows) + 2];
    struct option longs[ELEMENTSOF(rows) + 3];
    int c, r;

    make_getopt(letters, longs);
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
        const struct option_row *row;

        if (c == 'h')
            return help();
        if (c == OPTION_VERSION) {
            printf("waymark-minivtun %s\n", WAYMARK_VERSION);
            return 0;
        }
        if (c == '?')
            return -EINVAL; /* getopt has said why */
        row = row_of(c);
        if (!row)
            return -EINVAL;
        r = row->set(o, optarg, why);
        if (r < 0)
            return r;
        if (row->set == set_password)
            wipe(optarg);
    }
    if (optind < argc)
        return why_set(why, -EINVAL, "it takes options only: '%s'", argv[optind]);
    r = check(o, why);
    return r < 0 ? r : 1;
}

int options_parse(int argc, char **argv, struct options *ret)
{
    _cleanup_options_ struct options o = {
        .ifname = "mv%d",
        .mtu = 1300,
        .queue_length = 1500,
        .cipher = "aes-128",
        .keepalive = 7 * USEC_PER_SEC,
        .reconnect = 47 * USEC_PER_SEC,
        .health_interval = 60 * USEC_PER_SEC,
        .buckets = 3,
        .max_drop = 100,
        .offload = true,
        .batch = true,
        .sandbox = true,
        .log_level = LOG_INFO,
    };
    struct why why = { 0 };
    int r = take(argc, argv, &o, &why);

    if (r < 0) {
        if (why.error < 0)
            log_error("%s", why.text);
        return -EINVAL;
    }
    if (r == 0)
        return 0;
    log_set_max_level(o.log_level);
    *ret = o;
    o = (struct options){ 0 };
    return 1;
}

void options_done(struct options *o)
{
    free(o->host);
    if (o->password)
        explicit_bzero(o->password, strlen(o->password));
    free(o->password);
    routes_done(&o->routes);
    *o = (struct options){ 0 };
}
