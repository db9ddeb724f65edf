/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

#include "basic/array.h"
#include "basic/log.h"
#include "daemon/change.h"
#include "daemon/vpn-service-internal.h"
#include "decide/edit-vpn.h"
#include "decide/host.h"
#include "decide/vpn-conflict.h"
#include "decide/vpn.h"

static struct vpn_session as_session(const struct vpn_caller *c)
{
    return (struct vpn_session){
        .uid = c->uid,
        .pid = c->pid,
        .pidfd = c->pidfd,
        .file = c->file,
        .exe_id = *c->exe_id,
        .privileged = c->privileged,
    };
}

int vpn_service_check(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                      bool everyone, struct why *why)
{
    struct vpn_session session = as_session(c);

    return vpn_check(s->m->model, &session, name, everyone, why);
}

bool vpn_session_may(const struct vpn_session *session, const struct model *m)
{
    return vpn_check(m, session, session->name, session->everyone, NULL) == 0;
}

/* Sessions. */

bool vpn_session_is_alive(const struct vpn_session *session)
{
    struct pollfd poll_fd = { .fd = session->pidfd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) == 0;
}

struct vpn_session *vpn_session_of_owner(const struct vpn_service *s, const char *name)
{
    struct vpn_session *session;

    TAILQ_FOREACH(session, &s->sessions, entry)
    if (session->owner && streq(session->name, name))
        return session;
    return NULL;
}

static struct vpn_session *find(const struct vpn_service *s, uint32_t pid, const char *name)
{
    struct vpn_session *session;

    TAILQ_FOREACH(session, &s->sessions, entry)
    if (session->pid == pid && streq(session->name, name) && vpn_session_is_alive(session))
        return session;
    return NULL;
}

/* The same, while the program in the process is the one that prepared. */
static struct vpn_session *find_of(const struct vpn_service *s, const struct vpn_caller *c,
                                   const char *name)
{
    struct vpn_session *session = find(s, c->pid, name);

    return session && session->file.dev == c->file.dev && session->file.ino == c->file.ino ? session
                                                                                           : NULL;
}

void vpn_session_free(struct vpn_session *session)
{
    TAILQ_REMOVE(&session->service->sessions, session, entry);
    session->service->n_sessions--;
    sd_event_source_disable_unref(session->ended);
    if (session->pidfd >= 0)
        (void)close(session->pidfd);
    free(session);
}

/* Its descriptors may be somebody else's by now: only when the interface is gone, the VPN has died. */
static int on_process_ended(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct vpn_session *session = userdata;
    struct vpn_service *s = session->service;
    const struct vpn *v = session->owner ? model_vpn(s->m->model, session->name) : NULL;

    (void)source;
    (void)fd;
    (void)revents;
    log_debug("VPN '%s': process %u has ended", session->name, session->pid);
    vpn_session_free(session);
    if (v)
        vpn_life_look(s, v, VPN_LIFE_DELAY);
    return 0;
}

static int add_session(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                       struct vpn_session **ret, struct why *why)
{
    struct vpn_session *session;
    int r = vpn_check_room(s, c->uid, why);

    session = r == 0 ? calloc(1, sizeof(*session)) : NULL;
    if (!session)
        return r < 0 ? r : -ENOMEM;
    *session = as_session(c);
    session->service = s;
    (void)str_set(session->name, sizeof(session->name), name);
    TAILQ_INSERT_TAIL(&s->sessions, session, entry);
    s->n_sessions++;
    session->pidfd = fcntl(c->pidfd, F_DUPFD_CLOEXEC, 0);
    r = session->pidfd < 0 ? -errno : 0;
    if (r == 0)
        r = sd_event_add_io(s->m->event, &session->ended, session->pidfd, EPOLLIN, on_process_ended,
                            session);
    if (r < 0) {
        vpn_session_free(session);
        return r;
    }
    *ret = session;
    return 0;
}

/* After a restart of ours, or of the program: it stands, its user is the same, and nobody else has it. */
static bool takes_over(const struct vpn_service *s, const struct vpn_session *session)
{
    const struct vpn *v = model_vpn(s->m->model, session->name);

    return v && vpn_is_active(v) && v->owner_uid == session->uid &&
           !vpn_session_of_owner(s, session->name);
}

