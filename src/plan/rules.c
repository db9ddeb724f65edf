/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/rules.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "basic/array.h"
#include "plan/outside.h"

/* What a row is instantiated for. */
enum rule_scope {
    SCOPE_STATIC,      /* once */
    SCOPE_NETWORK,     /* each usable interface of each network of these types */
    SCOPE_DEFAULT,     /* each usable interface of the default network */
    SCOPE_FALLTHROUGH, /* each network of these types × each interface of the default network */
    SCOPE_SEGMENT,     /* each segment with one of these verdicts (× interfaces of its network) */
};

/* Fields of the mark, for its value and for its mask. */
enum {
    MARK_FIELD_NETID = 1 << 0,
    MARK_FIELD_NETID_99 = 1 << 1, /* the netId field again, with the local network's number */
    MARK_FIELD_EXPLICIT = 1 << 2,
    MARK_FIELD_PROTECTED = 1 << 3,
    MARK_FIELD_PERMISSION = 1 << 4, /* what the network demands */
    MARK_FIELD_SYSTEM = 1 << 5,     /* the permission field, all ones */
    MARK_FIELD_NETID_52 = 1 << 6,   /* the netId field, with the unreachable network's number */
};

enum rule_interface { INTERFACE_ANY, INTERFACE_LO, INTERFACE_PORT };
enum rule_uid { RULE_UID_ANY, RULE_UID_ROOT, RULE_UID_SEGMENT };
enum rule_to {
    TO_PORT,       /* the interface's table; 97 for a local network */
    TO_PORT_LOCAL, /* the interface's on-link routes */
    TO_97,
    TO_98,
    TO_99,
    TO_FENCE, /* the network's fence table */
    TO_MAIN,
    TO_PROHIBIT,
    TO_UNREACHABLE,
};

/* Conditions on the network or the model; all of a row's must hold. */
enum {
    WHEN_SECURE = 1 << 0,
    WHEN_BYPASSABLE = 1 << 1,
    WHEN_LOCAL_EXCLUDED = 1 << 2,
    WHEN_LOCAL_INCLUDED = 1 << 3,
    WHEN_RESTRICTED = 1 << 4,
    WHEN_UNRESTRICTED = 1 << 5,
    WHEN_ANDROID_TABLES = 1 << 6,
    WHEN_DEFAULT_NAMED = 1 << 7,
    WHEN_DEFAULT_SYSTEM = 1 << 8,
    /* Conditions on the segment, so that no rule is there twice: */
    WHEN_NOT_CAPTURED = 1 << 9, /* no CAPTURE segment of this network has the rule */
    WHEN_NOT_ROOT = 1 << 10,    /* the network's own rule for uid 0 is not the same */
    /* Whom a required VPN holds: with its protected sockets, or without (policy.h) */
    WHEN_EXEMPT = 1 << 11,
    WHEN_NOT_EXEMPT = 1 << 12,
    WHEN_TO_DEFAULT = 1 << 13, /* leads to the interfaces of the default network instead */
    WHEN_OUTSIDE = 1 << 14,    /* there may be something outside of the network */
};

struct rule_row {
    uint16_t priority;
    uint8_t scope;
    uint8_t types;       /* bits network_type */
    uint8_t verdicts;    /* bits verdict; SCOPE_SEGMENT only */
    uint16_t when;       /* bits WHEN_* */
    uint8_t value, mask; /* bits MARK_FIELD_* */
    uint8_t iif, oif;    /* rule_interface */
    uint8_t uid;         /* rule_uid */
    uint8_t to;          /* rule_to */
};

/* Short words for the columns of the table, and only there. */
#define ROW(priority_, scope_, ...)                            \
    {                                                          \
        RULE_PRIORITY_##priority_, SCOPE_##scope_, __VA_ARGS__ \
    }
