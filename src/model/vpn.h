/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VPNs: who may be one, for whom, and what it says of itself.
 *
 * A VPN is a network of type vpn with an owner, and the apps that it is for. Two things make it:
 *
 *   what the administrator says (struct vpn)         which apps, lockdown, always-on, who the owner is
 *   what the program says (struct vpn_config)        addresses, routes, DNS, MTU, …: Android's Builder
 *
 * A VPN without a word of the administrator's has an owner who was consented to, and covers that user
 * alone. One without a program is *adopted*: its interface was made by somebody else (wg-quick, pppd,
 * NetworkManager), and it has no owner.
 *
 * All that follows, its network and the assignments of its apps, is derived by decide/vpn.h and is not
 * written down. Like networks, VPNs and their configurations are immutable once they are in a model.
 *
 * android.md §5 is the behaviour; ranges and errors of the setters are those of its table 5.2.
 */

#include "model/network.h"
#include "wire/selector.h"

/* Beyond these a VPN is refused: they bound what one program can make of the machine. */
enum {
    VPN_ADDRESSES_MAX = 64,
    VPN_ROUTES_MAX = 4096,
    VPN_APPS_MAX = 1024,
    VPN_QUEUES_MAX = 16,
    VPN_UNDERLYING_MAX = 16,
    VPN_MTU_MIN = 68,        /* RFC 791 */
    VPN_MTU_MIN_IPV6 = 1280, /* RFC 8200 */
    VPN_MTU_MAX = 65535,
    VPN_SESSION_MAX = 128, /* bytes */
};

/* Interfaces that are handed out are called so, with a number behind it. They are nobody else's network. */
#define VPN_INTERFACE_PREFIX "wmtun"

enum vpn_kind { VPN_SERVICE, VPN_ADOPTED, VPN_KIND_MAX };

enum vpn_metered { VPN_METERED_DEFAULT, VPN_METERED_YES, VPN_METERED_NO };

/* What of the network around its apps may reach without it. */
enum vpn_lan {
    VPN_LAN_NONE,
    VPN_LAN_LINK_LOCAL, /* 169.254/16, 224.0.0/24, fe80::/10, ff02::/16 */
    VPN_LAN_PREFIXES,   /* those given */
    VPN_LAN_MAX,
};

/* An address of the interface with the length of its on-link prefix. */
struct vpn_address {
    struct ip_addr addr;
    uint8_t len;
};

/* Sorted, each once. */
struct selector_list {
    struct selector *items;
    size_t n, cap;
};

/* Which families an otherwise unused one is let through for (allowFamily): bit family_index(). */
enum { VPN_FAMILY_IPV4 = 1 << 0, VPN_FAMILY_IPV6 = 1 << 1 };

/* What the program says; of an adopted VPN, what the administrator says in its place. */
struct vpn_config {
    unsigned refs;
    struct rstr *session; /* NULL = none */
    uint32_t mtu;         /* bytes; 0 = the kernel's */
    struct vpn_address *addresses;
    size_t n_addresses, cap_addresses;
    struct route_spec
        *routes; /* without an interface; `throw` = excluded. Sorted, each prefix once */
    size_t n_routes, cap_routes;
    struct ip_addr *dns;
    size_t n_dns;
    struct rstr **domains;
    size_t n_domains;
    struct selector_list allowed, disallowed; /* not both; the administrator's come before these */
    unsigned families;                        /* VPN_FAMILY_*: allowFamily */
    bool bypassable;
    bool blocking;   /* of the descriptor */
    bool offloads;   /* packets carry a struct virtio_net_hdr */
    uint32_t queues; /* 1–VPN_QUEUES_MAX */
    enum vpn_metered metered;
    bool underlying_set;      /* else: the default network */
    struct rstr **underlying; /* names of networks; none at all = there is none */
    size_t n_underlying;
    struct rstr *http_proxy; /* "host:port"; NULL = none */
    enum vpn_lan lan;
    struct ip_prefix *lan_prefixes; /* VPN_LAN_PREFIXES */
    size_t n_lan_prefixes;
};

struct vpn {
    unsigned refs;
    char name[NETWORK_NAME_MAX + 1]; /* of its network, too */
    enum vpn_kind kind;
    /* CONFIG, COMMAND; RUNTIME: made by its program, survives the daemon but no reboot */
    enum origin origin;
    struct rstr *source; /* ORIGIN_CONFIG: the file */

    /* the administrator's */
    bool has_owner;
    struct selector owner;   /* uid:, user: or exe:; whose program may establish it */
    uint32_t owner_resolved; /* uid: and user: the uid it means now; UID_INVALID = unknown */
    bool owner_old; /* the user database is away: that is the uid of last time, if there is one */
    bool everyone;  /* it is for all users but root, not for its owner alone */
    struct selector_list allowed,
        disallowed;              /* not both; when there are any, the program's do not count */
    struct selector_list exempt; /* may do without it also under lockdown */
    bool lockdown, always_on;
    bool bypass;       /* adopted: its apps may bypass it; service: the program may ask for that */
    bool fall_through; /* adopted: where it has no route its apps go by the default network */
    bool forward; /* service: what comes out of the tunnel may go further than to its addresses */
    enum vpn_lan lan; /* NONE: what the program asks for */
    struct ip_prefix *lan_prefixes;
    size_t n_lan_prefixes;
    struct rstr *engine; /* what is started for it: a unit, or a command line; NULL = nothing */

