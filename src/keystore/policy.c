/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/policy.h"

#define BIT(action) (1U << (action))

enum {
    ALL = BIT(KEYSTORE_ACTION_MAX) - 1,
    GET = BIT(KEYSTORE_GET),
    OWN = BIT(KEYSTORE_TEST) | BIT(KEYSTORE_GET) | BIT(KEYSTORE_INSERT) | BIT(KEYSTORE_DELETE) |
          BIT(KEYSTORE_EXIST) | BIT(KEYSTORE_SAW) | BIT(KEYSTORE_GRANT) | BIT(KEYSTORE_UNGRANT),
};

static const struct {
    unsigned actions;
    bool as_system;
} classes[POLICY_CLASS_MAX] = {
    [POLICY_SYSTEM] = { ALL & ~GET, true }, [POLICY_VPN] = { GET, true },
    [POLICY_WIFI] = { GET, true },          [POLICY_ROOT] = { GET, true },
    [POLICY_OTHER] = { OWN, false },
};

enum policy_class policy_class_of(const struct policy *p, uid_t uid)
{
    const struct {
        uid_t uid;
        enum policy_class class;
    } rows[] = {
        { p->system, POLICY_SYSTEM },
        { p->vpn, POLICY_VPN },
        { p->wifi, POLICY_WIFI },
        { 0, POLICY_ROOT },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].uid == uid && uid != POLICY_NOBODY)
            return rows[i].class;
    return POLICY_OTHER;
}

bool policy_may(enum policy_class class, enum keystore_action action)
{
    return classes[class].actions & BIT(action);
}

uid_t policy_owner(const struct policy *p, uid_t uid)
{
    bool as_system = classes[policy_class_of(p, uid)].as_system;

    return as_system && p->system != POLICY_NOBODY ? p->system : uid;
}

enum keystore_answer policy_check(const struct policy *p, uid_t uid,
                                  const struct keystore_reader *request, enum keystore_answer state)
{
    uint8_t needed;

    if (!request->known)
        return KEYSTORE_UNDEFINED_ACTION;
    if (!policy_may(policy_class_of(p, uid), request->action))
        return KEYSTORE_PERMISSION_DENIED;
    needed = keystore_action_row(request->action)->state;
    return needed != 0 && needed != state ? state : 0;
}
