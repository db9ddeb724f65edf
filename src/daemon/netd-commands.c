/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/netd-commands.h"

#include <errno.h>

#include "basic/log.h"

static struct netd_answer run_unknown(struct netd_call *call)
{
    (void)call;
    return netd_syntax_error("Command not recognized");
}

static const struct netd_verb commands[] = {
    { "network", 2, SIZE_MAX, "Missing argument", netd_network },
    { "resolver", 2, SIZE_MAX, "Resolver missing arguments", netd_resolver },
    { "interface", 2, SIZE_MAX, "Missing argument", netd_interface },
    { NULL, 1, SIZE_MAX, "", run_unknown },
};

struct netd_answer netd_dispatch(struct netd_call *call, const struct netd_verb *verbs,
                                 size_t index)
{
    const struct netd_verb *v = verbs;

    while (v->word && !streq(v->word, call->argv[index]))
        v++;
    if (call->argc < v->min || call->argc > v->max)
        return netd_syntax_error(v->wrong_count);
    return v->run(call);
}

struct netd_answer netd_change(struct netd_call *call, manager_edit edit, void *data,
                               const char *done, const char *failed)
{
    int r = manager_change(call->manager, edit, data, &call->why);

    return r < 0 ? netd_failed(failed, r) : netd_okay(done);
}

int netd_network_name(const struct model *m, uint32_t netid, char ret[static NETWORK_NAME_MAX + 1],
                      struct why *why)
{
    const struct network *n = model_network(m, netid);

    if (!n)
        return why_set(why, -ENONET, "there is no network with netId %u", netid);
    (void)str_set(ret, NETWORK_NAME_MAX + 1, n->name);
    return 0;
}

void netd_run(struct manager *m, const char *request, int *seq, struct strbuf *out)
{
    struct netdtext_command command;
    enum netdtext_fault fault = netdtext_parse(request, seq, &command);
    struct netd_call call = {
        .manager = m,
        .argv = command.argv,
        .argc = command.argc,
        .seq = *seq,
        .out = out,
    };
    struct netd_answer answer;

    if (fault != NETDTEXT_FINE)
        answer = netd_syntax_error(netdtext_fault_text(fault));
    else
        answer = netd_dispatch(&call, commands, 0);
    if (answer.error < 0)
        log_debug("netd: %s: %s", answer.text, why_text(&call.why, answer.error));
    netdtext_reply(out, answer.code, call.seq, answer.text, answer.error);
}
