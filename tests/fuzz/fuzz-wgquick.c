/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files of wg-quick: what is accepted is within bounds, in order and free of anything that is no name. */

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wgquick.h"

static void check_prefixes(const struct wgquick *w)
{
    bool any = false;

    MUST(w->n_allowed <= WGQUICK_ALLOWED_MAX);
    for (size_t i = 0; i < w->n_allowed; i++) {
        const struct ip_prefix *p = &w->allowed[i];

        MUST(p->addr.family == AF_INET || p->addr.family == AF_INET6);
        MUST(p->len <= ip_family_bits(p->addr.family));
        MUST(ip_prefix_contains(p, &p->addr));
        MUST(i == 0 || ip_prefix_compare(&w->allowed[i - 1], p) < 0);
        any |= p->len == 0;
    }
    MUST(wgquick_has_default(w, AF_UNSPEC) == any);
}

static void check_interface(const struct wgquick *w)
{
    MUST(w->n_addresses <= WGQUICK_ADDRESSES_MAX && w->n_dns <= WGQUICK_DNS_MAX);
    for (size_t i = 0; i < w->n_addresses; i++)
        MUST(w->addresses[i].len <= ip_family_bits(w->addresses[i].addr.family));
    for (size_t i = 0; i < w->n_dns; i++)
        MUST(ip_addr_is_set(&w->dns[i]));
    for (size_t i = 0; i < w->n_domains; i++)
        MUST(w->domains[i][0] && !strpbrk(w->domains[i], " \t\r\n,#;[]=~/"));
    MUST(w->mtu <= 65535 && w->listen_port <= 65535);
}

static void check_peers(const struct wgquick *w)
{
    MUST(w->n_peers <= WGQUICK_PEERS_MAX);
    MUST(w->n_allowed == 0 || w->n_peers > 0);
    for (size_t i = 0; i < w->n_peers; i++)
        MUST(!strpbrk(w->peers[i].endpoint, "\n#"));
}

/* The input may be a path, too. */
static void check_path(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *path = fuzz_text(data, size);
    char interface[IFNAMSIZ];
    struct why why = { 0 };

    if (wgquick_interface(path, interface, &why) < 0)
        MUST(why.error == -EINVAL && why.text[0]);
    else
        MUST(interface[0] && !strpbrk(interface, "/ \n") && strlen(interface) < IFNAMSIZ);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wgquick w = { 0 };
    struct why why = { 0 };
    unsigned line = 0;

    check_path(data, size);
    if (wgquick_parse((const char *)data, size, &w, &line, &why) < 0) {
        MUST(why.error < 0 && why.text[0]);
        MUST(!w.addresses && !w.allowed && !w.peers); /* untouched */
        return 0;
    }
    check_interface(&w);
    check_prefixes(&w);
    check_peers(&w);
    wgquick_done(&w);
    return 0;
}
