/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "daemon/netd-commands.h"
#include "daemon/reconcile.h"

static const char succeeded[] = "Resolver command succeeded";
static const char failed[] = "Resolver command failed";
static const char bad_setnetdns[] = "Wrong number of or invalid arguments to resolver setnetdns";

struct order {
    uint32_t netid;
    struct network *draft; /* its dns, domains, resolver */
};

static int edit_dns(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct order *o = data;
    char name[NETWORK_NAME_MAX + 1];
    int r;

    (void)k;
    r = netd_network_name(m, o->netid, name, why);
    if (r < 0)
        return r;
    return edit_set_network(m, name, ORIGIN_RUNTIME, o->draft,
                            FIELD_DNS | FIELD_DOMAINS | FIELD_RESOLVER, why);
}

/* Too many, too long, twice, or no domain at all: left out without a word (android.md §6.1). */
static int add_domains(struct network *n, const char *list)
{
    char text[NETDTEXT_REQUEST_MAX], *save = NULL;

    if (!str_set(text, sizeof(text), list))
        return -EINVAL;
    for (char *p = strtok_r(text, " \t", &save); p; p = strtok_r(NULL, " \t", &save))
        if (network_domain_check(p, NULL) == 0 && network_add_domain(n, p) == -ENOMEM)
            return -ENOMEM;
    return 0;
}

/* One that is no literal spoils all; more than there is room for are left out. */
static int add_servers(struct network *n, const char *const *servers, size_t n_servers)
{
    struct ip_addr addr;

    for (size_t i = 0; i < n_servers; i++) {
        if (ip_addr_parse(servers[i], &addr) < 0)
            return -EINVAL;
        if (network_add_dns(n, &addr) == -ENOMEM)
            return -ENOMEM;
    }
    return 0;
}

static int set_params(struct network *n, const char *word)
{
    struct netdtext_params params;

    if (netdtext_params(word, &params) < 0)
        return -EINVAL;
    n->resolver = (struct resolver_params){
        .sample_validity = params.sample_validity,
        .success_threshold = params.success_threshold,
        .min_samples = params.min_samples,
        .max_samples = params.max_samples,
    };
    return 0;
}

/* resolver setnetdns <netId> <domains> <dns1> [<dns2>…] [--params "<four numbers>"] */
static struct netd_answer run_setnetdns(struct netd_call *call)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    struct order o = { .netid = netdtext_number(call->argv[2]), .draft = draft };
    struct netd_answer answer;
    size_t end = call->argc;
    int r = draft ? 0 : -ENOMEM;

    if (r == 0 && end > 6 && streq(call->argv[end - 2], "--params")) {
        r = set_params(draft, call->argv[end - 1]);
        end -= 2;
    }
    if (r == 0)
        r = add_domains(draft, call->argv[3]);
    if (r == 0)
        r = add_servers(draft, call->argv + 4, end - 4);
    if (r < 0)
        return netd_syntax_error(bad_setnetdns);
    answer = netd_change(call, edit_dns, &o, succeeded, failed);
    /* the original does not tell one kind of failure from the other */
    return answer.error < 0 ? netd_syntax_error(bad_setnetdns) : answer;
}

/* resolver clearnetdns <netId> */
static struct netd_answer run_clearnetdns(struct netd_call *call)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    struct order o = { .netid = netdtext_number(call->argv[2]), .draft = draft };

    if (!draft)
        return netd_failed(failed, -ENOMEM);
    return netd_change(call, edit_dns, &o, succeeded, failed);
}

/* resolver flushnet <netId>: nothing is cached here, so there is only the netId to be judged */
static struct netd_answer run_flushnet(struct netd_call *call)
{
    char name[NETWORK_NAME_MAX + 1];
    int r = reconcile_now(call->manager, &call->why);

    if (r == 0)
        r = netd_network_name(call->manager->model, netdtext_number(call->argv[2]), name,
                              &call->why);
    return r < 0 ? netd_failed(failed, r) : netd_okay(succeeded);
}

static struct netd_answer run_unknown(struct netd_call *call)
{
    (void)call;
    return netd_syntax_error("Resolver unknown command");
}

struct netd_answer netd_resolver(struct netd_call *call)
{
    static const struct netd_verb verbs[] = {
        { "setnetdns", 5, SIZE_MAX, bad_setnetdns, run_setnetdns },
        { "clearnetdns", 3, 3, "Wrong number of arguments to resolver clearnetdns",
          run_clearnetdns },
        { "flushnet", 3, 3, "Wrong number of arguments to resolver flushnet", run_flushnet },
        { NULL, 2, SIZE_MAX, "", run_unknown },
    };

    return netd_dispatch(call, verbs, 1);
}
