/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/options.h"

#include <errno.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "basic/settings.h"
#include "engine/minivtun/crypto.h"
#include "wire/minivtun.h"

enum {
    PASSWORD_FILE_MAX = 4096,
    MTU_MIN = 68, /* RFC 791 */
    MTU_MAX = MINIVTUN_MESSAGE_MAX - MINIVTUN_DATA_HEADER_SIZE,
    SECONDS_MAX = 10 * 365 * 86400,
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

static int set_local(const struct setting_to *to, void *options, const char *value, struct why *why)
{
    struct options *o = options;

    (void)to;
    if (o->host && o->mode == MODE_CLIENT)
        return why_set(why, -EINVAL, "both -l and -r: it is a server or a client");
    o->mode = MODE_SERVER;
    return set_endpoint(o, value, false, why);
}

static int set_remote(const struct setting_to *to, void *options, const char *value,
                      struct why *why)
{
    struct options *o = options;

    (void)to;
    if (o->host && o->mode == MODE_SERVER)
        return why_set(why, -EINVAL, "both -l and -r: it is a server or a client");
    o->mode = MODE_CLIENT;
    if (value[0] == ':')
        return why_set(why, -EINVAL, "'%s' names no host: write it as HOST:PORT", value);
    return set_endpoint(o, value, true, why);
}

static int set_inner4(const struct setting_to *to, void *options, const char *value,
                      struct why *why)
{
    struct options *o = options;
    const char *slash = strchr(value, '/');
    _cleanup_free_ char *address = slash ? strndup(value, (size_t)(slash - value)) : NULL;

    (void)to;
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

static int set_inner6(const struct setting_to *to, void *options, const char *value,
                      struct why *why)
{
    struct options *o = options;

    (void)to;
    if (routes_split(value, &o->inner[1], &o->inner_len[1]) < 0 || o->inner[1].family != AF_INET6 ||
        !minivtun_addr_is_host(&o->inner[1]))
        return why_set(why, -EINVAL, "'%s' is no inner IPv6 address: write it as fd00::2/64",
                       value);
    return 0;
}

static int set_ifname(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    if (value[0] == '\0' || strchr(value, '/') || streq(value, ".") || streq(value, "..") ||
        !str_set(field, to->size, value))
        return why_set(why, -EINVAL, "'%s' is no name of an interface (1 to 15 bytes, no '/')",
                       value);
    return 0;
}

static int set_password_file(const struct setting_to *to, void *field, const char *value,
                             struct why *why)
{
    _cleanup_free_ char *password = NULL;
    size_t size = 0;
    int r = fd_read_file(value, PASSWORD_FILE_MAX, &password, &size);