#define PHYS    (1 << NETWORK_PHYSICAL)
#define VPN     (1 << NETWORK_VPN)
#define LOCAL   (1 << NETWORK_LOCAL)
#define UNREACH (1 << NETWORK_UNREACHABLE)
#define REQUIRE (1 << VERDICT_REQUIRE)
#define PREFER  (1 << VERDICT_PREFER)
#define REFUSE  (1 << VERDICT_REFUSE)
#define CAPTURE (1 << VERDICT_CAPTURE)
#define FENCE   (1 << VERDICT_FENCE)
#define M_REQ   (1 << VERDICT_MARK_REQUIRE)
#define M_PREF  (1 << VERDICT_MARK_PREFER)
#define M_NONE  (1 << VERDICT_MARK_NONE)
#define NET     MARK_FIELD_NETID
#define NET52   MARK_FIELD_NETID_52
#define NET99   MARK_FIELD_NETID_99
#define EXPL    MARK_FIELD_EXPLICIT
#define PROT    MARK_FIELD_PROTECTED
#define PERM    MARK_FIELD_PERMISSION
#define SYS     MARK_FIELD_SYSTEM
#define ANY     INTERFACE_ANY
#define LO      INTERFACE_LO
#define PORT    INTERFACE_PORT
#define ALL     RULE_UID_ANY
#define ROOT    RULE_UID_ROOT
#define SEG     RULE_UID_SEGMENT

/*
 * Departures from android.md §2.5, each explained in docs/rules.md: UNREACHABLE has `iif lo`, so
 * that forwarded traffic (containers, virtual machines) is left to the main table; the rules that
 * lead to tables 97–99 are there only while those tables are in use; the rules per uid at 15000 and
 * 22000 only where they say more than 16000 and 23000 do.
 *
 * Rows for M_… are those of the `maps` back-end: there no row is for a uid but those of VPNs' users.
 */