struct preparing {
    const char *name;
    uint32_t uid;
};

static int edit_prepare(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct preparing *p = data;

    (void)k;
    return edit_prepare_vpn(m, p->name, p->uid, why);
}

/* Held apps may be its own user's: it has to get out before it can be established. */
static int note_user(struct vpn_service *s, const char *name, uint32_t uid, struct why *why)
{
    struct preparing p = { .name = name, .uid = uid };
    const struct vpn *v = model_vpn(s->m->model, name);

    return !v || v->established || v->owner_uid == uid
               ? 0
               : manager_change(s->m, edit_prepare, &p, why);
}

int vpn_service_prepare(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                        bool everyone, struct why *why)
{
    struct vpn_session *session = find(s, c->pid, name);
    int r = note_user(s, name, c->uid, why);

    if (r == 0 && !session)
        r = add_session(s, c, name, &session, why);
    if (r < 0)
        return r;
    session->everyone = everyone;
    session->privileged = c->privileged;
    session->file = c->file;
    session->exe_id = *c->exe_id;
    session->owner = session->owner || takes_over(s, session);
    return 0;
}

bool vpn_service_is_prepared(const struct vpn_service *s, const struct vpn_caller *c,
                             const char *name)
{
    return find_of(s, c, name) != NULL;
}

/* Is that user held to something else than this VPN? Then it is that which he must not get past. */
static bool is_held_elsewhere(const struct model *m, uint32_t uid, const char *vpn)
{
    const struct uid_range *ranges;

    for (size_t i = 0; i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];
        size_t n = assignment_ranges(a, &ranges);

        if (a->network && (a->strength != STRENGTH_REQUIRE || streq(a->network->s, vpn)))
            continue;
        for (size_t j = 0; j < n; j++)
            if (ranges[j].lo <= uid && uid <= ranges[j].hi)
                return true;
    }
    return false;
}

bool vpn_service_may_protect(const struct vpn_service *s, uint32_t pid, uint32_t uid)
{
    const struct vpn_session *session;

    TAILQ_FOREACH(session, &s->sessions, entry)
    if (session->pid == pid && session->uid == uid && vpn_session_is_alive(session) &&
        !is_held_elsewhere(s->m->model, uid, session->name))
        return true;
    return false;
}

/* Establishing. */

struct establish {
    struct vpn_service *s;
    const struct vpn_session *session;
    struct vpn_config *config;
    const char *interface;
};

/* Root and his like need no consent, so whom they name is theirs to name. */
static bool is_for_everyone(const struct establish *e)
{
    return e->session->everyone ||
           (e->session->privileged && e->config->allowed.n + e->config->disallowed.n > 0);
}

/* May this VPN go down because another one wants its apps? */
static bool gives_way(const struct establish *e, const struct vpn *other)
{
    return other && !other->lockdown && !other->always_on &&
           !streq(other->name, e->session->name) &&
           (e->session->privileged ||
            (other->origin == ORIGIN_RUNTIME && other->owner_uid == e->session->uid));
}

/* What it will be, for vpn_check_apps(). */
static struct vpn *make_draft(const struct establish *e, const struct vpn *v)
{
    struct vpn *draft = v ? vpn_copy(v) : vpn_new();

    if (!draft)
        return NULL;
    if (!v) {
        (void)str_set(draft->name, sizeof(draft->name), e->session->name);
        draft->kind = VPN_SERVICE;
        draft->origin = ORIGIN_RUNTIME;
    }
    if (draft->origin == ORIGIN_RUNTIME)
        draft->everyone = is_for_everyone(e);
    draft->established = true;
    draft->down = false;
    draft->owner_uid = e->session->uid;
    vpn_config_unref(draft->config);
    draft->config = vpn_config_ref(e->config);
    return draft;
}

/* Those that have to give way do, in the same change. */
static int make_way(struct model *m, const struct establish *e, struct why *why)
{
    _cleanup_(vpn_unrefp) struct vpn *draft = make_draft(e, model_vpn(m, e->session->name));
    size_t tries = m->n_vpns;
    int r = draft ? -EBUSY : -ENOMEM;

    while (r == -EBUSY) {
        const char *other = NULL;

        r = vpn_check_apps(m, draft, &other, why);
        if (r != -EBUSY || !other || !gives_way(e, model_vpn(m, other)) || tries-- == 0)
            break;
        r = edit_down_vpn(m, other, why);
        r = r < 0 ? r : -EBUSY;
    }
    return r;
}

