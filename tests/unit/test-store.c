/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/daemon/store*: what was committed is what is loaded, also when the machine stops at any byte
 * of a commit, the disk is full, or the file was edited.
 */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "daemon/store.h"
#include "property/random.h"
#include "unit/scene.h"

static char folder[64], state_file[96];

/* In memory, where there is such a folder: every commit is synced. */
static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "%s/waymark-test-store-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(state_file, sizeof(state_file), "%s/state", folder);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static bool is_stored(enum origin origin)
{
    return origin == ORIGIN_COMMAND || origin == ORIGIN_RUNTIME;
}

/* The dump of what is to be found again of a model: not the configuration's and the host's. */
static char *dump_stored(const struct model *m)
{
    struct model *copy = model_copy(m);
    struct assignments *left = assignments_copy(m->assignments);
    struct strbuf b = STRBUF_INIT;
    char *text = NULL;

    for (size_t i = copy->n_networks; i-- > 0;)
        if (!is_stored(copy->networks[i]->origin))
            model_drop_network(copy, copy->networks[i]->netid);
    for (size_t i = left->n; i-- > 0;) {
        uid_set_unref(TAKE_PTR(left->items[i].uids)); /* resolved anew */
        if (!is_stored(left->items[i].origin))
            assignments_remove(left, i);
    }
    assignments_unref(copy->assignments);
    copy->assignments = left;
    copy->host_networks = false;
    for (size_t i = 0; i < copy->n_ignored; i++)
        rstr_unref(copy->ignored[i]);
    copy->n_ignored = 0;
    dump_model(copy, &b);
    model_free(copy);
    assert_int_equal(strbuf_finish(&b, &text), 0);
    return text;
}

/* Loads the file anew, as another daemon would. */
static int load(struct model **ret, struct why *why)
{
    struct model *m = model_new();
    struct store s;
    int r = store_open(&s, folder, m, why);

    if (r < 0) {
        model_free(m);
        return r;
    }
    store_close(&s);
    *ret = m;
    return 0;
}

static void check_loads(const char *row, const struct model *expected)
{
    _cleanup_free_ char *a = dump_stored(expected), *b = NULL;
    struct why why = { 0 };
    struct model *m = NULL;

    if (!CHECK_INT(row, load(&m, &why), 0)) {
        print_error("  %s\n", why.text);
        return;
    }
    b = dump_stored(m);
    CHECK_TEXT(row, b, a);
    model_free(m);
}

#define LINKS "link 2 eth0\nlink 3 eth1\nlink 4 wg0 arphrd 65534\naddr eth0 10.0.0.2/24\n"

