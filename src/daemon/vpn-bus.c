/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The interface org.waymark1.VpnService of /org/waymark1.
 *
 * What makes a process a VPN is for our own socket alone: there the kernel says who connected, and descriptors
 * go out. The broker of the system bus knows numbers, which may be others' by now.
 */

#include "daemon/vpn-bus.h"

#include <errno.h>

#include "basic/fd.h"
#include "daemon/bus-end.h"
#include "daemon/runs.h"
#include "daemon/vpn-parameters.h"
#include "daemon/vpn-service.h"
#include "observe/peer.h"
#include "observe/process.h"

/* Who calls. */
struct caller {
    struct vpn_caller c;
    struct exe_id exe;
};

static void caller_done(struct caller *q)
{
    if (q->c.pidfd >= 0)
        (void)close(q->c.pidfd);
}

#define CALLER_INIT ((struct caller){ .c.pidfd = -1 })

/* Enough for a process that is known already. */
static int read_number(const struct bus_call *call, struct caller *q, struct why *why)
{
    if (call->end->system)
        return why_set(
            why, -EOPNOTSUPP,
            "this is not for the system bus: call it on %s/bus, where the kernel says who "
            "calls, and descriptors can be had",
            call->m->options.runtime_dir);
    if (!bus_auth_is_same(call->end))
        return why_set(why, -EPERM, "the process that connected is gone: connect yourself");
    if (call->end->shared)
        return why_set(why, -EPERM,
                       "another process has written to this connection, too: whoever is to be a "
                       "VPN connects himself");
    q->c.uid = call->end->cred.uid;
    q->c.pid = (uint32_t)call->end->cred.pid;
    q->c.exe_id = &q->exe;
    return process_identify_file(q->c.pid, &q->c.file);
}

static int read_caller(const struct bus_call *call, struct caller *q, struct why *why)
{
    int r = read_number(call, q, why);

    if (r == 0)
        r = peer_open_pidfd(call->end->fd, &q->c.pidfd);
    if (r < 0)
        return r;
    /* who connected as another program is not known by what he executes now: that may be for show */
    if (process_identify_exe(q->c.pid, &q->exe) < 0 || !bus_auth_is_same_program(call->end))
        q->exe = (struct exe_id){ 0 };
    q->c.privileged = bus_auth_is_privileged(call->end);
    /* what was read is of who connected if that one is still there */
    return bus_auth_is_same(call->end) ? 0 : -ESRCH;
}

/* Being a VPN. */

struct preparation {
    const char *name;
    int interactive, everyone;
};

static int read_preparation(sd_bus_message *msg, struct preparation *p, struct why *why)
{
    const char *key;
    int r = sd_bus_message_read(msg, "s", &p->name);

    if (r >= 0)
        r = sd_bus_message_enter_container(msg, 'a', "{sv}");
    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = sd_bus_message_read(msg, "s", &key);
        if (r >= 0)
            r = streq(key, "Interactive") ? sd_bus_message_read(msg, "v", "b", &p->interactive)
                : streq(key, "Everyone")
                    ? sd_bus_message_read(msg, "v", "b", &p->everyone)
                    : why_set(why, -EINVAL, "Prepare has no option '%.60s'", key);
        if (r == -ENXIO)
            r = why_set(why, -EINVAL, "option '%s' is a boolean", key);
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    return r < 0 ? r : sd_bus_message_exit_container(msg);
}

static int prepare(struct bus_call *call, const struct caller *q, const struct preparation *p,
                   struct why *why)
{
    struct vpn_service *s = call->m->vpn_service;
    int r = vpn_service_check(s, &q->c, p->name, p->everyone, why);

    return r < 0 ? r : vpn_service_prepare(s, &q->c, p->name, p->everyone, why);
}

