/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit/scene.h"

#include <stdio.h>

#include "basic/parse.h"
#include "plan/explain.h"
#include "plan/ops.h"

void scene_bad(const char *what, const char *word)
{
    (void)fprintf(stderr, "scene: '%s' is no %s\n", word, what);
    abort();
}

uint32_t scene_number(const char *word, uint32_t max)
{
    uint32_t v;

    if (parse_u32(word, max, &v) < 0)
        scene_bad("number here", word);
    return v;
}

const struct rtnl_link *scene_link(const struct scene *s, const char *name)
{
    const struct rtnl_link *link = kernel_link_by_name(&s->k, name);

    if (!link)
        scene_bad("interface of the scene", name);
    return link;
}

void scene_init(struct scene *s)
{
    *s = (struct scene){ .m = model_new() };
    if (!s->m)
        abort();
    s->m->host_networks = true;
    scene_run(s, "link 1 lo arphrd 772\n"
                 "addr lo 127.0.0.1/8 scope host bare\n"
                 "addr lo ::1/128 scope host bare\n"
                 "iproute local 127.0.0.0/8 dev lo table local scope host proto 2\n"
                 "iproute local 127.0.0.1/32 dev lo table local scope host proto 2\n"
                 "iproute broadcast 127.255.255.255/32 dev lo table local scope link proto 2\n"
                 "iproute local ::1/128 dev lo table local proto 2\n"
                 "iprule 0 proto 2 lookup local\n"
                 "iprule 32766 proto 2 lookup main\n"
                 "iprule4 32767 proto 2 lookup default\n");
}

void scene_done(struct scene *s)
{
    kernel_done(&s->k);
    model_free(s->m);
    s->m = NULL;
}

int scene_line(struct scene *s, const char *line, struct why *why)
{
    const char *words[SCENE_WORDS_MAX];
    char text[1024], *save = NULL;
    struct why ignored = { 0 };
    size_t n = 0;
    int r;

    if (!str_set(text, sizeof(text), line))
        scene_bad("short line", line);
    for (char *w = strtok_r(text, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (n == SCENE_WORDS_MAX)
            scene_bad("short line", line);
        words[n++] = w;
    }
    if (n == 0 || words[0][0] == '#')
        return 0;
    r = scene_kernel_line(s, words, n);
    if (r == SCENE_NO_SUCH_VERB)
        r = scene_model_line(s, words, n, why ? why : &ignored);
    if (r == SCENE_NO_SUCH_VERB)
        r = scene_vpn_line(s, words, n, why ? why : &ignored);
    if (r == SCENE_NO_SUCH_VERB)
        scene_bad("line of a scene", line);
    return r;
}

void scene_run(struct scene *s, const char *text)
{
    char line[1024];

    while (*text) {
        size_t n = strcspn(text, "\n");
        struct why why = { 0 };
        int r;

        if (n >= sizeof(line))
            scene_bad("short line", text);
        memcpy(line, text, n);
        line[n] = '\0';
        r = scene_line(s, line, &why);
        if (r < 0) {
            (void)fprintf(stderr, "scene: '%s': %s\n", line, why_text(&why, r));
            abort();
        }
        text += n + (text[n] == '\n');
    }
}

struct plan *scene_plan(const struct scene *s, bool guard, const struct plan *previous)
{
    struct plan_input input = {
        .model = s->m,
        .kernel = &s->k,
        .generation = 1,
        .guard = guard,
        .maps = s->m->process_selectors,
        .apps = s->apps,
        .n_apps = s->n_apps,
    };
    struct plan *p = NULL;

    if (plan_build(&input, previous, &p) < 0)
        abort();
    return p;
}

void scene_apply(struct scene *s, const struct plan *p)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    _cleanup_ops_ struct ops ops = { 0 };

    if (!empty || plan_diff(empty, p, NULL, &ops) < 0)
        abort();
    for (size_t i = 0; i < ops.n; i++)
        if (op_simulate(&ops.items[i], &s->k) < 0)
            abort();
}

