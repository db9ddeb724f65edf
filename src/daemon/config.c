/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/config-keys.h"
#include "daemon/config-vpn.h"
#include "decide/host.h"
#include "decide/vpn.h"

enum { CONFIG_SIZE_MAX = 64 << 20 };

static const char *const default_ignored[] = { "docker*", "br-*", "veth*", "virbr*", "lo" };

struct config *config_new(void)
{
    struct config *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->log_level = -1;
    c->assignments = assignments_new();
    if (!c->assignments) {
        free(c);
        return NULL;
    }
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_networks; i++) {
        network_unref(c->networks[i].draft);
        rstr_unref(c->networks[i].file);
    }
    for (size_t i = 0; i < c->n_ignored; i++)
        rstr_unref(c->ignored[i]);
    for (size_t i = 0; i < c->n_vpns; i++)
        config_vpn_done(&c->vpns[i]);
    free(c->networks);
    free(c->vpns);
    free(c->ignored);
    assignments_unref(c->assignments);
    rstr_unref(c->default_network);
    rstr_unref(c->default_source);
    free(c);
}

int config_parse(struct config *c, const char *file, const char *text, size_t size, struct why *why)
{
    _cleanup_(rstr_unrefp) struct rstr *name = rstr_new(file);
    struct config_reader reader = { .config = c, .file = name };
    unsigned line = 0;
    int r;

    if (!name)
        return -ENOMEM;
    r = conf_parse(text, size, config_handle_line, &reader, &line, why);
    if (r < 0)
        (void)why_prefix(why, "%s:%u", file, line);
    return r;
}

/* `what`, a bit of enum config_found, is noted when the file is there. */
static int load_file(struct config *c, const char *path, unsigned what, struct why *why)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = fd_read_file(path, CONFIG_SIZE_MAX, &text, &size);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return why_set(why, r, "cannot read %s: %s", path, strerror(-r));
    c->found |= what;
    return config_parse(c, path, text, size, why);
}

static int load_folder(struct config *c, const char *path, struct why *why)
{
    _cleanup_free_ char *folder = NULL, *file = NULL;
    struct dirent **entries = NULL;
    int n, r;

    if (asprintf(&file, "%s/waymark.conf", path) < 0 || asprintf(&folder, "%s/conf.d", path) < 0)
        return -ENOMEM;
    r = load_file(c, file, CONFIG_FOUND_MAIN, why);
    n = r < 0 ? 0 : scandir(folder, &entries, fd_is_drop_in, alphasort);
    if (n < 0)
        return errno == ENOENT
                   ? 0
                   : why_set(why, -errno, "cannot read %s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *one = NULL;

        if (r == 0)
            r = asprintf(&one, "%s/%s", folder, entries[i]->d_name) < 0
                    ? -ENOMEM
                    : load_file(c, one, CONFIG_FOUND_DROP_INS, why);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int add_default_ignored(struct config *c)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(default_ignored); i++) {
        struct rstr *pattern = rstr_new(default_ignored[i]);

        r = pattern ? ARRAY_PUSH(c->ignored, c->n_ignored, c->cap_ignored, pattern) : -ENOMEM;
        if (r < 0)
            rstr_unref(pattern);
    }
    return r;
}

static int find_twice(const struct config *c, size_t i, struct why *why)
{
    const struct config_network *b = &c->networks[i];

    for (size_t j = 0; j < i; j++)
        if (streq(b->draft->name, c->networks[j].draft->name))
            return why_set(why, -EEXIST, "%s:%u: network '%s' stands already in %s:%u",
                           rstr_text(b->file), b->line, b->draft->name,
                           rstr_text(c->networks[j].file), c->networks[j].line);
    return 0;
}

/* Is file `a` read after `b`? The drop-ins come after waymark.conf, in alphasort(3)'s order. */
static bool is_read_later(const char *a, const char *b)
{
    bool drop_in_a = strstr(a, "/conf.d/"), drop_in_b = strstr(b, "/conf.d/");

    return drop_in_a != drop_in_b ? drop_in_a : strcoll(a, b) > 0;
}