static int edit_establish(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct establish *e = data;
    int r = make_way(m, e, why);

    (void)k;
    return r < 0 ? r
                 : edit_establish_vpn(m, e->session->name, e->session->uid, is_for_everyone(e),
                                      e->config, e->interface, why);
}

static bool is_taken(const void *data, const char *name)
{
    const struct vpn_service *s = data;

    return model_network_of(s->m->model, name) || kernel_link_by_name(&s->m->kernel, name);
}

/* All that can be known without having done anything. */
static int check_establish(const struct establish *e, struct why *why)
{
    int r = vpn_check(e->s->m->model, e->session, e->session->name, e->session->everyone, why);

    if (r == 0)
        r = vpn_config_check(e->config, why);
    if (r == 0)
        r = vpn_check_addresses(e->s->m, e->session, e->config, why);
    if (r == 0)
        r = vpn_check_share(e->s->m->model, e->session, e->config, why);
    return r;
}

/* It is this process's now, and nobody else's. */
static void make_owner(struct vpn_service *s, struct vpn_session *session)
{
    struct vpn_session *before = vpn_session_of_owner(s, session->name);
    struct timespec now;

    session->owner = true;
    if (before == session)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    session->since = (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
    if (!before)
        return;
    if (s->told)
        s->told(s->told_data, before->pid, before->name, "another process took it over");
    vpn_session_free(before);
    vpn_life_end_replaced(s); /* it has nothing to write there any more */
}

int vpn_service_establish(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                          struct vpn_config *config, struct tun *ret, struct why *why)
{
    _cleanup_tun_ struct tun tun = TUN_INIT;
    struct vpn_session *session = find_of(s, c, name);
    struct establish e = { .s = s, .session = session, .config = config };
    char reason[NETWORK_NAME_MAX + 64];
    struct vpn_ending ending = { .reason = reason };
    int r;

    if (!session)
        return why_set(why, -EACCES,
                       "this process has not prepared VPN '%.64s': call Prepare first", name);
    r = check_establish(&e, why);
    if (r == 0)
        r = tun_create(&s->rtnl, config, &s->number, is_taken, s, &tun, why);
    if (r < 0)
        return r;
    e.interface = tun.name;
    snprintf(reason, sizeof(reason), "VPN '%s' has its apps now", session->name);
    r = vpn_service_change(s, &ending, edit_establish, &e, why);
    if (r < 0)
        return r;
    make_owner(s, session);
    *ret = tun;
    tun = TUN_INIT;
    return 0;
}

/* What its owner may do. */

struct configure {
    const char *name;
    struct vpn_config *config;
};

static int edit_configure(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct configure *q = data;

    (void)k;
    return edit_configure_vpn(m, q->name, q->config, why);
}

static int edit_leave(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    return edit_leave_vpn(m, data, why);
}

static int edit_down(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    return edit_down_vpn(m, data, why);
}

static int find_own(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                    struct vpn_session **ret, const struct vpn **ret_vpn, struct why *why)
{
    const struct vpn *v = model_vpn(s->m->model, name);
    struct vpn_session *session = find_of(s, c, name);

    if (!v)
        return why_set(why, -ENONET, "there is no VPN '%.64s'", name);
    if (!session || (vpn_is_active(v) && !session->owner))
        return why_set(why, -EPERM,
                       "VPN '%s' is not this process's: it is for who has established it, or "
                       "prepared it again",
                       v->name);
    if (!vpn_is_active(v))
        return why_set(why, -ENOTCONN, "VPN '%s' is not established", v->name);
    *ret = session;
    *ret_vpn = v;
    return 0;
}

int vpn_service_disconnect(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                           struct why *why)
{
    struct vpn_ending ending = { 0 };
    struct vpn_session *session;
    const struct vpn *v;
    int r = find_own(s, c, name, &session, &v, why);

    if (r < 0)
        return r;
    ending.by_choice = session->name;
    return vpn_service_change(s, &ending, edit_leave, session->name, why);
}

static int configure(struct vpn_service *s, const char *name, struct vpn_config *config,
                     struct why *why)
{
    struct configure q = { .name = name, .config = config };

    return vpn_service_change(s, &(struct vpn_ending){ 0 }, edit_configure, &q, why);
}

/* An address is there before the model has it, and until it has it no more. */
int vpn_service_change_address(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                               const char *address, bool add, struct why *why)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *config = NULL;
    const struct rtnl_link *link;
    struct vpn_session *session;
    struct ip_prefix prefix;
    const struct vpn *v;
    char text[IP_TEXT_MAX];
    int r = find_own(s, c, name, &session, &v, why), ifindex;

    if (r < 0)
        return r;
    config = vpn_config_copy(v->config);
    link = kernel_link_by_name(&s->m->kernel, v->interfaces[0]);
    ifindex = link ? link->ifindex : 0;
    r = !config ? -ENOMEM
        : add   ? vpn_config_add_address(config, address, why)
                : vpn_config_remove_address(config, address, why);
    if (r == 0)
        r = vpn_config_check(config, why);
    if (r == 0 && add)
        r = vpn_check_addresses(s->m, session, config, why);
    if (r < 0)
        return r;
    /* the length says nothing here, and may leave bits over */
    (void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(address, "/"), address);
    r = ip_addr_parse(text, &prefix.addr);
    if (r == 0 && add)
        r = tun_add_address(&s->rtnl, ifindex, &prefix.addr, why);
    if (r == 0)
        r = configure(s, session->name, config, why);
    if (add ? r < 0 : r == 0)
        (void)tun_remove_address(&s->rtnl, ifindex, &prefix.addr, NULL);
    return r;
}

