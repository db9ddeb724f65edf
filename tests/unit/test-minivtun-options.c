/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/engine/minivtun/options: what each option sets, by its letter and by its name. What is wrong, and what
 * comes of what is right, is in e2e/test_minivtun_options.py.
 */

#include "unit/check.h"

#include <stdio.h>

#include "basic/log.h"
#include "basic/strbuf.h"
#include "engine/minivtun/options.h"
#include "unit/capture.h"

enum { WORDS_MAX = 10, TEXT_MAX = 4096 };

#define R "-r", "h:9"

/* clang-format off */
static const struct {
    const char *words[WORDS_MAX];
    const char *expected; /* what is not as by default */
} rows[] = {
    { { "-r", "h:9" }, "client h 9-9" },
    { { "--remote", "[fd00::1]:3-7" }, "client fd00::1 3-7" },
    { { "-l", ":9" }, "server  9-9" },
    { { "--local=0.0.0.0:65535" }, "server 0.0.0.0 65535-65535" },
    { { "-r", "a:1", "-r", "b:2" }, "client b 2-2" },
    { { R, "-a", "10.7.0.2/24" }, "client h 9-9 10.7.0.2/24" },
    { { R, "--ipv4-addr", "10.7.0.2/10.7.0.1" }, "client h 9-9 10.7.0.2/32 peer 10.7.0.1" },
    { { R, "-A", "fd00::2/64" }, "client h 9-9 fd00::2/64" },
    { { R, "--ipv6-addr", "fd00::2" }, "client h 9-9 fd00::2/128" },
    { { R, "-n", "x" }, "client h 9-9 ifname=x" },
    { { R, "--ifname", "0123456789abcde" }, "client h 9-9 ifname=0123456789abcde" },
    { { R, "-m", "68" }, "client h 9-9 mtu=68" },
    { { R, "--mtu", "8168" }, "client h 9-9 mtu=8168" },
    { { R, "-Q", "1" }, "client h 9-9 qlen=1" },
    { { R, "--qlen", "1000000" }, "client h 9-9 qlen=1000000" },
    { { R, "-e", "secret" }, "client h 9-9 password=secret" },
    { { R, "--key", "a", "-eb" }, "client h 9-9 password=b" },
    { { R, "-t", "rc4" }, "client h 9-9 cipher=rc4" },
    { { R, "--type", "aes-256" }, "client h 9-9 cipher=aes-256" },
    { { R, "-v", "10.0.0.0/8", "--route", "fd00::/8" }, "client h 9-9 routes=2" },
    { { "-l", "h:9", "-v", "10.0.0.0/8=10.1.1.1" }, "server h 9-9 routes=1" },
    { { R, "-w" }, "client h 9-9 wait-dns" },
    { { R, "--wait-dns", "-d" }, "client h 9-9 wait-dns daemon" },
    { { R, "--daemon", "-E" }, "client h 9-9 daemon tap" },
    { { R, "--tap", "-p", "/p" }, "client h 9-9 tap pidfile=/p" },
    { { R, "--pidfile", "/p" }, "client h 9-9 pidfile=/p" },
    { { R, "-K", "1" }, "client h 9-9 keepalive=1000000" },
    { { R, "--keepalive", "46" }, "client h 9-9 keepalive=46000000" },
    { { R, "-R", "8" }, "client h 9-9 reconnect=8000000" },
    { { R, "--reconnect-timeo", "315360000" }, "client h 9-9 reconnect=315360000000000" },
    { { R, "-S", "1" }, "client h 9-9 health-interval=1000000" },
    { { R, "--health-interval", "2" }, "client h 9-9 health-interval=2000000" },
    { { R, "-B", "1" }, "client h 9-9 buckets=1" },
    { { R, "--buckets", "1000" }, "client h 9-9 buckets=1000" },
    { { R, "-P", "0" }, "client h 9-9 max-droprate=0" },
    { { R, "--max-droprate", "99" }, "client h 9-9 max-droprate=99" },
    { { R, "-X", "1" }, "client h 9-9 max-rtt=1000" },
    { { R, "--max-rtt", "3600000" }, "client h 9-9 max-rtt=3600000000" },
    { { R, "-H", "/h" }, "client h 9-9 health-file=/h" },
    { { R, "--health-file", "/h" }, "client h 9-9 health-file=/h" },
    { { R, "-x", "1" }, "client h 9-9 exit-after=1000000" },
    { { R, "--exit-after", "2" }, "client h 9-9 exit-after=2000000" },
    { { "-wdErh:9" }, "client h 9-9 wait-dns daemon tap" },
    { { R, "--waymark", "v", "-a10.0.0.1/8", "--dns", "1.1.1.1", "--dns=::1", "--everyone" },
      "client h 9-9 10.0.0.1/8 waymark=v dns=1.1.1.1 dns=::1 everyone" },
    { { R, "--user", "u" }, "client h 9-9 user=u" },
    { { R, "--no-offload" }, "client h 9-9 no-offload" },
    { { R, "--no-batch" }, "client h 9-9 no-batch" },
    { { R, "--no-sandbox" }, "client h 9-9 no-sandbox" },
    { { R, "--log-level", "err" }, "client h 9-9 log-level=3" },
};
/* clang-format on */