/* clang-format off */
static const struct {
    const char *name;
    const char *steps[4]; /* one commit each */
} rows[] = {
    { "nothing", { "" } },
    { "a network", { "network home interface eth0\n" } },
    { "all of a network",
      { "network home netid 500 type physical permission system interface eth0 interface eth1 "
        "dns 1.1.1.1 dns fd00::1 domain a.b domain c resolver 1800,25,8,64\n"
        "route home 10.9.0.0/16 via 10.0.0.1 dev eth0 mtu 1400\n"
        "route home ::/0 unreachable dev eth1\n" } },
    { "all of a VPN",
      { "network vpn type vpn secure exclude-local interface wg0\n"
        "users vpn 5 7-9 5 0-4294967294\n" } },
    { "what is outside of a VPN",
      { "network vpn type vpn secure fall-through interface wg0\n",
        "set vpn lockdown outside 192.168.0.0/16 outside fe80::/10\n",
        "set vpn no-fall-through outside ff02::/16\n" } },
    { "local and unreachable",
      { "network lan type local interface eth0\nnetwork no type unreachable\n" } },
    { "a network is changed",
      { "network home interface eth0 dns 1.1.1.1\nroute home 10.9.0.0/16\n",
        "set home dns 9.9.9.9 permission network\n", "route-remove home 10.9.0.0/16\n",
        "detach home eth0\n" } },
    { "a network is removed", { "network home interface eth0\nassign uid:5 home\n",
      "remove home\n" } },
    { "a network comes back as another", { "network a\nnetwork b\n", "remove a\nremove b\n",
      "network b\nnetwork a type vpn\n" } },
    { "another one has its netId", { "network a netid 700\n", "remove a\nnetwork b netid 700\n" } },
    { "assignments",
      { "network home\n" "assign uid:5 home\n" "assign uid:5-9 home prefer\n"
        "assign user:a none\n" "assign group:b home\n" } },
    { "assignments are changed", { "network home\nassign uid:5 home\nassign uid:6 home\n",
      "assign uid:5 none\nunassign uid:6\nassign uid:7 home\n", "assign uid:6 home prefer\n" } },
    { "odd names in selectors",
      { "assign user:a%20b none\n" "assign user:% none\n" "assign group:\xc3\xa4\xff none\n"
        "assign user:a=b;c#d none\n" } },
    { "a default", { "network home\ndefault home\n" } },
    { "a default is taken back", { "network home\ndefault home\n", "default system\n" } },
    { "a default that is gone", { "network home\ndefault home\n", "remove home\n" } },
    { "users",
      { "permission 5 system\npermission 0 none\nprotect 5 yes\nprotect 4294967294 yes\n",
        "permission 5 network\nprotect 5 no\n" } },
    { "legacy routes",
      { LINKS "network home interface eth0\n" "legacy system 1.2.3.4 via 10.0.0.1 dev eth0\n"
        "legacy network 1.2.3.4 dev eth0\n" "legacy network ::1 unreachable dev eth0\n" } },
    { "a legacy route is removed: the order stays",
      { "network home interface eth0\n" "legacy system 1.0.0.0/8 via 10.0.0.1 dev eth0\n"
        "legacy system 1.0.0.0/8 via 10.0.0.2 dev eth0\n"
        "legacy system 1.0.0.0/8 via 10.0.0.3 dev eth0\n",
        "legacy-remove system 1.0.0.0/8 via 10.0.0.1 dev eth0\n" } },
    { "known names", { "known old 300\nnetwork home\n",
      "known old 301\nremove home\nknown zzz 5000\n" } },
    { "of the runtime",
      { "network home origin runtime interface eth0\nassign uid:5 home origin runtime\n" } },
    { "of the configuration: not stored",
      { "network conf origin config interface eth0\n" "network home\n"
        "assign uid:5 conf origin config\n" } },
    { "of the host: not stored, but its netId is", { "host-update\nnetwork home\n" } },
    { "a host network that was touched", { "host-update\n", "set eth0 dns 1.1.1.1\n" } },
    { "a stored one that becomes the configuration's", { "network home\nassign uid:5 home\n",
      "remove home\n" "unassign uid:5\n" "network home origin config\n"
        "assign uid:5 home origin config\n" } },
    { "the configuration's, then by command",
      { "network conf origin config\nassign uid:5 conf origin config\n",
        "network more\nassign uid:6 conf\n" } },
    { "resolver parameters that begin with zero", { "network home resolver 0,25,8,64\n" } },
    { "an odd name of an interface", { "link 9 a\x01%b\nnetwork home interface a\x01%b\n" } },
    { "a route by an interface with an odd name",
      { "link 9 a%41\nnetwork home interface a%41\nroute home 10.0.0.0/8\n" } },
    { "a route by an interface with a control character",
      { "link 9 a\x01" "b\nnetwork home interface a\x01" "b\nroute home 10.0.0.0/8\n" } },
};
/* clang-format on */

static void test_commits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct model *stored = model_new();
        struct store store;
        struct scene s;

        assert_int_equal(store_open(&store, folder, stored, NULL), 0);
        scene_init(&s);
        scene_run(&s, LINKS);
        for (size_t j = 0; j < ELEMENTSOF(rows[i].steps) && rows[i].steps[j]; j++) {
            struct model *next;

            scene_run(&s, rows[i].steps[j]);
            next = model_copy(s.m);
            CHECK_INT(rows[i].name, store_commit(&store, stored, next), 0);
            model_free(stored);
            stored = next;
            check_loads(rows[i].name, next);
            /* load() rewrote the file: go on from there, as after a restart */
            store_close(&store);
            stored = (model_free(stored), model_new());
            if (store_open(&store, folder, stored, NULL) < 0)
                break;
        }
        store_close(&store);
        model_free(stored);
        scene_done(&s);
        (void)unlink(state_file);
    }
    CHECK_END();
}