int vpn_service_set_underlying(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                               const struct vpn_config *underlying, struct why *why)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *config = NULL;
    struct vpn_session *session;
    const struct vpn *v;
    int r = find_own(s, c, name, &session, &v, why);

    if (r < 0)
        return r;
    config = vpn_config_copy(v->config);
    if (!config)
        return -ENOMEM;
    while (config->n_underlying > 0)
        rstr_unref(config->underlying[--config->n_underlying]);
    config->underlying_set = underlying->underlying_set;
    for (size_t i = 0; r == 0 && i < underlying->n_underlying; i++)
        r = vpn_config_add_underlying(config, underlying->underlying[i]->s, why);
    return r < 0 ? r : configure(s, session->name, config, why);
}

int vpn_service_report(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                       enum vpn_report report, const char *reason, struct why *why)
{
    struct vpn_session *session = find_of(s, c, name);
    struct vpn_session *owner = vpn_session_of_owner(s, name);

    if (!session || (owner && owner != session))
        return why_set(why, -EPERM, "VPN '%.64s' is not this process's", name);
    if (strlen(reason) >= sizeof(session->reason))
        return why_set(why, -EINVAL, "a reason has %zu bytes at most", sizeof(session->reason) - 1);
    session->report = report;
    (void)str_set(session->reason, sizeof(session->reason), reason);
    return 0;
}

/* What others may do. */

int vpn_service_change(struct vpn_service *s, const struct vpn_ending *ending, manager_edit edit,
                       void *data, struct why *why)
{
    int r;

    s->ending = *ending;
    r = manager_change(s->m, edit, data, why);
    s->ending = (struct vpn_ending){ 0 };
    return r;
}

int vpn_service_down(struct vpn_service *s, const char *name, struct why *why)
{
    return vpn_service_change(s, &(struct vpn_ending){ .reason = "it was taken down" }, edit_down,
                              (void *)name, why);
}

struct consent {
    struct vpn_service *s;
    const struct selector *who;
    bool everyone;
};

static int edit_do_consent(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct consent *q = data;

    (void)k;
    return edit_consent(m, q->who, q->everyone, why);
}

/* Does the VPN stand by a consent, in this model? Of an owner who is not known his user's counts. */
static bool has_consent(const struct vpn_service *s, const struct model *m, const struct vpn *v)
{
    const struct vpn_session *owner = vpn_session_of_owner(s, v->name);
    const struct exe_id unknown = { 0 };

    return vpn_service_find_consent(m, v->owner_uid, owner ? &owner->exe_id : &unknown) != NULL;
}

