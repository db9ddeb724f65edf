/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/observe/process: who a process is. The processes are this test's own. */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "observe/peer.h"
#include "observe/process.h"

static void test_self(void **state)
{
    _cleanup_cgroups_ struct cgroups c = CGROUPS_CLOSED;
    _cleanup_process_ struct process p = { 0 };
    char exe[4096] = "";
    struct stat st;

    (void)state;
    (void)cgroups_open(&c, NULL); /* there may be none */
    CHECK_INT("self", process_read(&c, (uint32_t)getpid(), &p, NULL), 0);
    assert_int_equal(stat("/proc/self/exe", &st), 0);
    assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    CHECK_INT("self", p.pid, getpid());
    CHECK_INT("self", p.uid, geteuid());
    CHECK_TEXT("self", p.exe ? p.exe : "", exe);
    CHECK_INT("self", p.exe_id.ino, st.st_ino);
    CHECK("self", !p.exe_deleted);
    if (major(st.st_dev) != 0) /* else the superblock's, which may be another */
        CHECK_INT("self", p.exe_id.dev, st.st_dev);
    if (c.fd >= 0 && CHECK("self", p.cgroup && p.cgroup[0] == '/')) {
        _cleanup_free_ char *path = NULL;

        assert_true(asprintf(&path, "%s%s", c.path, p.cgroup) > 0);
        assert_int_equal(stat(path, &st), 0);
        CHECK_INT("cgroup", p.cgroup_id, st.st_ino);
    }
    CHECK_END();
}

/* An executable that was removed, or replaced, and one whose name only looks like that. */
static void test_deleted(void **state)
{
    static const struct {
        const char *name;
        bool removed;
    } rows[] = { { "x", true }, { "x", false }, { "x (deleted)", false }, { "x (deleted)", true } };
    char folder[] = "/tmp/test-process-XXXXXX";
    struct cgroups none = CGROUPS_CLOSED;

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_process_ struct process p = { 0 };
        char path[64], command[128];
        int fds[2];
        char byte;
        pid_t pid;

        (void)snprintf(path, sizeof(path), "%s/%s", folder, rows[i].name);
        (void)snprintf(command, sizeof(command), "cp /bin/sleep '%s'", path);
        assert_int_equal(system(command), 0);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
            execl(path, path, "1000", (char *)NULL);
            _exit(1);
        }
        (void)close(fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 0); /* the other end is closed by exec */
        (void)close(fds[0]);
        if (rows[i].removed)
            assert_int_equal(unlink(path), 0);
        CHECK_INT(path, process_read(&none, (uint32_t)pid, &p, NULL), 0);
        CHECK_TEXT(path, p.exe ? p.exe : "", path);
        CHECK_INT(path, p.exe_deleted, rows[i].removed);
        CHECK(path, p.exe_id.ino != 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
    CHECK_END();
}

static void *tell_tid(void *data)
{
    *(pid_t *)data = gettid();
    (void)pause();
    return NULL;
}

static void test_none(void **state)
{
    struct cgroups none = CGROUPS_CLOSED;
    struct process p = { .uid = 77 };
    volatile pid_t tid = 0;
    struct why why = { 0 };
    pthread_t thread;
    pid_t zombie = fork();

    (void)state;
    if (zombie == 0)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)zombie, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
    CHECK_INT("zombie", process_read(&none, (uint32_t)zombie, &p, &why), -ESRCH);
    CHECK_CONTAINS("zombie", why.text, "there is no process");
    assert_int_equal(waitpid(zombie, NULL, 0), zombie);
    CHECK_INT("gone", process_read(&none, (uint32_t)zombie, &p, NULL), -ESRCH);
    CHECK_INT("0", process_read(&none, 0, &p, NULL), -ESRCH);
    CHECK_INT("beyond", process_read(&none, UINT32_MAX, &p, NULL), -ESRCH);

    assert_int_equal(pthread_create(&thread, NULL, tell_tid, (void *)&tid), 0);
    while (tid == 0)
        (void)usleep(1000);
    CHECK_INT("thread", process_read(&none, (uint32_t)tid, &p, NULL), -ESRCH);
    CHECK_INT("untouched", p.uid, 77);
    assert_int_equal(pthread_cancel(thread), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    CHECK_END();
}

/* The ends of a connection: ours, and that of a child that connected and then waits to be killed. */
static pid_t connect_child(int *ret)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    socklen_t size = sizeof(addr);
    _cleanup_fd_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    /* no name: the kernel chooses one */
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr.sun_family)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
    pid = fork();
    if (pid == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&addr, size) == 0)
            (void)pause();
        _exit(1);
    }
    *ret = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*ret >= 0);
    return pid;
}

static void test_peer(void **state)
{
    struct cgroups none = CGROUPS_CLOSED;
    _cleanup_process_ struct process self = { 0 };
    _cleanup_peer_ struct peer p = { 0 };
    _cleanup_fd_ int fd = -1;
    pid_t pid = connect_child(&fd);

    (void)state;
    assert_int_equal(process_read(&none, (uint32_t)pid, &self, NULL), 0);
    CHECK_INT("nothing", peer_read(fd, 0, &p), 0);
    CHECK("nothing", p.known == 0 && p.exe.ino == 0 && !p.cgroup);
    CHECK_INT("both", peer_read(fd, PEER_EXE | PEER_CGROUP, &p), 0);
    CHECK_INT("both", p.known, PEER_EXE | PEER_CGROUP);
    CHECK_INT("executable", p.exe.ino, self.exe_id.ino);
    CHECK_INT("executable", p.exe.dev, self.exe_id.dev);
    CHECK_INT("its place", p.exe_place.name, self.exe_place.name);
    CHECK_TEXT("cgroup", p.cgroup ? p.cgroup : "-", self.cgroup ? self.cgroup : "-");

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
    for (unsigned wanted = 0; wanted <= (PEER_EXE | PEER_CGROUP); wanted++)
        CHECK_INT("zombie", peer_read(fd, wanted, &(struct peer){ 0 }), -ESRCH);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    CHECK_INT("gone", peer_read(fd, PEER_CGROUP, &p), -ESRCH);
    CHECK_INT("untouched", p.known, PEER_EXE | PEER_CGROUP);
    CHECK_INT("no connection", peer_read(-1, 0, &p), -ESRCH);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_peer),
    };

    return RUN_TESTS(tests);
}