/* Polkit says yes: that is a consent, like an administrator's. */
static int run_prepare_allowed(struct bus_call *call, struct why *why)
{
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    struct selector who = { .kind = SELECTOR_UID };
    struct preparation p = { 0 };
    int r = sd_bus_message_rewind(call->msg, true);

    if (r >= 0)
        r = read_preparation(call->msg, &p, why);
    if (r >= 0)
        r = read_caller(call, &q, why);
    if (r < 0)
        return r;
    who.uid = (struct uid_range){ q.c.uid, q.c.uid };
    r = vpn_service_consent(call->m->vpn_service, &who, p.everyone, why);
    if (r == 0)
        r = prepare(call, &q, &p, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, "b", 1);
}

static int run_prepare(struct bus_call *call, struct why *why)
{
    static const struct bus_method allowed = { "", "Prepare", false, run_prepare_allowed };
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    struct preparation p = { 0 };
    int r = read_preparation(call->msg, &p, why);

    if (r >= 0)
        r = read_caller(call, &q, why);
    if (r >= 0)
        r = prepare(call, &q, &p, why);
    if (r == -EACCES && p.interactive) {
        r = bus_authorize(call->end, call->msg, &allowed,
                          p.everyone ? BUS_RIGHT_VPN_EVERYONE : BUS_RIGHT_VPN, why);
        if (r >= 0)
            return r == 0 ? 1 : run_prepare_allowed(call, why);
    }
    if (r < 0 && (r != -EACCES || p.interactive))
        return r;
    return sd_bus_reply_method_return(call->msg, "b", r >= 0);
}

static int reply_established(struct bus_call *call, const char *name, const struct tun *tun)
{
    _cleanup_free_ char *path = vpn_bus_path(call->m->model, name);
    sd_bus_message *reply = NULL;
    int r = path ? sd_bus_message_new_method_return(call->msg, &reply) : -ENOMEM;

    if (r >= 0)
        r = sd_bus_message_append(reply, "os", path, tun->name);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "h");
    for (size_t i = 0; r >= 0 && i < tun->n_fds; i++)
        r = sd_bus_message_append(reply, "h", tun->fds[i]);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

/* Who has the consent need not have asked whether he has. */
static int prepare_silently(struct bus_call *call, const char *name, struct why *why)
{
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    const struct preparation p = { .name = name };
    int r = read_caller(call, &q, why);

    return r < 0 ? r : prepare(call, &q, &p, why);
}

static int run_establish(struct bus_call *call, struct why *why)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *config = vpn_config_new();
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    _cleanup_tun_ struct tun tun = TUN_INIT;
    const char *name;
    int r = config ? sd_bus_message_read(call->msg, "s", &name) : -ENOMEM;

    if (r >= 0)
        r = vpn_bus_read_parameters(call->msg, config, why);
    if (r >= 0)
        r = read_number(call, &q, why);
    if (r < 0)
        return r;
    if (sd_bus_can_send(call->end->sd, SD_BUS_TYPE_UNIX_FD) <= 0)
        return why_set(why, -EOPNOTSUPP,
                       "this connection takes no descriptors: NEGOTIATE_UNIX_FD when you connect");
    r = bus_send_fds(call->end, config->queues, why);
    if (r >= 0 && !vpn_service_is_prepared(call->m->vpn_service, &q.c, name))
        r = prepare_silently(call, name, why);
    if (r >= 0)
        r = vpn_service_establish(call->m->vpn_service, &q.c, name, config, &tun, why);
    return r < 0 ? r : reply_established(call, name, &tun);
}

/* What the VPN's own process changes, each with a name and at most one text. */

static int disconnect(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                      const char *text, struct why *why)
{
    (void)text;
    return vpn_service_disconnect(s, c, name, why);
}

static int add_address(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                       const char *text, struct why *why)
{
    return vpn_service_change_address(s, c, name, text, true, why);
}

static int remove_address(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                          const char *text, struct why *why)
{
    return vpn_service_change_address(s, c, name, text, false, why);
}