int config_finish(struct config *c, struct why *why)
{
    size_t twice;
    int r = 0;

    if (assignments_sort(c->assignments, &twice) < 0) {
        const struct assignment *b = &c->assignments->items[twice], *a = b - 1;

        if (is_read_later(rstr_text(a->file), rstr_text(b->file))) {
            b = a;
            a = b + 1;
        }
        return why_set(why, -EEXIST, "%s:%u: this selector is assigned already, in %s:%u",
                       rstr_text(b->file), b->line, rstr_text(a->file), a->line);
    }
    for (size_t i = 0; r == 0 && i < c->n_networks; i++) {
        r = find_twice(c, i, why);
        if (r == 0)
            r = config_settle_network(&c->networks[i], why);
    }
    for (size_t i = 0; r == 0 && i < c->n_vpns; i++)
        r = config_settle_vpn(&c->vpns[i], why);
    return r < 0 ? r : config_check_vpns(c, why);
}

int config_load(const char *path, struct config **ret, struct why *why)
{
    _cleanup_(config_freep) struct config *c = config_new();
    struct stat st;
    int r;

    if (!c)
        return -ENOMEM;
    if (stat(path, &st) == 0)
        c->found |= CONFIG_FOUND_PATH;
    if (c->found && !S_ISDIR(st.st_mode))
        r = load_file(c, path, 0, why);
    else
        r = load_folder(c, path, why);
    if (r == 0)
        r = config_finish(c, why);
    if (r == 0 && c->n_ignored == 0)
        r = add_default_ignored(c);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}

int config_check_found(const struct config *c, const char *path, unsigned expected, struct why *why)
{
    static const struct {
        enum config_found what;
        const char *suffix;
    } rows[] = {
        { CONFIG_FOUND_PATH, "" },
        { CONFIG_FOUND_MAIN, "/waymark.conf" },
        { CONFIG_FOUND_DROP_INS, "/conf.d" },
    };
    struct stat st;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *gone = NULL;

        if (!(expected & ~c->found & rows[i].what))
            continue;
        if (asprintf(&gone, "%s%s", path, rows[i].suffix) < 0)
            return -ENOMEM;
        /* the last drop-in may go, as long as it is not the folder that went */
        if (rows[i].what == CONFIG_FOUND_DROP_INS && stat(gone, &st) == 0)
            continue;
        return why_set(why, -ENOENT,
                       "there is no %s: put it back; an empty one takes out what stood in it",
                       gone);
    }
    return 0;
}

/* Networks of the old configuration that are not the same in the new one. */
static void drop_old_networks(struct model *m)
{
    for (size_t i = m->n_networks; i-- > 0;)
        if (m->networks[i]->origin == ORIGIN_CONFIG)
            model_drop_network(m, m->networks[i]->netid);
}

static int apply_network(const struct config_network *cn, struct model *m, const struct kernel *k,
                         const struct model *before, struct why *why)
{
    const struct network *other = model_network_by_name(m, cn->draft->name);
    uint32_t netid;
    int r;

    if (other && other->origin != ORIGIN_HOST) {
        log_notice("%s:%u: network '%s' takes the place of the one made by command",
                   rstr_text(cn->file), cn->line, cn->draft->name);
        model_drop_network(m, other->netid);
    }
    r = edit_add_network(m, k, cn->draft, cn->fields, &netid, why);
    if (r < 0) {
        (void)why_prefix(why, "%s:%u", rstr_text(cn->file), cn->line);
        return r;
    }

    struct network *old = model_network(before, netid), *n = model_network(m, netid);
    /* what was found out when the interface was there still holds */
    if (old && old->type_open && n->type_open && n->n_interfaces > 0 &&
        network_has_interface(old, n->interfaces[0]) && !kernel_link_by_name(k, n->interfaces[0])) {
        n->type = old->type;
        n->secure = old->secure;
    }
    /* one that did not change stays the same object, so that nothing is planned anew for it */
    if (old && network_equal(old, n))
        return model_put_network(m, network_ref(old));
    return 0;
}

/* With a netId given first, so that those without do not take it. */
static int apply_networks(const struct config *c, struct model *m, const struct kernel *k,
                          const struct model *before, struct why *why)
{
    int r = 0;

    for (int given = 1; given >= 0; given--)
        for (size_t i = 0; r == 0 && i < c->n_networks; i++)
            if (!!(c->networks[i].fields & FIELD_NETID) == !!given)
                r = apply_network(&c->networks[i], m, k, before, why);
    return r;
}

/*
 * What the back-end cannot hold is no reason to hold nothing: a kernel without BPF must not keep the
 * rest from being enforced. The doctor says so, too.
 */