static void say_text(struct strbuf *b, const char *name, const char *value, const char *usual)
{
    if (value && (!usual || !streq(value, usual)))
        strbuf_add(b, " %s=%s", name, value);
}

static void say_number(struct strbuf *b, const char *name, uint64_t value, uint64_t usual)
{
    if (value != usual)
        strbuf_add(b, " %s=%llu", name, (unsigned long long)value);
}

static void say_true(struct strbuf *b, const char *name, bool value)
{
    if (value)
        strbuf_add(b, " %s", name);
}

static void say_addresses(struct strbuf *b, const struct options *o)
{
    char text[IP_TEXT_MAX];

    for (int i = 0; i < 2; i++)
        if (ip_addr_is_set(&o->inner[i]))
            strbuf_add(b, " %s/%u", ip_addr_format(&o->inner[i], text), o->inner_len[i]);
    if (ip_addr_is_set(&o->inner_peer))
        strbuf_add(b, " peer %s", ip_addr_format(&o->inner_peer, text));
}

static void say(struct strbuf *b, const struct options *o)
{
    strbuf_add(b, "%s %s %u-%u", o->mode == MODE_SERVER ? "server" : "client", o->host, o->port,
               o->port_last);
    say_addresses(b, o);
    say_text(b, "ifname", o->ifname, "mv%d");
    say_number(b, "mtu", o->mtu, 1300);
    say_number(b, "qlen", o->queue_length, 1500);
    say_text(b, "password", o->password, NULL);
    say_text(b, "cipher", o->cipher, "aes-128");
    say_number(b, "routes", o->routes.n, 0);
    say_true(b, "wait-dns", o->wait_dns);
    say_true(b, "daemon", o->daemon);
    say_true(b, "tap", o->tap);
    say_text(b, "pidfile", o->pidfile, NULL);
    say_number(b, "keepalive", o->keepalive, 7 * USEC_PER_SEC);
    say_number(b, "reconnect", o->reconnect, 47 * USEC_PER_SEC);
    say_number(b, "health-interval", o->health_interval, 60 * USEC_PER_SEC);
    say_number(b, "buckets", o->buckets, 3);
    say_number(b, "max-droprate", o->max_drop, 100);
    say_number(b, "max-rtt", o->max_rtt, 0);
    say_text(b, "health-file", o->health_file, NULL);
    say_number(b, "exit-after", o->exit_after, 0);
    say_text(b, "waymark", o->vpn, NULL);
    for (size_t i = 0; i < o->n_dns; i++)
        say_text(b, "dns", o->dns[i], NULL);
    say_true(b, "everyone", o->everyone);
    say_text(b, "user", o->user, NULL);
    say_true(b, "no-offload", !o->offload);
    say_true(b, "no-batch", !o->batch);
    say_true(b, "no-sandbox", !o->sandbox);
    say_number(b, "log-level", (uint64_t)o->log_level, LOG_INFO);
}

static void test_rows(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_options_ struct options o = { 0 };
        _cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
        char *argv[CAPTURE_ARGV_MAX + 1], printed[TEXT_MAX];
        int argc = capture_argv("waymark-minivtun", rows[i].words, argv), r;
        struct capture c;

        capture_begin(&c);
        r = options_parse(argc, argv, &o);
        capture_end(&c, printed, sizeof(printed));
        CHECK_TEXT(rows[i].expected, printed, "");
        CHECK_INT(rows[i].expected, r, 1);
        if (r == 1)
            say(&got, &o);
        CHECK_TEXT(rows[i].expected, strbuf_text(&got), rows[i].expected);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return RUN_TESTS(tests);
}
