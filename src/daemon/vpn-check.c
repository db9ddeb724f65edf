/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may be which VPN: the owner of a profile, who was consented to, and who needs no consent. */

#include <errno.h>

#include "daemon/vpn-service-internal.h"

static bool is_exe(const struct selector *exe, const struct exe_id *id)
{
    struct exe_id wanted;

    /* not by its path: in a mount namespace of his own anybody has what he likes there */
    return id->ino != 0 && exe_identify(exe->text->s, 0, &wanted) == 0 && wanted.dev == id->dev &&
           wanted.ino == id->ino;
}

/* Is this process meant? `uid` is what a user: selector means. */
static bool is_meant(const struct selector *who, uint32_t user, uint32_t uid,
                     const struct exe_id *id)
{
    if (who->kind == SELECTOR_EXE)
        return is_exe(who, id);
    return user != UID_INVALID
               ? user == uid
               : who->kind == SELECTOR_UID && who->uid.lo <= uid && uid <= who->uid.hi;
}

const struct vpn_consent *vpn_service_find_consent(const struct model *m, uint32_t uid,
                                                   const struct exe_id *exe_id)
{
    const struct vpn_consent *found = NULL;

    for (size_t i = 0; i < m->n_consents; i++) {
        const struct vpn_consent *c = &m->consents[i];

        if (is_meant(&c->who, c->uid, uid, exe_id) && (!found || c->everyone))
            found = c;
    }
    return found;
}

static int check_consent(const struct model *m, const struct vpn_session *c, bool everyone,
                         struct why *why)
{
    const struct vpn_consent *consent;

    if (c->privileged)
        return 0;
    consent = vpn_service_find_consent(m, c->uid, &c->exe_id);
    if (!consent)
        return why_set(
            why, -EACCES,
            "user %u has no consent to make VPNs: an administrator gives it with `waymark "
            "vpn consent uid:%u`",
            c->uid, c->uid);
    if (everyone && !consent->everyone)
        return why_set(why, -EACCES,
                       "user %u has consent to make VPNs for himself alone, not for everyone: an "
                       "administrator gives it with `waymark vpn consent uid:%u --everyone`",
                       c->uid, c->uid);
    return 0;
}

/* A VPN that the administrator has made. */
static int check_profile(const struct model *m, const struct vpn *v, const struct vpn_session *c,
                         struct why *why)
{
    _cleanup_strbuf_ struct strbuf owner = STRBUF_INIT;

    if (!v->has_owner)
        return check_consent(m, c, true, why);
    if (c->privileged || is_meant(&v->owner, v->owner_resolved, c->uid, &c->exe_id))
        return 0;
    selector_print(&v->owner, &owner);
    return why_set(why, -EPERM, "VPN '%s' is %s's, and that is not you", v->name,
                   strbuf_text(&owner));
}

static int check_new(const struct model *m, const char *name, struct why *why)
{
    int r = network_name_check(name, why);

    if (r == 0 && model_network_by_name(m, name))
        r = why_set(why, -EEXIST, "a network is called '%s': choose another name for the VPN",
                    name);
    return r;
}

int vpn_check(const struct model *m, const struct vpn_session *c, const char *name, bool everyone,
              struct why *why)
{
    const struct vpn *v = model_vpn(m, name);
    int r = v ? 0 : check_new(m, name, why);

    if (r < 0)
        return r;
    if (v && v->kind != VPN_SERVICE)
        return why_set(why, -EINVAL,
                       "VPN '%s' is adopted: its interfaces are made by somebody else", name);
    if (v && v->origin != ORIGIN_RUNTIME)
        return check_profile(m, v, c, why);
    if (v && v->owner_uid != UID_INVALID && v->owner_uid != c->uid)
        return why_set(why, -EPERM, "VPN '%s' is user %u's", name, v->owner_uid);
    return check_consent(m, c, everyone, why);
}