static void warn_unsupported(const struct model *m)
{
    const struct assignments *all = m->assignments;
    const struct assignment *first = NULL;
    struct why why = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < all->n; i++) {
        const struct assignment *a = &all->items[i];

        if ((a->origin != ORIGIN_CONFIG && a->origin != ORIGIN_VPN) ||
            selector_check_supported(&a->selector, m->process_selectors, NULL) == 0)
            continue;
        first = first ? first : a;
        n++;
    }
    if (!first)
        return;
    (void)selector_check_supported(&first->selector, false, &why);
    if (first->file)
        (void)why_prefix(&why, "%s:%u", first->file->s, first->line);
    log_warning("%s; %zu such assignments hold nobody", why.text, n);
}

/* Merges two sorted tables: those of the configuration, and those by command that it leaves. */
static int apply_assignments(const struct config *c, struct model *m)
{
    const struct assignments *old = m->assignments, *new = c->assignments;
    _cleanup_(assignments_unrefp) struct assignments *all = assignments_new();
    struct assignments_walk w = { .a = old, .b = new };
    const struct assignment *o, *n;
    int r = all ? 0 : -ENOMEM;

    while (r == 0 && assignments_next(&w, &o, &n)) {
        struct assignment a = n ? *n : *o;

        if (!n && a.origin == ORIGIN_CONFIG)
            continue;
        a.selector.text = rstr_ref(a.selector.text);
        a.network = rstr_ref(a.network);
        a.uids = uid_set_ref(a.uids);
        a.file = rstr_ref(a.file);
        a.network = model_intern_name(m, a.network);
        r = assignments_push(all, &a);
    }
    if (r < 0)
        return r;
    assignments_unref(m->assignments);
    m->assignments = TAKE_PTR(all);
    return 0;
}

static int apply_ignored(const struct config *c, struct model *m)
{
    for (size_t i = 0; i < m->n_ignored; i++)
        rstr_unref(m->ignored[i]);
    m->n_ignored = 0;
    if (ARRAY_RESERVE(m->ignored, m->cap_ignored, c->n_ignored) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < c->n_ignored; i++)
        m->ignored[m->n_ignored++] = rstr_ref(c->ignored[i]);
    return 0;
}

static void apply_default(const struct config *c, struct model *m)
{
    if (c->default_source || m->default_source) {
        rstr_unref(m->default_network);
        rstr_unref(m->default_source);
        m->default_network = rstr_ref(c->default_network);
        m->default_source = rstr_ref(c->default_source);
    }
}

/* Of the networks as they will be, those of the host included, which at the start are yet to come. */
static int check_default(const struct config *c, const struct model *m, const struct kernel *k,
                         struct why *why)
{
    _cleanup_(model_freep) struct model *next = model_copy(m);
    const struct network *n;

    if (!next || vpn_update(next) < 0 || host_update(next, k) < 0)
        return -ENOMEM;
    n = m->default_network ? model_network_by_name(next, m->default_network->s) : NULL;
    if (!n || n->type == NETWORK_PHYSICAL)
        return 0;
    for (size_t i = 0; i < c->n_vpns && !m->default_source; i++)
        if (streq(c->vpns[i].draft->name, n->name))
            return why_set(why, -EINVAL,
                           "%s:%u: network '%s' is the default, which a VPN cannot be: `waymark "
                           "default system` first",
                           rstr_text(c->vpns[i].file), c->vpns[i].line, n->name);
    if (m->default_source)
        return why_set(why, -EINVAL, "%s: the default network must be physical, '%s' is of type %s",
                       m->default_source->s, n->name, network_type_to_string(n->type));
    for (size_t i = 0; i < c->n_networks; i++)
        if (streq(c->networks[i].draft->name, n->name))
            return why_set(why, -EINVAL,
                           "%s:%u: network '%s' is the default, which must be physical, not a %s: "
                           "`waymark default system` first",
                           rstr_text(c->networks[i].file), c->networks[i].line, n->name,
                           network_type_to_string(n->type));
    return 0; /* the host's: it is no default while it is none that can be */
}

int config_apply(const struct config *c, struct model *m, const struct kernel *k, struct why *why)
{
    _cleanup_(model_freep) struct model *before = model_copy(m);
    int r;

    if (!before)
        return -ENOMEM;
    drop_old_networks(m);
    r = apply_ignored(c, m);
    if (r == 0)
        r = config_apply_vpns(c, m, before, why);
    if (r == 0)
        r = apply_networks(c, m, k, before, why);
    if (r == 0)
        r = apply_assignments(c, m);
    if (r < 0)
        return r;
    apply_default(c, m);
    r = vpn_update(m);
    if (r < 0)
        return r;
    warn_unsupported(m);
    return check_default(c, m, k, why);
}