/* clang-format off */
static const struct rule_row rule_rows[] = {
/*      priority                scope        types         verdicts          when                 value             mask              iif   oif   uid   to            */
    ROW(REQUIRE_NETWORK,        SEGMENT,     PHYS | LOCAL | VPN, REQUIRE,    WHEN_NOT_EXEMPT,     0,                0,                LO,   ANY,  SEG,  TO_PORT),
    ROW(REQUIRE_NETWORK,        SEGMENT,     VPN,          REQUIRE,          WHEN_EXEMPT,         0,                PROT,             LO,   ANY,  SEG,  TO_PORT),
    ROW(REQUIRE_NETWORK,        SEGMENT,     UNREACH,      REQUIRE,          0,                   0,                0,                LO,   ANY,  SEG,  TO_UNREACHABLE),
    ROW(OUTSIDE_FENCE,          SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_NOT_EXEMPT, 0,    0,                LO,   ANY,  SEG,  TO_FENCE),
    ROW(OUTSIDE_FENCE,          SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_EXEMPT,  0,       PROT,             LO,   ANY,  SEG,  TO_FENCE),
    ROW(OUTSIDE,                SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_NOT_EXEMPT | WHEN_DEFAULT_SYSTEM, 0, 0, LO, ANY, SEG, TO_MAIN),
    ROW(OUTSIDE,                SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_EXEMPT | WHEN_DEFAULT_SYSTEM, 0, PROT,  LO, ANY, SEG, TO_MAIN),
    ROW(OUTSIDE,                SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_NOT_EXEMPT | WHEN_TO_DEFAULT, PERM, PERM, LO, ANY, SEG, TO_PORT),
    ROW(OUTSIDE,                SEGMENT,     VPN,          REQUIRE | REFUSE, WHEN_OUTSIDE | WHEN_EXEMPT | WHEN_TO_DEFAULT, PERM, PROT | PERM, LO, ANY, SEG, TO_PORT),
    ROW(PROHIBIT_OTHER,         SEGMENT,     0,            FENCE,            WHEN_NOT_EXEMPT,     0,                0,                LO,   ANY,  SEG,  TO_PROHIBIT),
    ROW(PROHIBIT_OTHER,         SEGMENT,     0,            FENCE,            WHEN_EXEMPT,         0,                PROT,             LO,   ANY,  SEG,  TO_PROHIBIT),

    ROW(REQUIRE_NETWORK,        SEGMENT,     PHYS | LOCAL | VPN, M_REQ,      0,                   NET | EXPL,       NET | EXPL | PROT, LO,  ANY,  ALL,  TO_PORT),
    ROW(REQUIRE_NETWORK,        SEGMENT,     UNREACH,      M_REQ,            0,                   NET | EXPL,       NET | EXPL | PROT, LO,  ANY,  ALL,  TO_UNREACHABLE),
    ROW(OUTSIDE_FENCE,          SEGMENT,     VPN,          M_REQ,            WHEN_OUTSIDE,        NET | EXPL,       NET | EXPL | PROT, LO,  ANY,  ALL,  TO_FENCE),
    ROW(OUTSIDE,                SEGMENT,     VPN,          M_REQ,            WHEN_OUTSIDE | WHEN_DEFAULT_SYSTEM, NET | EXPL, NET | EXPL | PROT, LO, ANY, ALL, TO_MAIN),
    ROW(OUTSIDE,                SEGMENT,     VPN,          M_REQ,            WHEN_OUTSIDE | WHEN_TO_DEFAULT, NET | EXPL | PERM, NET | EXPL | PROT | PERM, LO, ANY, ALL, TO_PORT),
    ROW(PROHIBIT_OTHER,         SEGMENT,     PHYS | LOCAL | VPN, M_REQ,      0,                   NET | EXPL,       NET | EXPL | PROT, LO,  ANY,  ALL,  TO_PROHIBIT),
    ROW(PROHIBIT_OTHER,         SEGMENT,     0,            M_NONE,           0,                   NET52 | EXPL,     NET | EXPL | PROT, LO,  ANY,  ALL,  TO_PROHIBIT),

    ROW(VPN_OVERRIDE_SYSTEM,    STATIC,      0,            0,                WHEN_ANDROID_TABLES, SYS,              SYS | EXPL,       ANY,  ANY,  ALL,  TO_99),
    ROW(VPN_OVERRIDE_OIF,       NETWORK,     PHYS | LOCAL, 0,                0,                   0,                0,                LO,   PORT, ROOT, TO_PORT),
    ROW(VPN_OUTPUT_TO_LOCAL,    NETWORK,     VPN,          0,                WHEN_ANDROID_TABLES, 0,                0,                PORT, ANY,  ALL,  TO_97),
    ROW(SECURE_VPN,             NETWORK,     VPN,          0,                WHEN_SECURE,         SYS | NET,        SYS | NET,        ANY,  ANY,  ALL,  TO_PORT),
    ROW(SECURE_VPN,             SEGMENT,     VPN,          CAPTURE,          WHEN_SECURE,         0,                PROT,             LO,   ANY,  SEG,  TO_PORT),

    ROW(UID_EXPLICIT_NETWORK,   SEGMENT,     PHYS,         PREFER,           WHEN_RESTRICTED,     NET | EXPL,       NET | EXPL,       LO,   ANY,  SEG,  TO_PORT),
    ROW(UID_EXPLICIT_NETWORK,   SEGMENT,     UNREACH,      PREFER,           0,                   NET | EXPL,       NET | EXPL,       LO,   ANY,  SEG,  TO_UNREACHABLE),
    ROW(EXPLICIT_NETWORK,       STATIC,      0,            0,                WHEN_ANDROID_TABLES, NET99 | EXPL,     NET | EXPL,       LO,   ANY,  ALL,  TO_97),
    ROW(EXPLICIT_NETWORK,       NETWORK,     PHYS,         0,                0,                   NET | EXPL | PERM, NET | EXPL | PERM, LO, ANY,  ALL,  TO_PORT),
    ROW(EXPLICIT_NETWORK,       NETWORK,     VPN,          0,                0,                   NET | EXPL,       NET | EXPL,       LO,   ANY,  ROOT, TO_PORT),
    ROW(EXPLICIT_NETWORK,       SEGMENT,     VPN,          CAPTURE,          WHEN_NOT_ROOT,       NET | EXPL,       NET | EXPL,       LO,   ANY,  SEG,  TO_PORT),
    ROW(EXPLICIT_NETWORK,       SEGMENT,     VPN,          PREFER,  WHEN_NOT_CAPTURED | WHEN_NOT_ROOT,   NET | EXPL,       NET | EXPL,       LO,   ANY,  SEG,  TO_PORT),
    ROW(OUTPUT_INTERFACE,       NETWORK,     PHYS | LOCAL, 0,                0,                   PERM,             PERM,             LO,   PORT, ALL,  TO_PORT),
    ROW(OUTPUT_INTERFACE,       SEGMENT,     VPN,          CAPTURE,          0,                   0,                0,                LO,   PORT, SEG,  TO_PORT),
    ROW(OUTPUT_INTERFACE,       SEGMENT,     VPN,          PREFER,           WHEN_NOT_CAPTURED,   0,                0,                LO,   PORT, SEG,  TO_PORT),
    ROW(LEGACY_SYSTEM,          STATIC,      0,            0,                WHEN_ANDROID_TABLES, 0,                EXPL,             ANY,  ANY,  ALL,  TO_99),
    ROW(LEGACY_NETWORK,         STATIC,      0,            0,                WHEN_ANDROID_TABLES, 0,                EXPL,             ANY,  ANY,  ALL,  TO_98),
    ROW(LOCAL_NETWORK,          STATIC,      0,            0,                WHEN_ANDROID_TABLES, 0,                EXPL,             ANY,  ANY,  ALL,  TO_97),

    ROW(UID_IMPLICIT_NETWORK,   SEGMENT,     PHYS,         PREFER,           WHEN_RESTRICTED,     NET,              NET | EXPL,       LO,   ANY,  SEG,  TO_PORT),
    ROW(UID_IMPLICIT_NETWORK,   SEGMENT,     UNREACH,      PREFER,           0,                   NET,              NET | EXPL,       LO,   ANY,  SEG,  TO_UNREACHABLE),
    ROW(UID_IMPLICIT_NETWORK,   SEGMENT,     PHYS,         M_PREF,           WHEN_RESTRICTED,     NET,              NET | EXPL,       LO,   ANY,  ALL,  TO_PORT),
    ROW(UID_IMPLICIT_NETWORK,   SEGMENT,     UNREACH,      M_PREF,           0,                   NET,              NET | EXPL,       LO,   ANY,  ALL,  TO_UNREACHABLE),
    ROW(IMPLICIT_NETWORK,       NETWORK,     PHYS,         0,                WHEN_UNRESTRICTED,   NET,              NET | EXPL,       LO,   ANY,  ALL,  TO_PORT),
    ROW(BYPASSABLE_VPN_NO_LOCAL_EXCLUSION, NETWORK, VPN,   0,  WHEN_BYPASSABLE | WHEN_LOCAL_INCLUDED, SYS | NET,    SYS | NET,        ANY,  ANY,  ALL,  TO_PORT),
    ROW(BYPASSABLE_VPN_NO_LOCAL_EXCLUSION, SEGMENT, VPN,   CAPTURE, WHEN_BYPASSABLE | WHEN_LOCAL_INCLUDED, 0,       EXPL | PROT,      LO,   ANY,  SEG,  TO_PORT),
    ROW(BYPASSABLE_VPN_NO_LOCAL_EXCLUSION, SEGMENT, VPN,   PREFER,           WHEN_LOCAL_INCLUDED, 0,                EXPL | PROT,      LO,   ANY,  SEG,  TO_PORT),
    ROW(BYPASSABLE_VPN_NO_LOCAL_EXCLUSION, SEGMENT, VPN,   M_PREF,           WHEN_LOCAL_INCLUDED, NET,              NET | EXPL | PROT, LO,  ANY,  ALL,  TO_PORT),
    ROW(UID_LOCAL_ROUTES,       SEGMENT,     PHYS,         PREFER,           0,                   0,                EXPL,             LO,   ANY,  SEG,  TO_PORT_LOCAL),
    ROW(LOCAL_ROUTES,           DEFAULT,     PHYS,         0,                0,                   0,                EXPL,             LO,   ANY,  ALL,  TO_PORT_LOCAL),
    ROW(BYPASSABLE_VPN_LOCAL_EXCLUSION, NETWORK, VPN,      0,  WHEN_BYPASSABLE | WHEN_LOCAL_EXCLUDED, SYS | NET,    SYS | NET,        ANY,  ANY,  ALL,  TO_PORT),
    ROW(BYPASSABLE_VPN_LOCAL_EXCLUSION, SEGMENT, VPN,      CAPTURE, WHEN_BYPASSABLE | WHEN_LOCAL_EXCLUDED, 0,       EXPL | PROT,      LO,   ANY,  SEG,  TO_PORT),
    ROW(BYPASSABLE_VPN_LOCAL_EXCLUSION, SEGMENT, VPN,      PREFER,           WHEN_LOCAL_EXCLUDED, 0,                EXPL | PROT,      LO,   ANY,  SEG,  TO_PORT),
    ROW(BYPASSABLE_VPN_LOCAL_EXCLUSION, SEGMENT, VPN,      M_PREF,           WHEN_LOCAL_EXCLUDED, NET,              NET | EXPL | PROT, LO,  ANY,  ALL,  TO_PORT),
    ROW(VPN_FALLTHROUGH,        FALLTHROUGH, VPN,          0,                0,                   NET | PERM,       NET | PERM,       ANY,  ANY,  ALL,  TO_PORT),
    ROW(UID_DEFAULT_NETWORK,    SEGMENT,     PHYS | LOCAL, PREFER,           0,                   0,                NET,              LO,   ANY,  SEG,  TO_PORT),
    ROW(UID_DEFAULT_NETWORK,    SEGMENT,     LOCAL,        M_PREF,           0,                   NET,              NET | EXPL,       LO,   ANY,  ALL,  TO_PORT),
    ROW(UID_DEFAULT_UNREACHABLE, SEGMENT,    UNREACH,      PREFER,           0,                   0,                NET,              LO,   ANY,  SEG,  TO_UNREACHABLE),
    ROW(DEFAULT_NETWORK,        DEFAULT,     PHYS,         0,                0,                   PERM,             NET | PERM,       LO,   ANY,  ALL,  TO_PORT),
    ROW(DEFAULT_NETWORK,        SEGMENT,     PHYS | LOCAL, M_PREF,           WHEN_TO_DEFAULT,     NET | PERM,       NET | EXPL | PERM, LO,  ANY,  ALL,  TO_PORT),
    ROW(UNREACHABLE,            STATIC,      0,            0,                WHEN_DEFAULT_NAMED,  0,                0,                LO,   ANY,  ALL,  TO_UNREACHABLE),
    ROW(UNREACHABLE,            STATIC,      0,            0,                WHEN_DEFAULT_SYSTEM, EXPL,             EXPL | PROT,      LO,   ANY,  ALL,  TO_UNREACHABLE),
};
/* clang-format on */