/* As many interfaces as a bridge farm has: what is written has to be readable. */
static void test_many_interfaces(void **state)
{
    struct model *m = model_new();
    struct store store;
    struct scene s;

    (void)state;
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    scene_init(&s);
    scene_run(&s, "network many dns 1.1.1.1 domain a\n");
    for (unsigned i = 0; i < 200; i++) {
        char line[64];

        snprintf(line, sizeof(line), "link %u i%u\nattach many i%u", i + 10, i, i);
        scene_run(&s, line);
    }
    CHECK_INT("200 interfaces", store_commit(&store, m, s.m), 0);
    check_loads("200 interfaces", s.m);
    store_close(&store);
    model_free(m);
    scene_done(&s);
    CHECK_END();
}

/* Names that the kernel would not give an interface, but that the model takes: nothing is lost. */
static const char *const odd_names[] = {
    " ",
    "a b",
    " a",
    "a ",
    "  ",
    "%",
    "%%",
    "%41",
    "a%",
    "\x01",
    "\n",
    "\t\r",
    "\x7f",
    "\xff",
    "é",
    "\"a\"",
    "\\n",
    "dev",
    "0123456789abcde",
    "mtu",
};

static void test_odd_names(void **state)
{
    struct network *n = network_new();
    struct model *m = model_new(), *next = model_new();
    struct store store;

    (void)state;
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    n->netid = 100;
    n->origin = ORIGIN_COMMAND;
    (void)str_set(n->name, sizeof(n->name), "odd");
    for (size_t i = 0; i < 2 * ELEMENTSOF(odd_names); i++) {
        struct route_spec route = { .mtu = i % 3 ? 0 : 1400 };
        char name[IFNAMSIZ];

        if (i % 2)
            snprintf(name, sizeof(name), "eth%zu", i);
        else
            (void)str_set(name, sizeof(name), odd_names[i / 2]);
        CHECK_INT(name, network_add_interface(n, name), 0);
        (void)str_set(route.interface, sizeof(route.interface), name);
        assert_int_equal(ip_prefix_parse("10.0.0.0/8", &route.dst), 0);
        route.kind = (enum route_kind)(i % ROUTE_KIND_MAX);
        CHECK_INT(name, network_add_route(n, &route), 0);
    }
    CHECK_INT("interfaces", n->n_interfaces, 40);
    assert_int_equal(model_put_network(next, n), 0);
    CHECK_INT("commit", store_commit(&store, m, next), 0);
    check_loads("as a commit", next);
    check_loads("rewritten", next);
    store_close(&store);
    model_free(m);
    model_free(next);
    CHECK_END();
}

/* The same without restarts in between: all commits stand in one journal. */
static void test_journal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct model *stored = model_new();
        struct store store;
        struct scene s;

        assert_int_equal(store_open(&store, folder, stored, NULL), 0);
        scene_init(&s);
        scene_run(&s, LINKS);
        for (size_t j = 0; j < ELEMENTSOF(rows[i].steps) && rows[i].steps[j]; j++) {
            struct model *next;

            scene_run(&s, rows[i].steps[j]);
            next = model_copy(s.m);
            CHECK_INT(rows[i].name, store_commit(&store, stored, next), 0);
            CHECK_INT(rows[i].name, store_commit(&store, next, next), 0);
            model_free(stored);
            stored = next;
        }
        check_loads(rows[i].name, stored);
        store_close(&store);
        model_free(stored);
        scene_done(&s);
        (void)unlink(state_file);
    }
    CHECK_END();
}

/* Random models, one commit each, into one journal; now and then a restart. */
static void test_random(void **state)
{
    struct rng g = { .state = 0x570 };
    struct model *m = model_new(), *first;
    struct store store;
    struct scene s;

    (void)state;
    scene_machine(&s);
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    first = random_model(&g, &s.k);
    CHECK_INT("commit", store_commit(&store, m, first), 0);
    model_free(m);
    m = first;
    for (unsigned i = 0; i < 400; i++) {
        struct model *next = random_neighbour(&g, m, &s.k);

        CHECK_INT("commit", store_commit(&store, m, next), 0);
        model_free(m);
        m = next;
        if (i % 20 != 19)
            continue;
        check_loads("random", m);
        store_close(&store); /* load() made another file in its place */
        model_free(m);
        m = model_new();
        assert_int_equal(store_open(&store, folder, m, NULL), 0);
    }
    store_close(&store);
    model_free(m);
    scene_done(&s);
    CHECK_END();
}

