/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fwmarkd-answer.h"

#include <errno.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "decide/socket-reason.h"

/* Who asks, for what, and about which socket. */
struct query {
    const struct socket_facts *facts;
    const struct fwmarkd_client *client;
    struct fwmarkd_request request;
    uint32_t mark;
};

static void take_sockets(struct msghdr *msg, struct fwmarkd_message *m)
{
    m->n_sockets = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t size = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        assert(m->n_sockets * sizeof(int) + size <=
               sizeof(m->sockets)); /* the kernel had no room */
        memcpy(m->sockets + m->n_sockets, CMSG_DATA(c), size);
        m->n_sockets += size / sizeof(int);
    }
}

int fwmarkd_receive(int client, struct fwmarkd_message *ret)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(ret->sockets))];
    } control;
    struct iovec iov = { ret->bytes, sizeof(ret->bytes) };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_LEN(sizeof(ret->sockets)),
    };
    ssize_t size;

    do
        size = recvmsg(client, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -errno; /* 1 */
    ret->size = (size_t)size;
    take_sockets(&msg, ret);
    /* fewer than there was room for: not because he sent more, but because we can open no file */
    if (!(msg.msg_flags & MSG_CTRUNC) || ret->n_sockets == FWMARKD_SOCKETS_MAX)
        return 0;
    fwmarkd_message_done(ret);
    return -EMFILE; /* 1 */
}

void fwmarkd_message_done(struct fwmarkd_message *m)
{
    while (m->n_sockets > 0)
        (void)close(m->sockets[--m->n_sockets]);
}

static int get_option(int fd, int option, int *ret)
{
    socklen_t size = sizeof(*ret);

    return getsockopt(fd, SOL_SOCKET, option, ret, &size) < 0 ? -errno : 0;
}

/* Steps 6 to 8. */
static int read_mark(int fd, uint32_t *ret)
{
    int domain, mark, r;

    r = get_option(fd, SO_DOMAIN, &domain);
    if (r < 0)
        return r; /* 6 */
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT; /* 7 */
    r = get_option(fd, SO_MARK, &mark);
    if (r < 0)
        return r; /* 8 */
    *ret = (uint32_t)mark;
    return 0;
}

/* What a command makes of the mark. */
typedef struct socket_answer (*command_run)(const struct query *q, enum socket_command command);

static struct socket_question question(const struct query *q, enum socket_command command)
{
    struct socket_asked asked = {
        .command = command,
        .uid = q->client->uid,
        .process = q->client->process,
        .mark = q->mark,
        .netid = command == SOCKET_SELECT ? q->request.netid : (uint32_t)NETID_UNSET,
        .user = q->request.uid,
        .scope = command == SOCKET_CONNECT ? q->request.scope : 0,
    };
    struct socket_question result;

    socket_facts_ask(q->facts, &asked, &result);
    /* the rules and the guard know users; here it is the process that is the VPN, no other of his user */
    result.protectable = q->client->is_vpn || model_is_protectable(q->facts->m, q->client->uid);
    return result;
}

static struct socket_answer run_decide(const struct query *q, enum socket_command command)
{
    struct socket_question asked = question(q, command);

    return socket_decide(&asked);
}

/*
 * ON_CONNECT_COMPLETE renews the permission and nothing else, as connecting does with a socket whose
 * network was chosen; so that is what it is asked as. What is held stays held.
 */
static struct socket_answer run_complete(const struct query *q, enum socket_command command)
{
    struct socket_question asked = question(q, command);
    struct socket_answer a;

    asked.mark |= MARK_EXPLICIT;
    a = socket_decide(&asked);
    if (a.reason == SOCKET_REASON_EXPLICIT && !(q->mark & MARK_EXPLICIT))
        a.mark &= ~(uint32_t)MARK_EXPLICIT;
    return a;
}

static struct socket_answer run_nothing(const struct query *q, enum socket_command command)
{
    (void)command;
    return (struct socket_answer){ .mark = q->mark, .reason = SOCKET_REASON_UNMARKED };
}

