/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/explain-question.h"

#include <errno.h>
#include <stdio.h>

#include "observe/selectors.h"
#include "observe/units.h"
#include "observe/users.h"

/* The keys. */

static int read_uid(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "u", &q->flow.uid);
}

static int read_user(sd_bus_message *msg, struct question *q, struct why *why)
{
    const char *name;
    int r = sd_bus_message_read(msg, "v", "s", &name);

    return r < 0 ? r : users_uid_of_name(name, &q->flow.uid, why);
}

static int read_pid(sd_bus_message *msg, struct question *q, struct why *why)
{
    int r = sd_bus_message_read(msg, "v", "u", &q->pid);

    return r >= 0 && q->pid == 0 ? why_set(why, -ESRCH, "there is no process 0") : r;
}

static int read_exe(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "s", &q->exe);
}

static int read_cgroup(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "s", &q->cgroup);
}

static int read_unit(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "s", &q->unit);
}

static int read_mark(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "u", &q->flow.mark);
}

/* The device's name becomes an index once the facts are fresh. */
static int read_device(sd_bus_message *msg, struct question *q, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "s", &q->device);
}

/* An IPv6 socket that is used with ::ffff:a.b.c.d sends IPv4. */
static void unmap(struct ip_addr *a)
{
    static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

    if (a->family == AF_INET6 && mem_equal(a->bytes, mapped, sizeof(mapped)))
        *a = ip_addr_make(AF_INET, a->bytes + sizeof(mapped), 4);
}

static int read_address(sd_bus_message *msg, struct ip_addr *ret, const char *what, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    if (r >= 0 && ip_addr_parse(text, ret) < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no %s address: use a literal, names are not looked up", text,
                       what);
    if (r >= 0)
        unmap(ret);
    return r;
}

static int read_source(sd_bus_message *msg, struct question *q, struct why *why)
{
    return read_address(msg, &q->flow.src, "source", why);
}

static int read_destination(sd_bus_message *msg, struct question *q, struct why *why)
{
    return read_address(msg, &q->flow.dst, "destination", why);
}

static const struct {
    const char *key;
    enum given given;
    int (*read)(sd_bus_message *msg, struct question *q, struct why *why);
} question_keys[] = {
    { "Uid", GIVEN_SENDER, read_uid },       { "User", GIVEN_SENDER, read_user },
    { "Pid", GIVEN_SENDER, read_pid },       { "Exe", GIVEN_EXE, read_exe },
    { "Cgroup", GIVEN_PLACE, read_cgroup },  { "Unit", GIVEN_PLACE, read_unit },
    { "Mark", GIVEN_MARK, read_mark },       { "Device", GIVEN_DEVICE, read_device },
    { "Source", GIVEN_SOURCE, read_source }, { "Destination", GIVEN_DESTINATION, read_destination },
};

static int refuse_twice(enum given given, const char *key, struct why *why)
{
    if (given == GIVEN_SENDER)
        return why_set(why, -EINVAL, "only one of Uid, User and Pid can say who sends");
    if (given == GIVEN_PLACE)
        return why_set(why, -EINVAL, "only one of Cgroup and Unit can say where the app stands");
    return why_set(why, -EINVAL, "key '%s' is given twice", key);
}

static int read_key(sd_bus_message *msg, struct question *q, struct why *why)
{
    const char *key;
    size_t i = 0;
    int r = sd_bus_message_read(msg, "s", &key);

    if (r < 0)
        return r;
    while (i < ELEMENTSOF(question_keys) && !streq(question_keys[i].key, key))
        i++;
    if (i == ELEMENTSOF(question_keys))
        return why_set(why, -EINVAL, "Explain has no key '%.60s'", key);
    if (question_has(q, question_keys[i].given))
        return refuse_twice(question_keys[i].given, key, why);
    q->given |= 1U << question_keys[i].given;
    return question_keys[i].read(msg, q, why);
}

static int check(const struct question *q, struct why *why)
{
    const unsigned app = 1U << GIVEN_SENDER | 1U << GIVEN_EXE | 1U << GIVEN_PLACE;
    const unsigned packet = 1U << GIVEN_DEVICE | 1U << GIVEN_SOURCE | 1U << GIVEN_MARK;

    if (q->pid && (q->exe || q->cgroup || q->unit))
        return why_set(why, -EINVAL, "a Pid says by itself what Exe, Cgroup and Unit would say");
    if (!ip_addr_is_set(&q->flow.dst) && !(q->given & app))
        return why_set(why, -EINVAL, "Explain needs a Destination, or who sends");
    if (!ip_addr_is_set(&q->flow.dst) && q->given & packet)
        return why_set(why, -EINVAL, "Explain needs a Destination with Device, Source and Mark");
    if (ip_addr_is_set(&q->flow.src) && q->flow.src.family != q->flow.dst.family)
        return why_set(why, -EINVAL, "source and destination are of different families");
    if (q->flow.uid > UID_MAX)
        return why_set(why, -EINVAL, "%u is no uid", q->flow.uid);
    return 0;
}

