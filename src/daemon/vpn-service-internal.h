/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Inside of the VPN service: its processes (vpn-service.c), who may be one (vpn-check.c), and what
 * happens to interfaces (vpn-life.c). */

#include <sys/queue.h>

#include "daemon/change.h"
#include "daemon/vpn-service.h"

/* In which a process that was killed is gone. */
#define VPN_LIFE_DELAY USEC_PER_SEC
/* In which a program has heard that it has a new interface, and writes there. */
#define VPN_REPLACED_DELAY (250 * USEC_PER_MSEC)
/* For how long a program may read from an interface that is its VPN's no more. */
#define VPN_LEFT_DELAY (10 * USEC_PER_SEC)

/* One process that is prepared for one VPN. */
struct vpn_session {
    TAILQ_ENTRY(vpn_session) entry;
    struct vpn_service *service;
    char name[NETWORK_NAME_MAX + 1];
    uint32_t uid, pid;
    int pidfd;
    struct exe_id file;
    struct exe_id exe_id; /* ino 0 = unknown */
    bool privileged;
    bool everyone;  /* what it is prepared for */
    bool owner;     /* the VPN is established, and it is this one's */
    uint64_t since; /* owner: 0 = before we were */
    enum vpn_report report;
    char reason[128];
    sd_event_source *ended;
};

TAILQ_HEAD(vpn_session_list, vpn_session);

/* An interface that went: it is to be seen why. */
struct vpn_gone {
    char name[NETWORK_NAME_MAX + 1];
    char interface[IFNAMSIZ];
    usec_t at;
    unsigned tries; /* to find it left behind */
};

/* An interface that is to be set down: its VPN has another one. */
struct vpn_replaced {
    int ifindex;
    usec_t at;
};

/* An interface that is no VPN's any more, and down. What is queued there its program may still read. */
struct vpn_left {
    int ifindex;
    char interface[IFNAMSIZ];
    uint32_t uid; /* whose it was; UID_INVALID = not known */
    usec_t at;    /* when it is deleted, if it is there still */
};

/* Why VPNs go down in the change that is made now. */
struct vpn_ending {
    const char *by_choice; /* the VPN that its own program gives up; NULL = none */
    const char *reason;    /* of all others that go down */
};

struct vpn_service {
    struct manager *m;
    struct nlsock
        rtnl;        /* not the applier's: its changes are none of the plan's, and are to be seen */
    unsigned number; /* of the next interface */
    struct vpn_session_list sessions;
    size_t n_sessions;
    struct vpn_ending ending;
    struct vpn_replaced *replaced; /* the oldest first */
    size_t n_replaced, cap_replaced;
    sd_event_source *replacing;
    struct vpn_gone *gone;
    size_t n_gone, cap_gone;
    struct vpn_left *left; /* the oldest first */
    size_t n_left, cap_left;
    sd_event_source *timer;
    vpn_revoked told;
    void *told_data;
};

struct vpn_session *vpn_session_of_owner(const struct vpn_service *s, const char *name);
bool vpn_session_is_alive(const struct vpn_session *session);
void vpn_session_free(struct vpn_session *session);
/* May it still be what it is prepared for? */
bool vpn_session_may(const struct vpn_session *session, const struct model *m);

/* vpn-check.c: vpn_service_check() for who is a session already, or is like one. */
int vpn_check(const struct model *m, const struct vpn_session *c, const char *name, bool everyone,
              struct why *why);
/* The consent that this process has; NULL = none. */
const struct vpn_consent *vpn_service_find_consent(const struct model *m, uint32_t uid,
                                                   const struct exe_id *exe_id);

/*
 * May he have these addresses? An address of an interface is the whole machine's, before any rule: by one that
 * somebody else has, a user would be him, to all users. -EPERM with which.
 */
int vpn_check_addresses(const struct manager *m, const struct vpn_session *session,
                        const struct vpn_config *c, struct why *why);

/* May he have one more session? -EUSERS. */
int vpn_check_room(const struct vpn_service *s, uint32_t uid, struct why *why);
/* May this be, too? -EUSERS: he has enough VPNs; -E2BIG: these are too many routes for who is no administrator's. */
int vpn_check_share(const struct model *m, const struct vpn_session *session,
                    const struct vpn_config *c, struct why *why);

/* A change in which VPNs may go down. */
int vpn_service_change(struct vpn_service *s, const struct vpn_ending *ending, manager_edit edit,
                       void *data, struct why *why);

/* Looks then what became of the interface of a VPN. */
void vpn_life_look(struct vpn_service *s, const struct vpn *v, usec_t delay);
/* Sets all those down now that were replaced. */
void vpn_life_end_replaced(struct vpn_service *s);
/* For what is there already. */
void vpn_life_start(struct vpn_service *s);
void vpn_life_done(struct vpn_service *s);
/* Listener. */
void vpn_life_on_commit(void *data, const struct model *old, const struct model *new);
void vpn_life_on_event(void *data, const struct observe_event *event);