static const struct {
    uint32_t priority;
    const char *name;
} priority_names[] = {
#define NAME(n)               \
    {                         \
        RULE_PRIORITY_##n, #n \
    }
    NAME(REQUIRE_NETWORK),
    NAME(OUTSIDE_FENCE),
    NAME(OUTSIDE),
    NAME(PROHIBIT_OTHER),
    NAME(VPN_OVERRIDE_SYSTEM),
    NAME(VPN_OVERRIDE_OIF),
    NAME(VPN_OUTPUT_TO_LOCAL),
    NAME(SECURE_VPN),
    NAME(PROHIBIT_NON_VPN),
    NAME(UID_EXPLICIT_NETWORK),
    NAME(EXPLICIT_NETWORK),
    NAME(OUTPUT_INTERFACE),
    NAME(LEGACY_SYSTEM),
    NAME(LEGACY_NETWORK),
    NAME(LOCAL_NETWORK),
    NAME(TETHERING),
    NAME(UID_IMPLICIT_NETWORK),
    NAME(IMPLICIT_NETWORK),
    NAME(BYPASSABLE_VPN_NO_LOCAL_EXCLUSION),
    NAME(UID_LOCAL_ROUTES),
    NAME(LOCAL_ROUTES),
    NAME(BYPASSABLE_VPN_LOCAL_EXCLUSION),
    NAME(VPN_FALLTHROUGH),
    NAME(UID_DEFAULT_NETWORK),
    NAME(UID_DEFAULT_UNREACHABLE),
    NAME(DEFAULT_NETWORK),
    NAME(UNREACHABLE),
#undef NAME
};