/* Cut off at every byte: what is loaded is the last commit that is whole. */
static void test_truncated(void **state)
{
    static const char *const steps[] = {
        "network home interface eth0\nassign uid:5 home\n",
        "network vpn type vpn interface wg0\nusers vpn 5-9\nroute home 10.9.0.0/16\n",
        "assign user:a%b vpn prefer\ndefault home\nprotect 5 yes\n",
        "unassign uid:5\nremove vpn\n",
    };
    char *dumps[ELEMENTSOF(steps) + 1], boot[40] = "";
    _cleanup_free_ char *text = NULL;
    struct model *stored = model_new();
    size_t size, header;
    struct store store;
    struct scene s;

    (void)state;
    assert_int_equal(store_open(&store, folder, stored, NULL), 0);
    dumps[0] = dump_stored(stored);
    scene_init(&s);
    scene_run(&s, LINKS);
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        struct model *next;

        scene_run(&s, steps[i]);
        next = model_copy(s.m);
        assert_int_equal(store_commit(&store, stored, next), 0);
        model_free(stored);
        stored = next;
        dumps[i + 1] = dump_stored(next);
    }
    store_close(&store);
    model_free(stored);
    scene_done(&s);
    assert_int_equal(fd_read_file(state_file, 1 << 20, &text, &size), 0);
    assert_int_equal(sscanf(text, "waymark-state 1 boot %39s", boot), 1);
    header = (size_t)(strstr(text, boot) + strlen(boot) + 1 - text);

    for (size_t cut = 0; cut <= size; cut++) {
        _cleanup_free_ char *copy = strndup(text, cut), *got = NULL;
        size_t committed = 0, commits = 0;
        struct model *m = model_new();
        struct why why = { 0 };
        int r;

        for (const char *p = copy; (p = strstr(p, "\nend\n")); p++)
            commits++;
        r = store_parse(copy, boot, m, &committed, &why);
        if (cut < header) { /* not even the first two lines */
            CHECK_INT("header", r, -EINVAL);
        } else if (CHECK_INT("cut", r, 0)) {
            got = dump_stored(m);
            CHECK_TEXT("cut", got, dumps[commits > 0 ? commits - 1 : 0]);
            CHECK("cut", committed <= cut);
        }
        model_free(m);
    }
    for (size_t i = 0; i < ELEMENTSOF(dumps); i++)
        free(dumps[i]);
    CHECK_END();
}

/* The journal does not grow for ever: it is rewritten, and is then as long as the model. */
static void test_compaction(void **state)
{
    struct model *m = model_new();
    struct stat st, before;
    off_t largest = 0;
    unsigned rewrites = 0;
    struct store store;
    struct scene s;

    (void)state;
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    assert_int_equal(stat(state_file, &before), 0);
    CHECK_INT("mode", before.st_mode & 0777, 0600);
    scene_init(&s);
    scene_run(&s, "network home\nnetwork work\n");
    for (unsigned i = 0; i < 8000; i++) {
        struct model *next;

        scene_run(&s, i % 2 ? "assign uid:5 home\n" : "assign uid:5 work\n");
        next = model_copy(s.m);
        CHECK_INT("commit", store_commit(&store, m, next), 0);
        model_free(m);
        m = next;
        assert_int_equal(stat(state_file, &st), 0);
        CHECK_INT("size", st.st_size, store.size);
        largest = MAX(largest, st.st_size);
        rewrites += st.st_ino != before.st_ino;
        before = st;
    }
    CHECK("grew, and was rewritten", largest > 60000 && largest <= 65536 && rewrites >= 3);
    check_loads("in the end", m);
    store_close(&store);
    model_free(m);
    scene_done(&s);
    CHECK_END();
}

/* Commits of growing size while files may not grow beyond a limit: refused whole, or done whole. */
static void test_file_size_limit(void **state)
{
    struct rlimit limit, low;
    struct model *m = model_new();
    unsigned refused = 0;
    struct store store;
    struct scene s;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    scene_init(&s);
    scene_run(&s, "network home\n");
    for (unsigned i = 0; i < 60; i++) {
        _cleanup_free_ char *before = NULL, *after = NULL;
        struct model *next;
        char line[64];
        int r;

        snprintf(line, sizeof(line), "assign uid:%u home", i);
        scene_run(&s, line);
        next = model_copy(s.m);
        assert_int_equal(fd_read_file(state_file, 1 << 20, &before, NULL), 0);
        low = (struct rlimit){ (rlim_t)store.size + i % 40, limit.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        r = store_commit(&store, m, next);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        if (r < 0) {
            CHECK_INT("refused", r, -EFBIG);
            assert_int_equal(fd_read_file(state_file, 1 << 20, &after, NULL), 0);
            CHECK_TEXT("as before", after, before);
            refused++;
            r = store_commit(&store, m, next);
        }
        CHECK_INT("with room", r, 0);
        model_free(m);
        m = next;
    }
    CHECK("some were refused", refused > 20 && refused < 60);
    check_loads("in the end", m);
    store_close(&store);
    model_free(m);
    scene_done(&s);
    CHECK_END();
}

static void write_file(const char *path, const char *text)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* In a new user namespace: there we are root, and all others nobody. */
static void map_ids(uid_t uid, gid_t gid)
{
    char text[32];

    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof(text), "0 %u 1", gid);
    write_file("/proc/self/gid_map", text);
    snprintf(text, sizeof(text), "0 %u 1", uid);
    write_file("/proc/self/uid_map", text);
}

