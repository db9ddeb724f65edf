/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/netns.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "basic/log.h"
#include "basic/strbuf.h"

/* Those lines that begin with "-6 " (without it), or the others. */
static void run_family(const char *lines, bool six, bool force)
{
    char command[64];
    FILE *f;

    snprintf(command, sizeof(command), "ip %s %s -batch - >/dev/null %s", six ? "-6" : "",
             force ? "-force" : "", force ? "2>&1" : "");
    f = popen(command, "w");
    for (const char *line = lines; f && *line; line += strcspn(line, "\n") + 1) {
        bool line_six = startswith(line, "-6 ");
        const char *text = line_six || startswith(line, "-4 ") ? line + 3 : line;

        if (line_six == six)
            (void)fprintf(f, "%.*s\n", (int)strcspn(text, "\n"), text);
        if (line[strcspn(line, "\n")] == '\0')
            break;
    }
    if (!f || (pclose(f) != 0 && !force)) {
        log_error("ip -batch failed on:\n%s", lines);
        abort();
    }
}

void netns_ip(const char *lines, bool force)
{
    run_family(lines, false, force);
    run_family(lines, true, force);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

void netns_enter(unsigned n_links)
{
    struct strbuf b = STRBUF_INIT;

    if (unshare(CLONE_NEWNET) < 0) {
        log_error_errno(-errno, "cannot make a network namespace (are you root?)");
        abort();
    }
    write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    write_file("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
    strbuf_add(&b, "link set lo up\n");
    for (unsigned i = 0; i < n_links; i++) {
        strbuf_add(&b, "link add eth%u type veth peer name peer%u\n", i, i);
        strbuf_add(&b, "link set eth%u up\nlink set peer%u up\n", i, i);
        strbuf_add(&b, "addr add 10.0.%u.2/24 dev eth%u\n", i, i);
        strbuf_add(&b, "addr add fd00:%u::2/64 dev eth%u nodad\n", i, i);
    }

    if (n_links > 0)
        strbuf_add(&b, "route add default via 10.0.0.1\n-6 route add default via fd00:0::1\n");
    if (n_links > 1) {
        strbuf_add(&b, "route add default via 10.0.1.1 metric 50\n");
        strbuf_add(&b, "route add 172.16.0.0/12 via 10.0.1.9 mtu 1300\n");
        strbuf_add(&b, "-6 route add default via fd00:1::1 metric 90\n");
    }

    netns_ip(strbuf_text(&b), false);
    strbuf_done(&b);
}

void netns_snapshot(struct observer *o, struct kernel *ret)
{
    int r = observer_snapshot(o, ret);

    if (r < 0) {
        log_error_errno(r, "cannot read the kernel's state");
        abort();
    }
}
