/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/peers.h"

#include <errno.h>
#include <sys/random.h>

enum { BUCKETS_FIRST = 64 };

struct virtual_address {
    struct ip_addr inner;
    struct peer *peer;
    usec_t heard;
    struct virtual_address *next_in_bucket;
    struct virtual_address *next, *previous; /* of its peer's ring */
};

struct peers {
    uint64_t key[2];
    struct peer **reals;
    struct virtual_address **inners;
    size_t n_reals, n_real_buckets; /* buckets: powers of two */
    size_t n_inners, n_inner_buckets;
};

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[static 4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 over whole words, as the kernel uses it for its tables. */
static uint64_t sip_hash(const uint64_t key[static 2], const uint64_t *words, size_t n)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
                      key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL };

    for (size_t i = 0; i <= n; i++) {
        uint64_t word = i < n ? words[i] : (uint64_t)n << 59;

        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (unsigned i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t hash_inner(const struct peers *p, const struct ip_addr *inner)
{
    uint64_t words[3] = { inner->family };

    memcpy(words + 1, inner->bytes, sizeof(inner->bytes));
    return sip_hash(p->key, words, ELEMENTSOF(words)) & (p->n_inner_buckets - 1);
}

static size_t hash_real(const struct peers *p, const struct endpoint *real)
{
    uint64_t words[3] = { 0 };

    if (real->sa.sa_family == AF_INET) {
        words[0] = (uint64_t)real->in.sin_addr.s_addr << 32 | real->in.sin_port;
    } else {
        words[0] = (uint64_t)real->in6.sin6_scope_id << 32 | real->in6.sin6_port;
        memcpy(words + 1, &real->in6.sin6_addr, sizeof(real->in6.sin6_addr));
    }
    return sip_hash(p->key, words, ELEMENTSOF(words)) & (p->n_real_buckets - 1);
}

int peers_new(struct peers **ret)
{
    _cleanup_(peers_freep) struct peers *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    if (getrandom(p->key, sizeof(p->key), 0) != (ssize_t)sizeof(p->key))
        return -EIO;
    p->n_real_buckets = p->n_inner_buckets = BUCKETS_FIRST;
    p->reals = calloc(p->n_real_buckets, sizeof(struct peer *));
    p->inners = calloc(p->n_inner_buckets, sizeof(struct virtual_address *));
    if (!p->reals || !p->inners)
        return -ENOMEM;
    *ret = TAKE_PTR(p);
    return 0;
}

struct peers *peers_free(struct peers *p)
{
    if (!p)
        return NULL;
    if (p->reals && p->inners)
        peers_expire(p, USEC_INFINITY);
    free(p->reals);
    free(p->inners);
    free(p);
    return NULL;
}

/* When there is no memory for more buckets, the old ones do. */
static void grow_reals(struct peers *p)
{
    size_t old = p->n_real_buckets;
    struct peer **grown;

    if (p->n_reals < old)
        return;
    grown = calloc(old * 2, sizeof(struct peer *));
    if (!grown)
        return;
    p->n_real_buckets = old * 2;
    for (size_t i = 0; i < old; i++)
        for (struct peer *peer = p->reals[i], *next; peer; peer = next) {
            size_t h = hash_real(p, &peer->real);

            next = peer->next_in_bucket;
            peer->next_in_bucket = grown[h];
            grown[h] = peer;
        }
    free(p->reals);
    p->reals = grown;
}

static void grow_inners(struct peers *p)
{
    size_t old = p->n_inner_buckets;
    struct virtual_address **grown;

    if (p->n_inners < old)
        return;
    grown = calloc(old * 2, sizeof(struct virtual_address *));
    if (!grown)
        return;
    p->n_inner_buckets = old * 2;
    for (size_t i = 0; i < old; i++)
        for (struct virtual_address *v = p->inners[i], *next; v; v = next) {
            size_t h = hash_inner(p, &v->inner);

            next = v->next_in_bucket;
            v->next_in_bucket = grown[h];
            grown[h] = v;
        }
    free(p->inners);
    p->inners = grown;
}

struct peer *peers_heard(struct peers *p, const struct endpoint *real, usec_t now, bool *ret_new)
{
    struct peer *peer = p->reals[hash_real(p, real)];
    size_t h;

    while (peer && !endpoint_equal(&peer->real, real))
        peer = peer->next_in_bucket;
    *ret_new = !peer;
    if (!peer) {
        if (p->n_reals >= PEERS_MAX)
            return NULL;
        grow_reals(p);
        peer = calloc(1, sizeof(*peer));
        if (!peer)
            return NULL;
        peer->real = *real;
        (void)getrandom(&peer->seq, sizeof(peer->seq), 0); /* starts random; 0 is as good */
        h = hash_real(p, real);
        peer->next_in_bucket = p->reals[h];
        p->reals[h] = peer;
        p->n_reals++;
    }
    peer->real.local = real->local; /* it may have taken another of our addresses */
    peer->heard = now;
    return peer;
}

static struct virtual_address *find(const struct peers *p, const struct ip_addr *inner)
{
    struct virtual_address *v = p->inners[hash_inner(p, inner)];

    while (v && !ip_addr_equal(&v->inner, inner))
        v = v->next_in_bucket;
    return v;
}

struct peer *peers_find(const struct peers *p, const struct ip_addr *inner)
{
    const struct virtual_address *v = find(p, inner);

    return v ? v->peer : NULL;
}

static void leave_peer(struct virtual_address *v)
{
    struct peer *peer = v->peer;

    v->previous->next = v->next;
    v->next->previous = v->previous;
    if (peer->addresses == v)
        peer->addresses = v->next == v ? NULL : v->next;
    peer->n_addresses--;
}

/* As the one that was heard last. */
static void join_peer(struct virtual_address *v, struct peer *peer)
{
    struct virtual_address *first = peer->addresses;

    v->peer = peer;
    v->next = first ? first : v;
    v->previous = first ? first->previous : v;
    v->next->previous = v;
    v->previous->next = v;
    peer->addresses = v;
    peer->n_addresses++;
}

static void forget_inner(struct peers *p, struct virtual_address *v)
{
    struct virtual_address **at = &p->inners[hash_inner(p, &v->inner)];

    while (*at != v)
        at = &(*at)->next_in_bucket;
    *at = v->next_in_bucket;
    leave_peer(v);
    free(v);
    p->n_inners--;
}

static struct virtual_address *add_inner(struct peers *p, const struct ip_addr *inner)
{
    struct virtual_address *v;
    size_t h;

    grow_inners(p);
    v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->inner = *inner;
    h = hash_inner(p, inner);
    v->next_in_bucket = p->inners[h];
    p->inners[h] = v;
    p->n_inners++;
    return v;
}

int peers_bind(struct peers *p, struct peer *peer, const struct ip_addr *inner, usec_t now)
{
    struct virtual_address *v = find(p, inner);

    if ((!v || v->peer != peer) && peer->n_addresses >= PEERS_ADDRESSES_EACH)
        forget_inner(p, peer->addresses->previous);
    if (v) {
        v->heard = now;
        if (peer->addresses == v)
            return 0;
        leave_peer(v);
    } else {
        if (p->n_inners >= PEERS_ADDRESSES_MAX)
            return -ENOSPC;
        v = add_inner(p, inner);
        if (!v)
            return -ENOMEM;
        v->heard = now;
    }
    join_peer(v, peer);
    return 0;
}

/* `at` is what leads to it. */
static void forget_real(struct peers *p, struct peer **at)
{
    struct peer *peer = *at;

    while (peer->addresses)
        forget_inner(p, peer->addresses);
    *at = peer->next_in_bucket;
    free(peer);
    p->n_reals--;
}

/* From the one that was heard first. */
static void expire_inners(struct peers *p, struct peer *peer, usec_t before)
{
    while (peer->addresses && peer->addresses->previous->heard < before)
        forget_inner(p, peer->addresses->previous);
}

void peers_expire(struct peers *p, usec_t before)
{
    for (size_t i = 0; i < p->n_real_buckets; i++)
        for (struct peer **at = &p->reals[i]; *at;)
            if ((*at)->heard < before) {
                forget_real(p, at);
            } else {
                expire_inners(p, *at, before);
                at = &(*at)->next_in_bucket;
            }
}

size_t peers_count(const struct peers *p)
{
    return p->n_reals;
}

size_t peers_count_addresses(const struct peers *p)
{
    return p->n_inners;
}

void peers_each(const struct peers *p, void (*f)(void *data, struct peer *peer), void *data)
{
    for (size_t i = 0; i < p->n_real_buckets; i++)
        for (struct peer *peer = p->reals[i]; peer; peer = peer->next_in_bucket)
            f(data, peer);
}