static struct socket_answer run_tag(const struct query *q, enum socket_command command)
{
    (void)command;
    return (struct socket_answer){
        .error = -EOPNOTSUPP,
        .mark = q->mark,
        .reason = SOCKET_REASON_UNMARKED,
    };
}

static const struct {
    command_run run; /* NULL: there is no such command */
    enum socket_command command;
} commands[FWMARKD_ID_MAX] = {
    [FWMARKD_ON_ACCEPT] = { run_decide, SOCKET_ACCEPT },
    [FWMARKD_ON_CONNECT] = { run_decide, SOCKET_CONNECT },
    [FWMARKD_SELECT_NETWORK] = { run_decide, SOCKET_SELECT },
    [FWMARKD_PROTECT_FROM_VPN] = { run_decide, SOCKET_PROTECT },
    [FWMARKD_SELECT_FOR_USER] = { run_decide, SOCKET_SELECT_FOR_USER },
    [FWMARKD_ON_CONNECT_COMPLETE] = { run_complete, SOCKET_CONNECT },
    [FWMARKD_TAG_SOCKET] = { run_tag, SOCKET_COMMAND_MAX },
    [FWMARKD_UNTAG_SOCKET] = { run_tag, SOCKET_COMMAND_MAX },
    [FWMARKD_ON_SENDMMSG] = { run_nothing, SOCKET_COMMAND_MAX },
    [FWMARKD_ON_SENDMSG] = { run_nothing, SOCKET_COMMAND_MAX },
    [FWMARKD_ON_SENDTO] = { run_nothing, SOCKET_COMMAND_MAX },
};

/* What the decision asks of a client's process beyond what is known. */
static unsigned find_unknown(const struct query *q)
{
    unsigned wanted = (q->facts->exes ? PEER_EXE : 0U) | (q->facts->cgroups ? PEER_CGROUP : 0U);

    return wanted & ~q->client->known;
}

/* Step 4. */
static int32_t answer_without_socket(const struct query *q)
{
    if (q->request.id != FWMARKD_QUERY_USER_ACCESS)
        return -EOPNOTSUPP;
    if (socket_facts_permission(q->facts, q->client->uid) != PERMISSION_SYSTEM)
        return -EPERM;
    return socket_facts_access(q->facts, q->request.uid, q->request.netid);
}

/* Steps 5 to 10. */
static struct fwmarkd_verdict judge_with_socket(struct query *q, const struct fwmarkd_message *m)
{
    int32_t id = q->request.id;
    struct socket_answer a;
    unsigned unknown;
    int r = m->n_sockets == 1 ? read_mark(m->sockets[0], &q->mark) : -EBADF; /* 5 */

    if (r < 0)
        return (struct fwmarkd_verdict){ .answer = r };
    if (id < 0 || id >= FWMARKD_ID_MAX || !commands[id].run)
        return (struct fwmarkd_verdict){ .answer = -EPROTO }; /* 10 */
    unknown = commands[id].command == SOCKET_COMMAND_MAX ? 0 : find_unknown(q);
    if (unknown)
        return (struct fwmarkd_verdict){ .unknown = unknown };
    a = commands[id].run(q, commands[id].command); /* 9 */
    log_debug("fwmarkd: %s of uid %u: mark %#x to %#x, %d: %s", fwmarkd_id_to_string(id),
              q->client->uid, q->mark, a.mark, a.error, socket_reason_to_string(a.reason));
    return (struct fwmarkd_verdict){
        .answer = a.error,
        .write = a.error == 0 && a.mark != q->mark,
        .mark = a.mark,
    };
}

struct fwmarkd_verdict fwmarkd_judge(const struct socket_facts *facts,
                                     const struct fwmarkd_client *client,
                                     const struct fwmarkd_message *m)
{
    struct query q = { .facts = facts, .client = client };
    int r = m->size > 0 ? fwmarkd_parse(m->bytes, m->size, &q.request) : -ESHUTDOWN; /* 2 */

    if (r < 0)
        return (struct fwmarkd_verdict){ .answer = r }; /* 3 */
    if (!fwmarkd_needs_socket(q.request.id))
        return (struct fwmarkd_verdict){ .answer = answer_without_socket(&q) };
    return judge_with_socket(&q, m);
}