void scene_machine(struct scene *s)
{
    char line[128];

    scene_init(s);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(line, sizeof(line),
                 "link %u eth%u\naddr eth%u 10.0.%u.2/24\naddr eth%u fd00:%u::2/64", i + 2, i, i, i,
                 i, i);
        scene_run(s, line);
    }
    scene_run(s, "iproute 0.0.0.0/0 via 10.0.0.1 dev eth0\n"
                 "iproute 0.0.0.0/0 via 10.0.1.1 dev eth1 metric 50\n"
                 "iproute 172.16.0.0/12 via 10.0.1.9 dev eth1 mtu 1300\n"
                 "iproute ::/0 via fd00::1 dev eth0\n"
                 "iproute ::/0 via fd00:1::1 dev eth1 metric 90\n");
}

struct rtnl_flow scene_packet(const struct scene *s, const char *text)
{
    struct rtnl_flow flow = { .uid = 1000 };
    char copy[256], *save = NULL, *w;

    if (!str_set(copy, sizeof(copy), text) || !(w = strtok_r(copy, " ", &save)) ||
        ip_addr_parse(w, &flow.dst) < 0)
        scene_bad("packet", text);
    while ((w = strtok_r(NULL, " ", &save))) {
        const char *value = strtok_r(NULL, " ", &save);

        if (!value)
            scene_bad("complete packet", text);
        if (streq(w, "from") && ip_addr_parse(value, &flow.src) == 0)
            continue;
        if (streq(w, "uid"))
            flow.uid = scene_number(value, UINT32_MAX);
        else if (streq(w, "mark"))
            flow.mark = (uint32_t)strtoul(value, NULL, 0);
        else if (streq(w, "oif"))
            flow.oif = scene_link(s, value)->ifindex;
        else
            scene_bad("word of a packet", w);
    }
    return flow;
}

static void dump_network(const struct network *n, struct strbuf *b)
{
    char text[IP_TEXT_MAX], range[UID_RANGE_TEXT_MAX];

    strbuf_add(b,
               "network %u '%s' %s %s permission %s%s%s%s%s%s resolver %u,%u,%u,%u source '%s'\n",
               n->netid, n->name, network_type_to_string(n->type), origin_to_string(n->origin),
               permission_to_string(n->permission), n->secure ? " secure" : "",
               n->has_dns ? " has-dns" : "", n->exclude_local ? " exclude-local" : "",
               n->fall_through ? " fall-through" : "", n->lockdown ? " lockdown" : "",
               n->resolver.sample_validity, n->resolver.success_threshold, n->resolver.min_samples,
               n->resolver.max_samples, rstr_text(n->source));
    for (size_t i = 0; i < n->n_interfaces; i++)
        strbuf_add(b, "  interface '%s'\n", n->interfaces[i]);
    for (size_t i = 0; i < n->n_routes; i++) {
        strbuf_add(b, "  route ");
        route_spec_print(&n->routes[i], b);
        strbuf_add(b, "\n");
    }
    for (size_t i = 0; i < n->n_outside; i++)
        strbuf_add(b, "  outside %s\n", ip_prefix_format(&n->outside[i], text));
    for (size_t i = 0; i < n->n_users; i++)
        strbuf_add(b, "  users %s\n", uid_range_format(&n->users[i], range));
    for (size_t i = 0; i < n->n_dns; i++)
        strbuf_add(b, "  dns %s\n", ip_addr_format(&n->dns[i], text));
    for (size_t i = 0; i < n->n_domains; i++)
        strbuf_add(b, "  domain '%s'\n", n->domains[i]->s);
}

static void dump_assignment(const struct assignment *a, struct strbuf *b)
{
    char range[UID_RANGE_TEXT_MAX];

    strbuf_add(b, "assign ");
    selector_print(&a->selector, b);
    strbuf_add(b, " %s %s %s at '%s':%u", a->network ? a->network->s : "-",
               strength_to_string(a->strength), origin_to_string(a->origin), rstr_text(a->file),
               a->line);
    for (size_t i = 0; a->uids && i < a->uids->n; i++)
        strbuf_add(b, " %s", uid_range_format(&a->uids->ranges[i], range));
    strbuf_add(b, "\n");
}