    if (r < 0)
        return why_set(why, r, "cannot read the password from '%s': %s", value, strerror(-r));
    password[strcspn(password, "\r\n")] = '\0';
    if (password[0] == '\0')
        return why_set(why, -EINVAL, "the first line of '%s' is empty: it is to be the password",
                       value);
    r = setting_secret(to, field, password, why);
    explicit_bzero(password, size);
    return r;
}

static int set_cipher(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    int r = crypto_check_name(value, why);

    return r < 0 ? r : setting_borrowed(to, field, value, why);
}

static int set_route(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    (void)to;
    return routes_add(field, value, why);
}

static int set_vpn(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    if (value[0] == '\0')
        return why_set(why, -EINVAL, "--waymark needs the VPN's name");
    return setting_borrowed(to, field, value, why);
}

static int set_dns(const struct setting_to *to, void *options, const char *value, struct why *why)
{
    struct options *o = options;
    struct ip_addr a;

    (void)to;
    if (ip_addr_parse(value, &a) < 0)
        return why_set(why, -EINVAL, "'%s' is no address of a DNS server", value);
    if (o->n_dns == OPTIONS_DNS_MAX)
        return why_set(why, -EINVAL, "more than %d DNS servers", OPTIONS_DNS_MAX);
    o->dns[o->n_dns++] = value;
    return 0;
}

/* What no option can see alone. */
static int check(void *options, struct why *why)
{
    const struct options *o = options;

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

/* clang-format off */
static const struct setting rows[] = {
    { 'l', "local", NULL, "ADDR:PORT", "be a server, and listen there",
      SETTING_WHOLE(set_local) },
    { 'r', "remote", NULL, "HOST:PORT", "be a client of that server; PORT-PORT: one of these ports",
      SETTING_WHOLE(set_remote) },
    { 'a', "ipv4-addr", NULL, "ADDR/LEN", "inner IPv4 address; ADDR/PEER: point to point",
      SETTING_WHOLE(set_inner4) },
    { 'A', "ipv6-addr", NULL, "ADDR/LEN", "inner IPv6 address",
      SETTING_WHOLE(set_inner6) },
    { 'n', "ifname", NULL, "NAME", "the TUN's name (default mv%d: the first that is free)",
      SETTING(struct options, ifname, set_ifname) },
    { 'm', "mtu", NULL, "BYTES", "the TUN's MTU (default 1300)",
      SETTING_NUMBER(struct options, mtu, MTU_MIN, MTU_MAX, 1, "MTU") },
    { 'Q', "qlen", NULL, "PACKETS", "the TUN's queue length (default 1500)",
      SETTING_NUMBER(struct options, queue_length, 1, 1000000, 1, "queue length") },
    { 'e', "key", NULL, "PASSWORD", "shared password; without one nothing is encrypted",
      SETTING_SECRET(struct options, password) },
    { 't', "type", NULL, "CIPHER", "aes-128 (default), aes-256, des, desx or rc4",
      SETTING(struct options, cipher, set_cipher) },
    { 'v', "route", NULL, "NET[=GATEWAY]", "route to the tunnel; server: NET is behind that client",
      SETTING(struct options, routes, set_route) },
    { 'w', "wait-dns", NULL, NULL, "wait until the server's name can be resolved",
      SETTING_FLAG(struct options, wait_dns, true) },
    { 'd', "daemon", NULL, NULL, "go into the background when all is set up",
      SETTING_FLAG(struct options, daemon, true) },
    { 'p', "pidfile", NULL, "FILE", "write the process's number there",
      SETTING_STRING(struct options, pidfile) },
    { 'K', "keepalive", NULL, "SECONDS", "between two echoes (default 7)",
      SETTING_NUMBER(struct options, keepalive, 1, SECONDS_MAX, USEC_PER_SEC, "keepalive interval") },
    { 'R', "reconnect-timeo", NULL, "SECONDS", "without an answer until a peer is given up (default 47)",
      SETTING_NUMBER(struct options, reconnect, 1, SECONDS_MAX, USEC_PER_SEC, "reconnect timeout") },
    { 'S', "health-interval", NULL, "SECONDS", "length of a bucket (default 60)",
      SETTING_NUMBER(struct options, health_interval, 1, SECONDS_MAX, USEC_PER_SEC, "interval of health") },
    { 'B', "buckets", NULL, "NUMBER", "that are looked at together (default 3)",
      SETTING_NUMBER(struct options, buckets, 1, 1000, 1, "number of buckets") },
    { 'P', "max-droprate", NULL, "PERCENT", "of lost echoes; more: reconnect (default 100)",
      SETTING_NUMBER(struct options, max_drop, 0, 100, 1, "drop rate in percent") },
    { 'X', "max-rtt", NULL, "MS", "mean round-trip time; more: reconnect (default 0: any)",
      SETTING_NUMBER(struct options, max_rtt, 0, 3600000, USEC_PER_MSEC, "round-trip time in milliseconds") },
    { 'H', "health-file", NULL, "FILE", "write the link's health there",
      SETTING_STRING(struct options, health_file) },
    { 'x', "exit-after", NULL, "SECONDS", "and end (default 0: never)",
      SETTING_NUMBER(struct options, exit_after, 0, SECONDS_MAX, USEC_PER_SEC, "number of seconds") },
    { 'E', "tap", NULL, NULL, "carry Ethernet frames (TAP) instead of IP packets",
      SETTING_FLAG(struct options, tap, true) },
    { 0, "key-file", NULL, "FILE", "the password is the first line of FILE: others see -e",
      SETTING(struct options, password, set_password_file) },
    { 0, "waymark", NULL, "NAME", "the TUN and all about it from waymarkd(8), as VPN NAME; needs no privileges",
      SETTING(struct options, vpn, set_vpn) },
    { 0, "dns", NULL, "ADDRESS", "--waymark: a DNS server behind the tunnel",
      SETTING_WHOLE(set_dns) },
    { 0, "everyone", NULL, NULL, "--waymark: for all users' apps, not only for one's own",
      SETTING_FLAG(struct options, everyone, true) },
    { 0, "user", NULL, "USER", "whom to be once all is set up (default, for root: nobody)",
      SETTING_STRING(struct options, user) },
    { 0, "no-offload", NULL, NULL, "one packet at a time to and from the TUN",
      SETTING_FLAG(struct options, offload, false) },
    { 0, "no-batch", NULL, NULL, "one datagram at a time to and from the network",
      SETTING_FLAG(struct options, batch, false) },
    { 0, "no-sandbox", NULL, NULL, "stay whom it was started as, with all system calls",
      SETTING_FLAG(struct options, sandbox, false) },
    { 0, "log-level", NULL, "LEVEL", "err, warning, notice, info (default) or debug",
      SETTING_LOG_LEVEL(struct options, log_level) },
};
/* clang-format on */

static const struct settings settings = {
    .program = "waymark-minivtun",
    .usage = "Usage: waymark-minivtun -r HOST:PORT [-a ADDR/LEN] [OPTION]…\n"
             "       waymark-minivtun -l ADDR:PORT [-a ADDR/LEN] [OPTION]…\n"
             "Client and server of minivtun, a small UDP tunnel with a shared password.\n\n",
    .end = "\nSee waymark-minivtun(8), about what its encryption is worth, too.\n",
    .no_arguments = "it takes options only",
    .rows = rows,
    .n = ELEMENTSOF(rows),
    .check = check,
};

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
    int r = settings_take(&settings, argc, argv, &o);

    if (r <= 0)
        return r;
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