int question_read(sd_bus_message *msg, struct question *ret, struct why *why)
{
    struct question q = { 0 };
    int r = sd_bus_message_enter_container(msg, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = read_key(msg, &q, why);
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    if (r == -ENXIO || r == -EBADMSG)
        return why_set(why, -EINVAL, "a value is not of the type that docs/dbus.md gives");
    if (r >= 0)
        r = check(&q, why);
    if (r < 0)
        return r;
    *ret = q;
    return 0;
}

/* Who is meant. */

void asked_app_done(struct asked_app *a)
{
    process_done(&a->process);
    free(a->matches);
    a->matches = NULL;
}

/* The value that a selector of this kind would have: checked, and in its one form. */
static int normalize(const char *kind, const char *value, struct rstr **ret, struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct selector selector = { 0 };
    int r;

    strbuf_add(&text, "%s:%s", kind, value);
    if (text.failed)
        return -ENOMEM;
    r = selector_parse(strbuf_text(&text), &selector, why);
    if (r < 0)
        return r;
    *ret = selector.text;
    return 0;
}

static int copy_normalized(const char *kind, const char *value, char **ret, struct why *why)
{
    _cleanup_(rstr_unrefp) struct rstr *text = NULL;
    int r = normalize(kind, value, &text, why);

    if (r < 0)
        return r;
    *ret = strdup(text->s);
    return *ret ? 0 : -ENOMEM;
}

static int find_exe(const struct question *q, struct asked_app *a, struct why *why)
{
    int r = copy_normalized("exe", q->exe, &a->process.exe, why);

    /* whether there is such a file is not told: who asks need not be allowed to see it */
    if (r == 0 && exe_identify(a->process.exe, 0, &a->process.exe_id) < 0)
        a->process.exe_id = (struct exe_id){ 0 };
    if (r == 0)
        a->process.exe_place = process_exe_place(a->process.exe);
    return r;
}

struct unit_search {
    const char *name;
    char *cgroup; /* the first that was found */
};

static int on_unit(void *data, const char *unit, const char *cgroup)
{
    struct unit_search *s = data;

    if (s->cgroup || !streq(unit, s->name))
        return 0;
    s->cgroup = strdup(cgroup);
    return s->cgroup ? 0 : -ENOMEM;
}

/* Where it runs; of several with one name, the system's comes first. Else where a service would be. */
static int find_unit(const struct cgroups *c, const struct question *q, struct asked_app *a,
                     struct why *why)
{
    _cleanup_(rstr_unrefp) struct rstr *name = NULL;
    struct pathwatch watch = PATHWATCH_CLOSED;
    struct unit_search search = { 0 };
    int r = normalize("unit", q->unit, &name, why);

    if (r == 0 && c->fd >= 0)
        r = pathwatch_open(&watch, UNITS_DIRS_MAX);
    if (r < 0)
        return r;
    search.name = name->s;
    if (watch.fd >= 0) {
        r = units_scan(c, &watch, 0, on_unit, &search);
        pathwatch_close(&watch);
    }
    a->absent = !search.cgroup;
    if (r == 0 && a->absent && asprintf(&search.cgroup, "/system.slice/%s", name->s) < 0) {
        search.cgroup = NULL;
        r = -ENOMEM;
    }
    a->process.cgroup = search.cgroup;
    return r;
}

static int find_process(struct question *q, struct asked_app *a, struct why *why)
{
    _cleanup_cgroups_ struct cgroups c = CGROUPS_CLOSED;
    int r = cgroups_open(&c, NULL);

    if (r == -ENOMEM)
        return r;
    if (q->pid) {
        r = process_read(&c, q->pid, &a->process, why);
        q->flow.uid = r < 0 ? q->flow.uid : a->process.uid;
        return r;
    }
    a->process.uid = q->flow.uid;
    r = q->exe ? find_exe(q, a, why) : 0;
    if (r == 0 && q->cgroup)
        r = copy_normalized("cgroup", q->cgroup, &a->process.cgroup, why);
    if (r == 0 && q->unit)
        r = find_unit(&c, q, a, why);
    return r;
}

int question_find_app(struct manager *m, struct question *q, struct asked_app *ret, struct why *why)
{
    _cleanup_asked_app_ struct asked_app a = { 0 };
    const struct app_exe *exes = NULL;
    size_t n_exes = 0;
    int r = find_process(q, &a, why);

    if (r == 0 && m->selectors)
        r = selectors_exes(m->selectors, &exes, &n_exes);
    if (r == 0) {
        const struct app app = {
            .uid = q->flow.uid,
            .cgroup = a.process.cgroup,
            .exe = a.process.exe,
            .exe_dev = a.process.exe_id.dev,
            .exe_ino = a.process.exe_id.ino,
            .exe_place = a.process.exe_place,
        };

        r = app_matches(m->model->assignments, exes, n_exes, &app, m->selectors != NULL, &a.matches,
                        &a.n_matches);
    }
    if (r < 0)
        return r;
    *ret = a;
    a = (struct asked_app){ 0 };
    return 0;
}