/* A small disk of our own, in a mount namespace; without root, in a user namespace, too. */
static void mount_small_disk(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();

    assert_int_equal(unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)), 0);
    if (uid != 0)
        map_ids(uid, gid);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("none", folder, "tmpfs", 0, "size=48k"), 0);
}

/* A full disk, also while the journal is rewritten. */
static void test_full_disk(void **state)
{
    struct model *m = model_new();
    unsigned refused = 0;
    struct store store;
    struct scene s;

    (void)state;
    mount_small_disk();
    assert_int_equal(store_open(&store, folder, m, NULL), 0);
    scene_init(&s);
    scene_run(&s, "network home\nnetwork work\n");
    for (unsigned i = 0; i < 4000; i++) {
        struct model *next;
        int r;

        scene_run(&s, i % 2 ? "assign uid:5 home\n" : "assign uid:5 work\n");
        if (i % 3 == 0)
            scene_run(&s, "permission 5 system\nassign user:somebody home\n");
        else
            scene_run(&s, "permission 5 none\nassign user:somebody work\n");
        next = model_copy(s.m);
        r = store_commit(&store, m, next);
        CHECK("done or no room", r == 0 || r == -ENOSPC);
        refused += r < 0;
        if (r == 0) {
            model_free(m);
            m = next;
        } else
            model_free(next);
    }
    CHECK("the disk was full", refused > 0 && refused < 4000);
    check_loads("what was committed", m);
    store_close(&store);
    model_free(m);
    scene_done(&s);
    umount2(folder, MNT_DETACH);
    CHECK_END();
}

static void test_open_errors(void **state)
{
    static const char nul[] = "waymark-state 1\nboot x\n\0end\n";
    struct model *m = model_new();
    struct why why = { 0 };
    struct store store;
    char path[160];

    (void)state;
    snprintf(path, sizeof(path), "%s/a/b", folder);
    CHECK_INT("folder", store_open(&store, path, m, &why), -ENOENT);
    CHECK_CONTAINS("folder", why.text, "cannot make");
    snprintf(path, sizeof(path), "%s/new", folder);
    CHECK_INT("made", store_open(&store, path, m, &why), 0);
    store_close(&store);
    CHECK_INT("closed", store.fd, -1);

    assert_int_equal(fd_replace_file(state_file, nul, sizeof(nul) - 1, 0600), 0);
    CHECK_INT("NUL", store_open(&store, folder, m, &why), -EINVAL);
    CHECK_CONTAINS("NUL", why.text, "has a NUL byte in it: repair or remove it");
    assert_int_equal(fd_replace_file(state_file, "x", 1, 0600), 0);
    CHECK_INT("damaged", store_open(&store, folder, m, &why), -EINVAL);
    CHECK_CONTAINS("damaged", why.text, "is damaged: line 1");
    CHECK_CONTAINS("damaged", why.text, "Repair or remove it");
    (void)unlink(state_file);
    assert_int_equal(mkdir(state_file, 0700), 0);
    CHECK_INT("a folder in its place", store_open(&store, folder, m, &why), -EISDIR);
    CHECK_CONTAINS("a folder in its place", why.text, "cannot read");
    model_free(m);
    CHECK_END();
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_commits),     IN_FOLDER(test_many_interfaces), IN_FOLDER(test_odd_names),
        IN_FOLDER(test_journal),     IN_FOLDER(test_random),          IN_FOLDER(test_truncated),
        IN_FOLDER(test_compaction),  IN_FOLDER(test_file_size_limit), IN_FOLDER(test_full_disk),
        IN_FOLDER(test_open_errors),
    };

    return RUN_TESTS(tests);
}