/* What a row is instantiated with; NULL where it does not apply. */
struct instance {
    const struct network *network;
    const struct network *leads_to; /* whose permission and ports: the network's, or the default */
    const struct port *port;
    const struct segment *segment;
};

static uint32_t mark_bits(unsigned fields, const struct instance *in, bool mask)
{
    uint32_t mark = 0;

    if (fields & MARK_FIELD_NETID)
        mark |= mask ? (uint32_t)MARK_NETID_MASK : in->network->netid;
    if (fields & MARK_FIELD_NETID_99)
        mark |= NETID_LOCAL;
    if (fields & MARK_FIELD_NETID_52)
        mark |= NETID_UNREACHABLE;
    if (fields & MARK_FIELD_EXPLICIT)
        mark |= MARK_EXPLICIT;
    if (fields & MARK_FIELD_PROTECTED)
        mark |= MARK_PROTECTED;
    if (fields & MARK_FIELD_PERMISSION)
        mark |= mark_permission(in->leads_to->permission);
    if (fields & MARK_FIELD_SYSTEM)
        mark |= MARK_PERMISSION_MASK;
    return mark;
}

static uint32_t table_id(enum rule_to to, const struct instance *in)
{
    switch (to) {
    case TO_PORT:
        if (in->leads_to->type == NETWORK_LOCAL)
            return TABLE_LOCAL_NETWORK;
        return (uint32_t)in->port->ifindex + TABLE_FROM_IFINDEX;
    case TO_PORT_LOCAL:
        return (uint32_t)in->port->ifindex + TABLE_LOCAL_FROM_IFINDEX;
    case TO_97:
        return TABLE_LOCAL_NETWORK;
    case TO_98:
        return TABLE_LEGACY_NETWORK;
    case TO_99:
        return TABLE_LEGACY_SYSTEM;
    case TO_FENCE:
        return in->network->netid + TABLE_FENCE_FROM_NETID;
    case TO_MAIN:
        return RT_TABLE_MAIN;
    case TO_PROHIBIT:
    case TO_UNREACHABLE:
        break;
    }
    return 0;
}