    /* as it is; lasts no longer than the machine is up */
    bool down;        /* by choice: taken down, or disconnected */
    bool established; /* service: its interface was handed out, and has not been given up */
    /* who established it, or is about to: UID_INVALID = nobody */
    uint32_t owner_uid;
    char (*interfaces)
        [IFNAMSIZ]; /* adopted: as given; service: the one handed out, until it is lost */
    size_t n_interfaces;
    struct vpn_config *config; /* NULL = never established */
};

/* Who may establish VPNs. */
struct vpn_consent {
    struct selector who; /* uid:, user: or exe: */
    bool everyone;       /* for all users' apps; else for its own user's */
    uint32_t uid;        /* user: who that is now; UID_INVALID = unknown */
    bool uid_old;        /* as owner_old above */
};

const char *vpn_kind_to_string(enum vpn_kind kind);
int vpn_kind_from_string(const char *s); /* or -EINVAL */
const char *vpn_lan_to_string(enum vpn_lan lan);

/* One reference; one queue, and of all else nothing. NULL: no memory, as of those below. */
struct vpn_config *vpn_config_new(void);
struct vpn_config *vpn_config_copy(const struct vpn_config *c);
struct vpn_config *vpn_config_ref(struct vpn_config *c);
void vpn_config_unref(struct vpn_config *c);
DEFINE_CLEANUP(struct vpn_config *, vpn_config_unref)
bool vpn_config_equal(const struct vpn_config *a,
                      const struct vpn_config *b); /* either may be NULL */

struct vpn *vpn_new(void);                 /* one reference; uids are UID_INVALID */
struct vpn *vpn_copy(const struct vpn *v); /* shares the configuration */
struct vpn *vpn_ref(struct vpn *v);
void vpn_unref(struct vpn *v);
DEFINE_CLEANUP(struct vpn *, vpn_unref)
bool vpn_equal(const struct vpn *a, const struct vpn *b);

int vpn_add_interface(struct vpn *v, const char *name, struct why *why); /* twice is no error */
bool vpn_has_interface(const struct vpn *v, const char *name);
void vpn_clear_interfaces(struct vpn *v);

/* Twice is no error; -E2BIG beyond VPN_APPS_MAX. */
int selector_list_add(struct selector_list *s, const char *text, struct why *why);
bool selector_list_has(const struct selector_list *s, const struct selector *selector);
int selector_list_copy(struct selector_list *ret, const struct selector_list *s);
bool selector_list_equal(const struct selector_list *a, const struct selector_list *b);
void selector_list_done(struct selector_list *s);

/*
 * The Builder's setters (android.md §5.2), from text. 0; -EINVAL with the reason: what is wrong with the
 * value; -E2BIG beyond the limits above; -ENOMEM. -EPERM: an app is to be allowed while others are
 * disallowed, or the other way round.
 */
int vpn_config_add_address(struct vpn_config *c, const char *text,
                           struct why *why); /* "A/LEN", "A" */
/* -EADDRNOTAVAIL: it has none such. */
int vpn_config_remove_address(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_add_route(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_exclude_route(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_add_dns(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_add_domain(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_allow(struct vpn_config *c, const char *selector, struct why *why);
int vpn_config_disallow(struct vpn_config *c, const char *selector, struct why *why);
/* "inet", "inet6" */
int vpn_config_allow_family(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_set_mtu(struct vpn_config *c, uint32_t mtu, struct why *why);
int vpn_config_set_session(struct vpn_config *c, const char *text, struct why *why); /* "" = none */
/* HOST:PORT, [IPV6]:PORT */
int vpn_config_set_http_proxy(struct vpn_config *c, const char *text, struct why *why);
int vpn_config_set_queues(struct vpn_config *c, uint32_t queues, struct why *why);
/* None at all: set underlying_set. */
int vpn_config_add_underlying(struct vpn_config *c, const char *network, struct why *why);
/* "none", "link-local" or a prefix (then many). Also for struct vpn's own. */
int vpn_lan_add(enum vpn_lan *lan, struct ip_prefix **prefixes, size_t *n, const char *text,
                struct why *why);

/* What must hold of all of it together before it can be established: an address, an MTU that fits. */
int vpn_config_check(const struct vpn_config *c, struct why *why);

/* Has it a route, or an excluded one, for this very prefix? */
bool vpn_config_has_route(const struct vpn_config *c, const struct ip_prefix *dst);

/* VPN_FAMILY_* that have neither address, unicast route nor DNS server, and were not let through. */
unsigned vpn_config_blocked_families(const struct vpn_config *c);

/* Is traffic meant to flow: established and not lost, or adopted and not taken down? */
bool vpn_is_active(const struct vpn *v);
/* Established, but its interface is gone, and nobody wanted that. */
bool vpn_is_lost(const struct vpn *v);
/* Are its apps assigned now: active, or held to it all the same (lost, lockdown, always-on)? */
bool vpn_holds(const struct vpn *v);
/* Is it down until somebody takes it up: it has an engine, which is not to run always. */
bool vpn_begins_down(const struct vpn *v);
/* May its program send packets to other addresses than the VPN's own, as a network's routers do? */
bool vpn_may_forward(const struct vpn *v);
/* May its apps bypass it? Not under lockdown, nor while always-on waits for it. */
bool vpn_is_bypassable(const struct vpn *v);
/* The user whose it is: who established it, else who may; UID_INVALID = not known. */
uint32_t vpn_user(const struct vpn *v);