/* Those that stand by it alone go down in the same change. */
static int edit_do_revoke(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct consent *q = data;
    const struct model *before = q->s->m->model;
    int r = edit_revoke_consent(m, q->who, why);

    (void)k;
    for (size_t i = 0; r == 0 && i < before->n_vpns; i++) {
        const struct vpn *v = before->vpns[i];
        const struct vpn_session *owner = vpn_session_of_owner(q->s, v->name);

        /* a program that nobody has heard of since we began may be any */
        bool had = has_consent(q->s, before, v) || (q->who->kind == SELECTOR_EXE && !owner);

        if (v->kind == VPN_SERVICE && v->established && !v->has_owner && model_vpn(m, v->name) &&
            !(owner && owner->privileged) && had && !has_consent(q->s, m, v))
            r = edit_down_vpn(m, v->name, why);
    }
    return r;
}

int vpn_service_consent(struct vpn_service *s, const struct selector *who, bool everyone,
                        struct why *why)
{
    struct consent q = { .s = s, .who = who, .everyone = everyone };

    return manager_change(s->m, edit_do_consent, &q, why);
}

int vpn_service_revoke_consent(struct vpn_service *s, const struct selector *who, struct why *why)
{
    struct consent q = { .s = s, .who = who };

    return vpn_service_change(s, &(struct vpn_ending){ .reason = "the consent was revoked" },
                              edit_do_revoke, &q, why);
}

/* How it is. */

static bool is_usable(const struct manager *m, const struct vpn *v)
{
    for (size_t i = 0; i < v->n_interfaces; i++) {
        const struct rtnl_link *link = kernel_link_by_name(&m->kernel, v->interfaces[i]);

        if (link && host_interface_usable(m->model, link))
            return true;
    }
    return false;
}

static const struct vpn_session *find_reporting(const struct vpn_service *s, const struct vpn *v)
{
    const struct vpn_session *session, *owner = vpn_session_of_owner(s, v->name);

    if (owner || vpn_is_active(v))
        return owner;
    TAILQ_FOREACH(session, &s->sessions, entry)
    if (streq(session->name, v->name))
        return session;
    return NULL;
}

const char *vpn_service_state(const struct vpn_service *s, const struct vpn *v,
                              const char **ret_reason)
{
    static const char *const words[VPN_REPORT_MAX] = {
        [VPN_REPORT_CONNECTED] = "up",
        [VPN_REPORT_CONNECTING] = "connecting",
        [VPN_REPORT_FAILED] = "failed",
    };
    const struct vpn_session *session = find_reporting(s, v);
    enum vpn_report report = session ? session->report : VPN_REPORT_CONNECTED;
    bool up = vpn_is_active(v) && is_usable(s->m, v);

    *ret_reason = session ? session->reason : "";
    if (up || report != VPN_REPORT_CONNECTED)
        return words[report];
    return vpn_holds(v) && !vpn_is_bypassable(v) ? "blocked" : "down";
}

uint64_t vpn_service_since(const struct vpn_service *s, const char *name)
{
    const struct vpn_session *owner = vpn_session_of_owner(s, name);

    return owner ? owner->since : 0;
}

/* Beginning and end. */

int vpn_service_new(struct manager *m, struct vpn_service **ret)
{
    struct vpn_service *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return log_oom();
    s->m = m;
    s->rtnl = NLSOCK_INIT;
    TAILQ_INIT(&s->sessions);
    r = nlsock_open(&s->rtnl, NETLINK_ROUTE);
    if (r < 0) {
        vpn_service_free(s);
        return log_error_errno(r, "cannot open a netlink socket");
    }
    manager_listen(m, &(struct listener){
                          .data = s, .commit = vpn_life_on_commit, .event = vpn_life_on_event });
    vpn_life_start(s);
    *ret = s;
    return 0;
}

void vpn_service_free(struct vpn_service *s)
{
    struct vpn_session *session;

    if (!s)
        return;
    while ((session = TAILQ_FIRST(&s->sessions)))
        vpn_session_free(session);
    vpn_life_done(s);
    nlsock_close(&s->rtnl);
    free(s);
}

void vpn_service_on_revoked(struct vpn_service *s, vpn_revoked told, void *data)
{
    s->told = told;
    s->told_data = data;
}