static uint8_t action(enum rule_to to)
{
    return to == TO_PROHIBIT      ? FR_ACT_PROHIBIT
           : to == TO_UNREACHABLE ? FR_ACT_UNREACHABLE
                                  : FR_ACT_TO_TBL;
}

static void set_interface(char name[static IFNAMSIZ], enum rule_interface which,
                          const struct instance *in)
{
    if (which == INTERFACE_LO)
        memcpy(name, "lo", 3);
    assert(which != INTERFACE_PORT || in->port);
    if (which == INTERFACE_PORT)
        memcpy(name, in->port->name, IFNAMSIZ);
}

static int emit(const struct rule_row *row, const struct instance *in, struct rule_list *out)
{
    struct plan_rule rule = {
        .priority = row->priority,
        .fwmark = mark_bits(row->value, in, false),
        .fwmask = mark_bits(row->mask, in, true),
        .uid = { 0, UINT32_MAX },
        .table = table_id((enum rule_to)row->to, in),
        .action = action((enum rule_to)row->to),
        .families = FAMILIES_BOTH,
    };

    if (row->uid == RULE_UID_ROOT)
        rule.uid = (struct uid_range){ 0, 0 };
    if (row->uid == RULE_UID_SEGMENT)
        rule.uid = in->segment->uid;
    set_interface(rule.iif, (enum rule_interface)row->iif, in);
    set_interface(rule.oif, (enum rule_interface)row->oif, in);
    return ARRAY_PUSH(out->items, out->n, out->cap, rule);
}

/*
 * Are there CAPTURE segments of this VPN for all these uids, which a preference holds (policy.h)?
 * A bypassable VPN has none: a preference comes first.
 */
static bool captures(const struct policy *p, int32_t vpn, struct uid_range uid)
{
    const struct segment *s = segments_find(&p->secure_captures, uid.lo);

    return s && s->target == vpn && s->uid.hi >= uid.hi;
}