static void dump_last_uids(const struct assignment *a, struct strbuf *b)
{
    char range[UID_RANGE_TEXT_MAX];

    strbuf_add(b, "last ");
    selector_print(&a->selector, b);
    for (size_t i = 0; i < a->uids->n; i++)
        strbuf_add(b, " %s", uid_range_format(&a->uids->ranges[i], range));
    strbuf_add(b, "\n");
}

void dump_model(const struct model *m, struct strbuf *b)
{
    strbuf_add(b, "host-networks %d default '%s' from '%s'\n", m->host_networks,
               rstr_text(m->default_network), rstr_text(m->default_source));
    for (size_t i = 0; i < m->n_networks; i++)
        dump_network(m->networks[i], b);
    for (size_t i = 0; i < m->assignments->n; i++)
        dump_assignment(&m->assignments->items[i], b);
    for (size_t i = 0; i < m->last_uids->n; i++)
        dump_last_uids(&m->last_uids->items[i], b);
    for (size_t i = 0; i < m->n_permissions; i++)
        strbuf_add(b, "permission %u %s\n", m->permissions[i].uid,
                   permission_to_string(m->permissions[i].permission));
    for (size_t i = 0; i < m->n_protectable; i++)
        strbuf_add(b, "protect %u\n", m->protectable[i]);
    for (size_t i = 0; i < m->n_legacy; i++) {
        strbuf_add(b, "legacy %d ", m->legacy[i].system);
        route_spec_print(&m->legacy[i].route, b);
        strbuf_add(b, "\n");
    }
    for (size_t i = 0; i < m->n_known; i++)
        strbuf_add(b, "known '%s' %u\n", m->known[i].name->s, m->known[i].netid);
    for (size_t i = 0; i < m->n_ignored; i++)
        strbuf_add(b, "ignore '%s'\n", m->ignored[i]->s);
    dump_vpns(m, b);
}

static void dump_guard(const struct guard *g, struct strbuf *b)
{
    char range[UID_RANGE_TEXT_MAX];

    for (size_t i = 0; i < g->n_entries; i++)
        strbuf_add(b, "guard entry %s %u\n", uid_range_format(&g->entries[i].uid, range),
                   g->entries[i].netid);
    for (size_t i = 0; i < g->n_chains; i++)
        strbuf_add(b, "guard chain %u %d\n", g->chains[i].netid, g->chains[i].exempt_protected);
    for (size_t i = 0; i < g->n_ports; i++)
        strbuf_add(b, "guard port %u %d\n", g->ports[i].netid, g->ports[i].ifindex);
    for (size_t i = 0; i < g->n_incoming; i++)
        strbuf_add(b, "guard incoming %d 0x%x\n", g->incoming[i].ifindex, g->incoming[i].mark);
}

void dump_kernel(const struct kernel *k, struct strbuf *b)
{
    for (unsigned f = 0; f < 2; f++) {
        for (size_t i = 0; i < k->n_rules[f]; i++) {
            strbuf_add(b, "%u %u proto %u: ", family_at(f), k->rules[f][i].priority,
                       k->rules[f][i].protocol);
            rtnl_rule_print(&k->rules[f][i], b);
            strbuf_add(b, "\n");
        }
        for (size_t i = 0; i < k->n_routes[f]; i++) {
            strbuf_add(b, "proto %u ", k->routes[f][i].protocol);
            plan_route_print(&k->routes[f][i], NULL, b);
            strbuf_add(b, "\n");
        }
    }
    strbuf_add(b, "guard %s\n", k->guard ? "there" : "none");
    if (k->guard)
        dump_guard(k->guard, b);
}

static int compare_lines(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;
    return strcmp(*a, *b);
}

char *dump_kernel_sorted(const struct kernel *k)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, sorted = STRBUF_INIT;
    char *save = NULL, *text = NULL;
    const char *lines[4096];
    size_t n = 0;

    dump_kernel(k, &b);
    for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (n == ELEMENTSOF(lines))
            abort();
        lines[n++] = l;
    }
    qsort(lines, n, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < n; i++)
        strbuf_add(&sorted, "%s\n", lines[i]);
    if (strbuf_finish(&sorted, &text) < 0)
        abort();
    return text;
}
