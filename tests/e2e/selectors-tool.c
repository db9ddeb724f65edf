/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/observe/selectors and process on a line, for e2e/test_selectors.py. Each line on standard input
 * is a command, answered by one of JSON:
 *
 *   update SELECTOR…    {"result": N, "apps": {SELECTOR: [[dev, id]…]}}
 *   dispatch, scan, refresh            the same
 *   process PID         {"result": N, "uid": N, "cgroup": …, "cgroup_id": N, "exe": [dev, ino],
 *                        "holds": what app_decide() says, "step": …}
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "basic/parse.h"
#include "observe/process.h"
#include "observe/selectors.h"

enum { PATIENCE = 20000 /* ms */ };

struct tool {
    struct selectors *s;
    struct assignments *all;
    struct cgroups cgroups;
};

static int update(struct tool *t, char *words)
{
    struct assignments *all = assignments_new();
    size_t twice;
    int r = all ? 0 : -ENOMEM;

    for (char *save = NULL, *word = strtok_r(words, " ", &save); r == 0 && word;
         word = strtok_r(NULL, " ", &save)) {
        struct assignment a = { 0 };

        r = selector_parse(word, &a.selector, NULL);
        if (r == 0)
            r = assignments_push(all, &a);
    }
    if (r == 0)
        r = assignments_sort(all, &twice);
    if (r == 0)
        r = selectors_update(t->s, all);
    assignments_unref(t->all);
    t->all = all;
    return r;
}

/* Waits for something to happen first: the caller knows that it will. */
static int dispatch(struct tool *t)
{
    struct pollfd fd = { .fd = selectors_fd(t->s), .events = POLLIN };

    return poll(&fd, 1, PATIENCE) == 1 ? selectors_dispatch(t->s) : -ETIMEDOUT;
}

static void print_apps(const struct tool *t, int result)
{
    printf("{\"result\": %d, \"apps\": {", result);
    for (size_t i = 0; i < t->all->n; i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        size_t n;
        const struct plan_app *apps = selectors_of(t->s, i, &n);

        selector_print(&t->all->items[i].selector, &b);
        printf("%s\"%s\": [", i > 0 ? ", " : "", strbuf_text(&b));
        for (size_t j = 0; j < n; j++)
            printf("%s[%ju, %ju]", j > 0 ? ", " : "", (uintmax_t)apps[j].dev,
                   (uintmax_t)apps[j].id);
        printf("]");
    }
    printf("}}\n");
}

static void print_process(const struct tool *t, const char *word)
{
    _cleanup_process_ struct process p = { 0 };
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    const struct app_exe *exes;
    struct app_verdict v = { 0 };
    uint32_t pid = 0;
    size_t n;
    int r = parse_u32(word, UINT32_MAX, &pid);

    if (r == 0)
        r = process_read(&t->cgroups, pid, &p, NULL);
    if (r == 0)
        r = selectors_exes(t->s, &exes, &n);
    if (r == 0) {
        struct app app = { .uid = p.uid,
                           .cgroup = p.cgroup,
                           .exe = p.exe,
                           .exe_dev = p.exe_id.dev,
                           .exe_ino = p.exe_id.ino };

        r = app_decide(t->all, exes, n, &app, &v);
    }
    if (v.assignment)
        selector_print(&v.assignment->selector, &b);
    printf("{\"result\": %d, \"uid\": %u, \"cgroup\": \"%s\", \"cgroup_id\": %ju, "
           "\"exe\": [%ju, %ju], \"holds\": \"%s\", \"step\": \"%s\"}\n",
           r, p.uid, p.cgroup ? p.cgroup : "", (uintmax_t)p.cgroup_id, (uintmax_t)p.exe_id.dev,
           (uintmax_t)p.exe_id.ino, strbuf_text(&b), app_step_to_string(v.step));
}

static void run(struct tool *t, char *line)
{
    char *words = strchr(line, ' ');

    if (words)
        *words++ = '\0';
    if (streq(line, "process"))
        print_process(t, words ? words : "");
    else if (streq(line, "update"))
        print_apps(t, update(t, words ? words : line + strlen(line)));
    else if (streq(line, "dispatch"))
        print_apps(t, dispatch(t));
    else if (streq(line, "scan"))
        print_apps(t, selectors_scan(t->s));
    else if (streq(line, "refresh"))
        print_apps(t, selectors_refresh(t->s));
    (void)fflush(stdout);
}

int main(void)
{
    struct tool t = { .all = assignments_new(), .cgroups = CGROUPS_CLOSED };
    char line[65536];
    int r = t.all ? selectors_open(&t.s) : -ENOMEM;

    if (r == 0)
        r = cgroups_open(&t.cgroups, NULL);
    while (r == 0 && fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        run(&t, line);
    }
    cgroups_close(&t.cgroups);
    if (t.s)
        selectors_close(t.s);
    assignments_unref(t.all);
    return r == 0 ? 0 : 1;
}