static int run_own(struct bus_call *call, struct why *why)
{
    static const struct {
        const char *member, *types;
        int (*change)(struct vpn_service *s, const struct vpn_caller *c, const char *name,
                      const char *text, struct why *why);
    } rows[] = {
        { "Disconnect", "s", disconnect },
        { "AddAddress", "ss", add_address },
        { "RemoveAddress", "ss", remove_address },
    };
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    const char *name, *text = NULL;
    size_t i = 0;
    int r;

    while (!streq(rows[i].member, sd_bus_message_get_member(call->msg)))
        i++;
    r = sd_bus_message_read(call->msg, rows[i].types, &name, &text);
    if (r >= 0)
        r = read_number(call, &q, why);
    if (r >= 0)
        r = rows[i].change(call->m->vpn_service, &q.c, name, text, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int run_set_underlying(struct bus_call *call, struct why *why)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *config = vpn_config_new();
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    int by_default, r = config ? 0 : -ENOMEM;
    const char *name;

    if (r >= 0)
        r = sd_bus_message_read(call->msg, "sb", &name, &by_default);
    if (r >= 0)
        r = vpn_bus_read_underlying(call->msg, config, why);
    if (r >= 0)
        r = read_number(call, &q, why);
    if (r < 0)
        return r;
    if (by_default && config->n_underlying > 0)
        return why_set(why, -EINVAL, "either the default network, or those that are named");
    config->underlying_set = !by_default;
    r = vpn_service_set_underlying(call->m->vpn_service, &q.c, name, config, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int run_report_state(struct bus_call *call, struct why *why)
{
    static const char *const words[VPN_REPORT_MAX] = {
        [VPN_REPORT_CONNECTED] = "connected",
        [VPN_REPORT_CONNECTING] = "connecting",
        [VPN_REPORT_FAILED] = "failed",
    };
    _cleanup_(caller_done) struct caller q = CALLER_INIT;
    const char *name, *state, *reason;
    size_t report = 0;
    int r = sd_bus_message_read(call->msg, "sss", &name, &state, &reason);

    if (r >= 0)
        r = read_number(call, &q, why);
    if (r < 0)
        return r;
    while (report < VPN_REPORT_MAX && !streq(words[report], state))
        report++;
    if (report == VPN_REPORT_MAX)
        return why_set(why, -EINVAL, "'%.60s' is no state: use connecting, connected or failed",
                       state);
    r = vpn_service_report(call->m->vpn_service, &q.c, name, (enum vpn_report)report, reason, why);
    if (r < 0)
        return r;
    vpn_bus_tell_state(call->end->bus, name);
    return sd_bus_reply_method_return(call->msg, NULL);
}

/* Changing VPNs. */

struct profile {
    const char *name;
    struct vpn *draft;
    unsigned fields;
};

static int edit_add(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct profile *p = data;

    (void)k;
    return edit_add_vpn(m, p->draft, why);
}

/*
 * An engine is run as its VPN's owner, root if that is the owner, or is any unit there is: who may change
 * networks is not root by that. `v`: what there is, or NULL.
 */
static int check_engine(const struct bus_call *call, const struct vpn *v, unsigned fields,
                        struct why *why)
{
    bool root = !call->end->system && call->end->cred.uid == 0;

    if (root || (!(fields & VPN_FIELD_ENGINE) && !(fields & VPN_FIELD_OWNER && v && v->engine)))
        return 0;
    return why_set(
        why, -EACCES,
        "what is started for a VPN, and as whom, is root's to say: by `sudo waymark vpn`, "
        "or in /etc/waymark");
}

static int run_add_vpn(struct bus_call *call, struct why *why)
{
    _cleanup_(vpn_unrefp) struct vpn *draft = vpn_new();
    struct profile p = { .draft = draft };
    _cleanup_free_ char *path = NULL;
    int r = draft ? sd_bus_message_read(call->msg, "s", &p.name) : -ENOMEM;

    if (r >= 0)
        r = network_name_check(p.name, why);
    if (r < 0)
        return r;
    (void)str_set(draft->name, sizeof(draft->name), p.name);
    draft->origin = ORIGIN_COMMAND;
    r = vpn_bus_read_profile(call->msg, draft, &p.fields, why);
    if (r >= 0)
        r = check_engine(call, NULL, p.fields, why);
    if (r < 0)
        return r;
    if (!(p.fields & VPN_FIELD_CONFIG)) {
        vpn_config_unref(draft->config);
        draft->config = NULL;
    }
    r = manager_change(call->m, edit_add, &p, why);
    if (r < 0)
        return r;
    path = vpn_bus_path(call->m->model, p.name);
    return path ? sd_bus_reply_method_return(call->msg, "o", path) : -ENOMEM;
}

static int edit_set(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct profile *p = data;

    (void)k;
    return edit_set_vpn(m, p->name, p->draft, p->fields, why);
}

static int run_set_vpn(struct bus_call *call, struct why *why)
{
    _cleanup_(vpn_unrefp) struct vpn *draft = vpn_new();
    struct profile p = { .draft = draft };
    const struct vpn *v;
    int r = draft ? sd_bus_message_read(call->msg, "s", &p.name) : -ENOMEM;

    if (r < 0)
        return r;
    v = model_vpn(call->m->model, p.name);
    if (v && v->config) {
        draft->config = vpn_config_copy(v->config);
        if (!draft->config)
            return -ENOMEM;
    }
    r = vpn_bus_read_profile(call->msg, draft, &p.fields, why);
    if (r >= 0)
        r = check_engine(call, v, p.fields, why);
    if (r >= 0)
        r = manager_change(call->m, edit_set, &p, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int edit_remove(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    return edit_remove_vpn(m, data, why);
}

static int edit_up(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    return edit_up_vpn(m, data, why);
}

/* What is done to a VPN by its name. */

static int remove_vpn(struct manager *m, const char *name, struct why *why)
{
    return manager_change(m, edit_remove, (void *)name, why);
}

static int take_up(struct manager *m, const char *name, struct why *why)
{
    return manager_change(m, edit_up, (void *)name, why);
}

static int take_down(struct manager *m, const char *name, struct why *why)
{
    return vpn_service_down(m->vpn_service, name, why);
}

static int run_named_allowed(struct bus_call *call, struct why *why)
{
    static const struct {
        const char *member;
        int (*change)(struct manager *m, const char *name, struct why *why);
    } rows[] = { { "RemoveVpn", remove_vpn }, { "Up", take_up }, { "Down", take_down } };
    const char *name;
    size_t i = 0;
    int r = sd_bus_message_rewind(call->msg, true);

    while (!streq(rows[i].member, sd_bus_message_get_member(call->msg)))
        i++;
    if (r >= 0)
        r = sd_bus_message_read(call->msg, "s", &name);
    if (r >= 0)
        r = rows[i].change(call->m, name, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static bool is_owner(const struct bus_call *call, const char *name)
{
    const struct vpn *v = model_vpn(call->m->model, name);

    return v && !call->end->system && vpn_user(v) == call->end->cred.uid;
}

/* By its owner's user, too, with whatever program; he may already by ending his own. */
static int run_named(struct bus_call *call, struct why *why)
{
    static const struct bus_method allowed = { "", "", true, run_named_allowed };
    const char *name;
    int r = sd_bus_message_read(call->msg, "s", &name);

    if (r < 0)
        return r;
    if (!is_owner(call, name)) {
        r = bus_authorize(call->end, call->msg, &allowed, BUS_RIGHT_CHANGE, why);
        if (r <= 0)
            return r < 0 ? r : 1;
    }
    return run_named_allowed(call, why);
}

/* Consent. */

static int run_consent(struct bus_call *call, struct why *why)
{
    struct selector who = { 0 };
    const char *text;
    int everyone, r = sd_bus_message_read(call->msg, "sb", &text, &everyone);

    if (r >= 0)
        r = selector_parse(text, &who, why);
    if (r >= 0)
        r = vpn_service_consent(call->m->vpn_service, &who, everyone, why);
    selector_done(&who);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int run_revoke_consent(struct bus_call *call, struct why *why)
{
    struct selector who = { 0 };
    const char *text;
    int r = sd_bus_message_read(call->msg, "s", &text);

    if (r >= 0)
        r = selector_parse(text, &who, why);
    if (r >= 0)
        r = vpn_service_revoke_consent(call->m->vpn_service, &who, why);
    selector_done(&who);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int run_list_consents(struct bus_call *call, struct why *why)
{
    const struct model *m = call->m->model;
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call->msg, &reply);

    (void)why;
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(sb)");
    for (size_t i = 0; r >= 0 && i < m->n_consents; i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        selector_print(&m->consents[i].who, &b);
        r = sd_bus_message_append(reply, "(sb)", strbuf_text(&b), (int)m->consents[i].everyone);
    }
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

const struct bus_method vpn_service_bus_methods[] = {
    { BUS_VPN_SERVICE, "Prepare", false, run_prepare }, /* these six are asked who they are */
    { BUS_VPN_SERVICE, "Establish", false, run_establish },
    { BUS_VPN_SERVICE, "Disconnect", false, run_own },
    { BUS_VPN_SERVICE, "AddAddress", false, run_own },
    { BUS_VPN_SERVICE, "RemoveAddress", false, run_own },
    { BUS_VPN_SERVICE, "SetUnderlying", false, run_set_underlying },
    { BUS_VPN_SERVICE, "ReportState", false, run_report_state },
    { BUS_VPN_SERVICE, "AddVpn", true, run_add_vpn },
    { BUS_VPN_SERVICE, "SetVpn", true, run_set_vpn },
    { BUS_VPN_SERVICE, "RemoveVpn", true, run_named_allowed },
    { BUS_VPN_SERVICE, "Up", false, run_named }, /* these two ask by themselves */
    { BUS_VPN_SERVICE, "Down", false, run_named },
    { BUS_VPN_SERVICE, "Consent", true, run_consent },
    { BUS_VPN_SERVICE, "RevokeConsent", true, run_revoke_consent },
    { BUS_VPN_SERVICE, "ListConsents", false, run_list_consents },
    { 0 },
};

const sd_bus_vtable vpn_service_bus_vtable[] = {
    SD_BUS_VTABLE_START(0),
    METHOD("Prepare", "sa{sv}", ARG(name) ARG(options), "b", ARG(ready)),
    METHOD("Establish", "sa{sv}", ARG(name) ARG(parameters), "osah",
           ARG(vpn) ARG(interface) ARG(fds)),
    METHOD("Disconnect", "s", ARG(name), "", ""),
    METHOD("AddAddress", "ss", ARG(name) ARG(prefix), "", ""),
    METHOD("RemoveAddress", "ss", ARG(name) ARG(prefix), "", ""),
    METHOD("SetUnderlying", "sbas", ARG(name) ARG(default) ARG(networks), "", ""),
    METHOD("ReportState", "sss", ARG(name) ARG(state) ARG(reason), "", ""),
    METHOD("AddVpn", "sa{sv}", ARG(name) ARG(options), "o", ARG(vpn)),
    METHOD("SetVpn", "sa{sv}", ARG(name) ARG(options), "", ""),
    METHOD("RemoveVpn", "s", ARG(name), "", ""),
    METHOD("Up", "s", ARG(name), "", ""),
    METHOD("Down", "s", ARG(name), "", ""),
    METHOD("Consent", "sb", ARG(who) ARG(everyone), "", ""),
    METHOD("RevokeConsent", "s", ARG(who), "", ""),
    METHOD("ListConsents", "", "", "a(sb)", ARG(consents)),
    SD_BUS_SIGNAL_WITH_ARGS("Revoked", SD_BUS_ARGS("s", name, "s", reason), 0),
    SD_BUS_VTABLE_END,
};

/* To the connections of that process: another one may be the VPN of that name now. */
void vpn_bus_tell_revoked(void *data, uint32_t pid, const char *name, const char *reason)
{
    struct bus *bus = data;
    char text[NETWORK_NAME_MAX + 200];

    for (size_t i = 0; i < bus->n_ends; i++)
        if (!bus->ends[i]->system && (uint32_t)bus->ends[i]->cred.pid == pid)
            (void)sd_bus_emit_signal(bus->ends[i]->sd, BUS_PATH, BUS_VPN_SERVICE, "Revoked", "ss",
                                     name, reason);
    snprintf(text, sizeof(text), "%s from process %u: %s", name, pid, reason);
    bus_tell(bus, "vpn-revoked", text);
}
