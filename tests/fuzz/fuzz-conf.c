/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The configuration: syntax, keys, and what comes of it in an empty model of a small machine. A
 * reason begins with its place; a configuration that is applied twice changes nothing the second
 * time.
 */

#include "basic/log.h"
#include "daemon/config.h"
#include "decide/edit-vpn.h"
#include "fuzz/fuzz.h"
#include "unit/scene.h"

static void check_networks(const struct model *m)
{
    for (size_t i = 0; i < m->n_networks; i++) {
        const struct network *n = m->networks[i];

        MUST(i == 0 || m->networks[i - 1]->netid < n->netid);
        MUST(network_name_check(n->name, NULL) == 0);
        MUST(model_network_by_name(m, n->name) == n);
        MUST(n->n_dns <= NETWORK_DNS_MAX && n->n_domains <= NETWORK_DOMAINS_MAX);
        MUST((n->type == NETWORK_LOCAL) == (n->netid == NETID_LOCAL));
        MUST((n->type == NETWORK_UNREACHABLE) == (n->netid == NETID_UNREACHABLE));
        MUST(n->permission == PERMISSION_NONE || n->type == NETWORK_PHYSICAL);
        for (size_t j = 0; j < n->n_interfaces; j++)
            MUST(model_network_of(m, n->interfaces[j]) == n);
        for (size_t j = 0; j < n->n_routes; j++)
            MUST(network_has_interface(n, n->routes[j].interface));
    }
}

static void check_vpns(const struct model *m)
{
    for (size_t i = 0; i < m->n_vpns; i++) {
        const struct network *n = model_network_by_name(m, m->vpns[i]->name);

        MUST(i == 0 || strcmp(m->vpns[i - 1]->name, m->vpns[i]->name) < 0);
        MUST(n && n->origin == ORIGIN_VPN && n->type == NETWORK_VPN);
        MUST(vpn_check_profile(m->vpns[i], NULL) == 0);
    }
}

static void check_model(const struct model *m)
{
    check_networks(m);
    check_vpns(m);
    for (size_t i = 1; i < m->assignments->n; i++)
        MUST(selector_compare(&m->assignments->items[i - 1].selector,
                              &m->assignments->items[i].selector) < 0);
}

static void check_why(const struct why *why)
{
    MUST(why->error < 0);
    MUST(startswith(why->text, "fuzz.conf:"));
    MUST(why->text[STRLEN("fuzz.conf:")] >= '1' && why->text[STRLEN("fuzz.conf:")] <= '9');
}

/* Twice: the second time every network and VPN is the same object as before. */
static void apply(const struct config *c, struct scene *s)
{
    _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
    struct why why = { 0 };
    struct model *first;

    if (config_apply(c, s->m, &s->k, &why) < 0) {
        check_why(&why);
        return;
    }
    check_model(s->m);
    dump_model(s->m, &before);
    first = model_copy(s->m);
    MUST(first);
    MUST(config_apply(c, s->m, &s->k, &why) == 0);
    dump_model(s->m, &after);
    MUST(streq(strbuf_text(&before), strbuf_text(&after)));
    for (size_t i = 0; i < first->n_networks; i++)
        MUST(first->networks[i] == s->m->networks[i]);
    for (size_t i = 0; i < first->n_vpns; i++)
        MUST(first->vpns[i] == s->m->vpns[i]);
    model_free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = config_new();
    struct why why = { 0 };
    struct scene s;
    int r;

    MUST(c);
    log_set_max_level(LOG_EMERG);
    scene_init(&s);
    scene_run(&s, "link 2 eth0\nlink 3 eth1\nlink 4 wg0 arphrd 65534\naddr eth0 10.0.0.2/24\n");
    r = config_parse(c, "fuzz.conf", (const char *)data, size, &why);
    if (r == 0)
        r = config_finish(c, &why);
    if (r < 0)
        check_why(&why);
    else
        apply(c, &s);
    scene_done(&s);
    config_free(c);
    return 0;
}
