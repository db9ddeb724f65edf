/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Networks: netId, name, type, interfaces, routes, DNS, permission.
 *
 * A network is immutable once it is in a model; a change makes a copy (network_copy), edits it and
 * puts it in the old one's place. So models share networks, and "did it change?" is a comparison of
 * pointers.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "basic/ipaddr.h"
#include "basic/rstr.h"
#include "basic/uidrange.h"
#include "model/mark.h"
#include "wire/routespec.h"

#define NETWORK_NAME_MAX 64

/* android.md §6.1: servers and search domains beyond these are dropped there, refused here. */
enum { NETWORK_DNS_MAX = 4, NETWORK_DOMAINS_MAX = 6, NETWORK_DOMAIN_LEN_MAX = 255 };

/* Each is a route, and an entry of the guard. */
enum { NETWORK_OUTSIDE_MAX = 256 };

enum network_type {
    NETWORK_PHYSICAL,
    NETWORK_VPN,
    NETWORK_LOCAL,       /* netId 99: downstream interfaces, table 97 */
    NETWORK_UNREACHABLE, /* netId 52: apps on it have no connectivity */
    NETWORK_TYPE_MAX,
};

/* Who made a thing, and so who may change it and how long it lives. */
enum origin {
    ORIGIN_HOST,    /* derived from an interface of the machine; comes and goes with it */
    ORIGIN_CONFIG,  /* stands in /etc/waymark; changed there */
    ORIGIN_COMMAND, /* made by CLI or D-Bus; survives a reboot */
    ORIGIN_RUNTIME, /* made through the netd socket; survives the daemon, not a reboot */
    ORIGIN_RUN,     /* `waymark run`: as long as what was run (daemon/runs.h) */
    ORIGIN_VPN,     /* follows from a VPN (decide/vpn.h), and is changed with it */
    ORIGIN_MAX,
};

/* Parameters of `resolver setnetdns --params`; kept for the resolver. Zero = its defaults. */
struct resolver_params {
    uint16_t sample_validity;   /* seconds */
    uint16_t success_threshold; /* per cent */
    uint16_t min_samples, max_samples;
};

struct network {
    unsigned refs;
    uint32_t netid;
    char name[NETWORK_NAME_MAX + 1];
    enum network_type type;
    bool type_open; /* ORIGIN_CONFIG, not said: that of the first interface, once it is there */
    enum origin origin;
    enum permission permission; /* physical networks only */
    bool secure;                /* VPN: its users cannot bypass it */
    bool has_dns;               /* VPN: Android's hasDns */
    bool exclude_local;         /* VPN, bypassable: LAN destinations do not go through it */
    /*
     * VPN, of whoever requires it: destinations that it has no route for leave by the default network;
     * under lockdown nothing does but `outside`, and nothing comes in by other interfaces (plan/outside.h)
     */
    bool fall_through, lockdown;

    char (*interfaces)[IFNAMSIZ];
    size_t n_interfaces;
    struct route_spec *routes; /* those asked for; a host's own are copied by the planner */
    size_t n_routes;
    struct uid_range *users; /* VPN: the uids it captures, as given (android.md §3.1 addUsers) */
    size_t n_users;
    struct ip_prefix *outside; /* VPN: destinations that always leave by the default network */
    size_t n_outside;
    struct ip_addr *dns;
    size_t n_dns;
    struct rstr **domains;
    size_t n_domains;
    struct resolver_params resolver;
    struct rstr *source; /* ORIGIN_CONFIG: the file; not the line, which moves with every edit */
};

const char *network_type_to_string(enum network_type type);
int network_type_from_string(const char *s); /* or -EINVAL */
const char *origin_to_string(enum origin origin);
int origin_from_string(const char *s); /* or -EINVAL */
const char *permission_to_string(enum permission permission);
int permission_from_string(const char *s); /* "none", "network", "system", or -EINVAL */

/*
 * 1–64 of [A-Za-z0-9_.:@+-], not starting with '-', not a reserved word. 0 or -EINVAL with the
 * reason.
 */
int network_name_check(const char *name, struct why *why);

/* A domain name: 1–255 bytes of labels; 0 or -EINVAL with the reason. */
int network_domain_check(const char *domain, struct why *why);

/* An empty network with one reference, or NULL when out of memory. */
struct network *network_new(void);
/* A deep copy with one reference, or NULL. */
struct network *network_copy(const struct network *n);
struct network *network_ref(struct network *n);
void network_unref(struct network *n);
DEFINE_CLEANUP(struct network *, network_unref)

/* Field by field; the reference count does not matter. */
bool network_equal(const struct network *a, const struct network *b);

bool network_has_interface(const struct network *n, const char *name);

/* The setters below edit a network that is in no model yet. 0, -ENOMEM, or as said. */
int network_add_interface(struct network *n, const char *name);    /* -ENAMETOOLONG, -EEXIST */
int network_remove_interface(struct network *n, const char *name); /* -ENOENT */
int network_add_route(struct network *n, const struct route_spec *route);    /* -EEXIST */
int network_remove_route(struct network *n, const struct route_spec *route); /* -ESRCH */
int network_add_user(struct network *n, struct uid_range range);
int network_remove_user(struct network *n,
                        struct uid_range range); /* -ENOENT: not that very range */
int network_add_outside(struct network *n,
                        const struct ip_prefix *prefix);            /* as network_add_dns() */
int network_add_dns(struct network *n, const struct ip_addr *addr); /* -E2BIG; twice is no error */
int network_add_domain(struct network *n, const char *domain);      /* -E2BIG; twice is no error */
void network_clear_outside(struct network *n);
void network_clear_dns(struct network *n);
void network_clear_domains(struct network *n);

/*
 * Adds what people wrote. An interface that is there already is no error. 0; -EINVAL or -E2BIG with
 * the reason; -ENOMEM.
 */
int network_read_interface(struct network *n, const char *text, struct why *why);
int network_read_outside(struct network *n, const char *text, struct why *why);
int network_read_dns(struct network *n, const char *text, struct why *why);
int network_read_domain(struct network *n, const char *text, struct why *why);