static bool segment_matches(const struct rule_row *row, const struct policy *p,
                            const struct segment *s)
{
    return !((row->when & WHEN_NOT_CAPTURED) && captures(p, s->target, s->uid)) &&
           !((row->when & WHEN_NOT_ROOT) && s->uid.hi == 0) &&
           !((row->when & WHEN_EXEMPT) && !s->exempt) &&
           !((row->when & WHEN_NOT_EXEMPT) && s->exempt);
}

static bool network_matches(const struct rule_row *row, const struct network *n)
{
    bool restricted = n->permission != PERMISSION_NONE;

    return (row->types & (1U << n->type)) && !((row->when & WHEN_SECURE) && !n->secure) &&
           !((row->when & WHEN_BYPASSABLE) && n->secure) &&
           !((row->when & WHEN_LOCAL_EXCLUDED) && !n->exclude_local) &&
           !((row->when & WHEN_LOCAL_INCLUDED) && n->exclude_local) &&
           !((row->when & WHEN_RESTRICTED) && !restricted) &&
           !((row->when & WHEN_UNRESTRICTED) && restricted) &&
           !((row->when & WHEN_OUTSIDE) && !outside_possible(n));
}

static bool model_matches(const struct rule_row *row, const struct targets *t)
{
    return !((row->when & WHEN_ANDROID_TABLES) && !t->android_tables) &&
           !((row->when & WHEN_DEFAULT_NAMED) && !t->default_named) &&
           !((row->when & WHEN_DEFAULT_SYSTEM) && t->default_named);
}

static bool needs_port(const struct rule_row *row)
{
    return row->oif == INTERFACE_PORT || row->iif == INTERFACE_PORT || row->to == TO_PORT ||
           row->to == TO_PORT_LOCAL;
}

/* Once per usable interface of targets[i], or once when the row needs none. */
static int emit_ports(const struct rule_row *row, const struct targets *t, size_t i,
                      struct instance *in, struct rule_list *out)
{
    int r = 0;

    if (!needs_port(row))
        return emit(row, in, out);
    for (size_t p = 0; r == 0 && p < t->items[i].n_ports; p++) {
        in->port = target_ports(t, i) + p;
        r = emit(row, in, out);
        if (in->leads_to->type == NETWORK_LOCAL && row->oif != INTERFACE_PORT)
            break; /* its interfaces share one table: one rule */
    }
    return r;
}

static int emit_networks(const struct rule_row *row, const struct targets *t, struct rule_list *out)
{
    bool fallthrough = row->scope == SCOPE_FALLTHROUGH;
    int r = 0;

    if ((fallthrough || row->scope == SCOPE_DEFAULT) && t->default_index < 0)
        return 0;
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        struct instance in = { .network = t->items[i].network };
        size_t ports_of = fallthrough ? (size_t)t->default_index : i;

        if (!network_matches(row, in.network) ||
            (row->scope == SCOPE_DEFAULT && (ssize_t)i != t->default_index))
            continue;
        in.leads_to = t->items[ports_of].network;
        r = emit_ports(row, t, ports_of, &in, out);
    }
    return r;
}

int rules_for_networks(const struct targets *t, struct rule_list *ret)
{
    static const struct network none;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(rule_rows); i++) {
        const struct rule_row *row = &rule_rows[i];
        struct instance in = { .network = &none, .leads_to = &none };

        if (row->scope == SCOPE_SEGMENT || !model_matches(row, t))
            continue;
        r = row->scope == SCOPE_STATIC ? emit(row, &in, ret) : emit_networks(row, t, ret);
    }
    return r;
}

/* The rows for segments of each verdict, as bits: most rows are for something else. */
struct segment_rows {
    uint64_t of[VERDICT_MAX];
};

static struct segment_rows find_segment_rows(const struct targets *t)
{
    struct segment_rows rows = { 0 };

    static_assert(ELEMENTSOF(rule_rows) <= 64, "one bit per row");
    for (size_t i = 0; i < ELEMENTSOF(rule_rows); i++)
        for (unsigned v = 0; v < VERDICT_MAX; v++)
            if (rule_rows[i].scope == SCOPE_SEGMENT && (rule_rows[i].verdicts & (1U << v)) &&
                model_matches(&rule_rows[i], t))
                rows.of[v] |= UINT64_C(1) << i;
    return rows;
}

static int emit_segment_network(const struct rule_row *row, const struct targets *t,
                                struct instance *in, struct rule_list *out)
{
    ssize_t ports_of = row->when & WHEN_TO_DEFAULT ? t->default_index : in->segment->target;

    if (in->segment->target < 0 || ports_of < 0)
        return 0;
    in->network = t->items[in->segment->target].network;
    if (!network_matches(row, in->network))
        return 0;
    in->leads_to = t->items[ports_of].network;
    return emit_ports(row, t, (size_t)ports_of, in, out);
}

static int emit_segment(const struct targets *t, const struct policy *p, const struct segment *s,
                        uint64_t rows, struct rule_list *out)
{
    int r = 0;

    for (; r == 0 && rows != 0; rows &= rows - 1) {
        const struct rule_row *row = &rule_rows[__builtin_ctzll(rows)];
        struct instance in = { .segment = s };

        if (!segment_matches(row, p, s))
            continue;
        r = row->types == 0 ? emit(row, &in, out) /* the fences: no network */
                            : emit_segment_network(row, t, &in, out);
    }
    return r;
}

int rules_for_segments(const struct targets *t, const struct policy *p,
                       const struct segment *segments, size_t n, struct rule_list *ret)
{
    const struct segment_rows rows = find_segment_rows(t);
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = emit_segment(t, p, &segments[i], rows.of[segments[i].verdict], ret);
    return r;
}

int plan_rule_compare(const void *x, const void *y)
{
    const struct plan_rule *a = x, *b = y;

    if (a->priority != b->priority)
        return CMP(a->priority, b->priority);
    if (a->uid.lo != b->uid.lo)
        return CMP(a->uid.lo, b->uid.lo);
    return memcmp(a, b, offsetof(struct plan_rule, families));
}

const char *rule_priority_name(uint32_t priority)
{
    for (size_t i = 0; i < ELEMENTSOF(priority_names); i++)
        if (priority_names[i].priority == priority)
            return priority_names[i].name;
    return NULL;
}

struct rtnl_rule plan_rule_to_rtnl(const struct plan_rule *rule, int family)
{
    struct rtnl_rule out = rtnl_rule_empty(family);

    out.action = rule->action;
    out.protocol = RTPROT_WAYMARK;
    out.priority = rule->priority;
    out.table = rule->table;
    out.fwmark = rule->fwmark;
    out.fwmask = rule->fwmask;
    out.has_uid = rule->uid.hi != UINT32_MAX;
    if (out.has_uid)
        out.uid = rule->uid;
    memcpy(out.iif, rule->iif, sizeof(out.iif));
    memcpy(out.oif, rule->oif, sizeof(out.oif));
    return out;
}

struct plan_rule plan_rule_from_rtnl(const struct rtnl_rule *rule)
{
    struct plan_rule out = {
        .priority = rule->priority,
        .fwmark = rule->fwmark,
        .fwmask = rule->fwmask,
        .uid = rule->has_uid ? rule->uid : (struct uid_range){ 0, UINT32_MAX },
        .table = rule->table,
        .action = rule->action,
        .families = (uint8_t)(1U << family_index(rule->family)),
    };

    memcpy(out.iif, rule->iif, sizeof(out.iif));
    memcpy(out.oif, rule->oif, sizeof(out.oif));
    return out;
}

void plan_rule_print(const struct plan_rule *rule, struct strbuf *b)
{
    struct rtnl_rule out = plan_rule_to_rtnl(rule, AF_INET); /* printed alike for both families */

    strbuf_add(b, "%u: ", rule->priority);
    rtnl_rule_print(&out, b);
}

bool rules_use_local_table(const struct targets *t, const struct policy *p, size_t i)
{
    return t->items[i].network->type == NETWORK_PHYSICAL &&
           ((ssize_t)i == t->default_index || p->preferred[i]);
}
