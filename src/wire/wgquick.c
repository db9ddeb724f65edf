/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/wgquick.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "basic/array.h"
#include "basic/parse.h"

#define BLANKS  " \t\r\v\f"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

enum section { SECTION_NONE, SECTION_INTERFACE, SECTION_PEER };

struct parser {
    struct wgquick w;
    enum section section;
    bool has_interface;
};

typedef int (*value_reader)(struct parser *p, const char *value, struct why *why);

/* Values. */

static int too_many(struct why *why, const char *what, size_t max)
{
    return why_set(why, -E2BIG, "more than %zu %s", max, what);
}

/* "A" or "A/N", with whatever bits. A host has all of them. */
static int parse_address(const char *word, struct wgquick_address *ret, struct why *why)
{
    const char *slash = strchr(word, '/');
    char host[IP_TEXT_MAX] = "";
    struct ip_addr addr;
    uint32_t len;
    size_t n = slash ? (size_t)(slash - word) : strlen(word);

    if (n < sizeof(host))
        memcpy(host, word, n);
    if (ip_addr_parse(host, &addr) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address", word);
    len = ip_family_bits(addr.family);
    if (slash && parse_u32(slash + 1, len, &len) < 0)
        return why_set(why, -EINVAL, "'%.60s' has no prefix length from 0 to %u", word, len);
    *ret = (struct wgquick_address){ .addr = addr, .len = (uint8_t)len };
    return 0;
}

static int add_address(struct parser *p, const char *word, struct why *why)
{
    struct wgquick_address address;
    int r = parse_address(word, &address, why);

    if (r < 0)
        return r;
    if (p->w.n_addresses >= WGQUICK_ADDRESSES_MAX)
        return too_many(why, "addresses", WGQUICK_ADDRESSES_MAX);
    return ARRAY_PUSH(p->w.addresses, p->w.n_addresses, p->w.cap_addresses, address);
}

static int add_allowed(struct parser *p, const char *word, struct why *why)
{
    struct wgquick_address address;
    int r = parse_address(word, &address, why);

    if (r < 0)
        return r;
    if (p->w.n_allowed >= WGQUICK_ALLOWED_MAX)
        return too_many(why, "AllowedIPs", WGQUICK_ALLOWED_MAX);
    return ARRAY_PUSH(p->w.allowed, p->w.n_allowed, p->w.cap_allowed,
                      ip_prefix_make(&address.addr, address.len));
}

/* systemd's resolvconf takes "~corp.example" for "only for this domain", and "~." for all of them. */
static int add_domain(struct parser *p, const char *word, struct why *why)
{
    char domain[WGQUICK_DOMAIN_MAX + 1];

    if (streq(word, "~."))
        return 0;
    word += *word == '~';
    if (*word == '\0' || word[strspn(word, LETTERS DIGITS "-_.")] != '\0' ||
        !str_set(domain, sizeof(domain), word))
        return why_set(why, -EINVAL, "'%.60s' is neither an address of a DNS server nor a domain",
                       word);
    if (p->w.n_domains >= WGQUICK_DNS_MAX)
        return too_many(why, "search domains", WGQUICK_DNS_MAX);
    if (ARRAY_RESERVE(p->w.domains, p->w.cap_domains, p->w.n_domains + 1) < 0)
        return -ENOMEM;
    memcpy(p->w.domains[p->w.n_domains++], domain, sizeof(domain));
    return 0;
}

/* What is an address and what a domain is told as wg-quick does. */
static int add_dns(struct parser *p, const char *word, struct why *why)
{
    struct ip_addr addr;

    if (word[strspn(word, DIGITS ".")] != '\0' && !strchr(word, ':'))
        return add_domain(p, word, why);
    if (ip_addr_parse(word, &addr) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address of a DNS server", word);
    if (p->w.n_dns >= WGQUICK_DNS_MAX)
        return too_many(why, "DNS servers", WGQUICK_DNS_MAX);
    return ARRAY_PUSH(p->w.dns, p->w.n_dns, p->w.cap_dns, addr);
}

static int read_number(const char *value, uint32_t max, uint32_t *ret, struct why *why)
{
    if (parse_u32_hex(value, max, ret) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no number from 0 to %u", value, max);
    return 0;
}

static int read_mtu(struct parser *p, const char *value, struct why *why)
{
    return *value ? read_number(value, UINT16_MAX, &p->w.mtu, why) : 0;
}

static int read_port(struct parser *p, const char *value, struct why *why)
{
    return read_number(value, UINT16_MAX, &p->w.listen_port, why);
}

static int read_fwmark(struct parser *p, const char *value, struct why *why)
{
    return streq(value, "off") ? 0 : read_number(value, UINT32_MAX, &p->w.fwmark, why);
}

static int read_table(struct parser *p, const char *value, struct why *why)
{
    (void)why;
    p->w.table = streq(value, "off")               ? WGQUICK_TABLE_OFF
                 : !*value || streq(value, "auto") ? WGQUICK_TABLE_AUTO
                                                   : WGQUICK_TABLE_GIVEN;
    return 0;
}

static int read_save_config(struct parser *p, const char *value, struct why *why)
{
    if (!streq(value, "true") && !streq(value, "false"))
        return why_set(why, -EINVAL, "SaveConfig is true or false");
    p->w.save_config = streq(value, "true");
    return 0;
}

static int read_private_key(struct parser *p, const char *value, struct why *why)
{
    (void)why;
    p->w.has_private_key = *value != '\0';
    return 0;
}

/* There is a peer, for its keys are read in its section only. */
static struct wgquick_peer *last_peer(struct parser *p)
{
    return &p->w.peers[p->w.n_peers - 1];
}

static int read_public_key(struct parser *p, const char *value, struct why *why)
{
    (void)why;
    last_peer(p)->has_public_key = *value != '\0';
    return 0;
}

static int read_preshared_key(struct parser *p, const char *value, struct why *why)
{
    (void)why;
    last_peer(p)->has_preshared_key = *value != '\0';
    return 0;
}

static int read_endpoint(struct parser *p, const char *value, struct why *why)
{
    const char *colon = strrchr(value, ':');

    if (!colon || colon == value || colon[1] == '\0' ||
        !str_set(last_peer(p)->endpoint, sizeof(last_peer(p)->endpoint), value))
        return why_set(why, -EINVAL, "'%.60s' is no endpoint: HOST:PORT", value);
    return 0;
}

static int read_keepalive(struct parser *p, const char *value, struct why *why)
{
    uint32_t seconds;

    (void)p;
    return streq(value, "off") ? 0 : read_number(value, UINT16_MAX, &seconds, why);
}

/* One row per key; a list is read word by word, of a hook it counts only that it is there. */
static const struct {
    const char *name;
    enum section section;
    bool list;
    value_reader read;
    unsigned hook; /* enum wgquick_hook */
} keys[] = {
    { "Address", SECTION_INTERFACE, true, add_address, 0 },
    { "DNS", SECTION_INTERFACE, true, add_dns, 0 },
    { "MTU", SECTION_INTERFACE, false, read_mtu, 0 },
    { "Table", SECTION_INTERFACE, false, read_table, 0 },
    { "PreUp", SECTION_INTERFACE, false, NULL, WGQUICK_PRE_UP },
    { "PostUp", SECTION_INTERFACE, false, NULL, WGQUICK_POST_UP },
    { "PreDown", SECTION_INTERFACE, false, NULL, WGQUICK_PRE_DOWN },
    { "PostDown", SECTION_INTERFACE, false, NULL, WGQUICK_POST_DOWN },
    { "SaveConfig", SECTION_INTERFACE, false, read_save_config, 0 },
    { "PrivateKey", SECTION_INTERFACE, false, read_private_key, 0 },
    { "ListenPort", SECTION_INTERFACE, false, read_port, 0 },
    { "FwMark", SECTION_INTERFACE, false, read_fwmark, 0 },
    { "PublicKey", SECTION_PEER, false, read_public_key, 0 },
    { "PresharedKey", SECTION_PEER, false, read_preshared_key, 0 },
    { "AllowedIPs", SECTION_PEER, true, add_allowed, 0 },
    { "Endpoint", SECTION_PEER, false, read_endpoint, 0 },
    { "PersistentKeepalive", SECTION_PEER, false, read_keepalive, 0 },
};

static ssize_t find_key(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (strcasecmp(keys[i].name, name) == 0)
            return (ssize_t)i;
    return -ENOENT;
}

/* Lines. */

static char *trim(char *s)
{
    size_t n;

    s += strspn(s, BLANKS);
    n = strlen(s);
    while (n > 0 && strchr(BLANKS, s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int read_section(struct parser *p, const char *name, struct why *why)
{
    static const char *const names[] = {
        [SECTION_INTERFACE] = "[Interface]", [SECTION_PEER] = "[Peer]"
    };

    p->section = SECTION_NONE;
    for (size_t i = SECTION_INTERFACE; i < ELEMENTSOF(names); i++)
        if (strcasecmp(names[i], name) == 0)
            p->section = (enum section)i;
    p->has_interface |= p->section == SECTION_INTERFACE;
    if (p->section == SECTION_NONE)
        return why_set(why, -EINVAL, "wg-quick(8) has no sections but [Interface] and [Peer]");
    if (p->section == SECTION_INTERFACE)
        return 0;
    if (p->w.n_peers >= WGQUICK_PEERS_MAX)
        return too_many(why, "peers", WGQUICK_PEERS_MAX);
    return ARRAY_PUSH(p->w.peers, p->w.n_peers, p->w.cap_peers, (struct wgquick_peer){ 0 });
}

/* A secret may stand where a key should, as when its line was broken in two. No key is that long. */
static int unknown_key(const char *name, struct why *why)
{
    size_t n = strlen(name);

    if (n == 0 || n > 24 || strspn(name, LETTERS) < n)
        return why_set(why, -EINVAL, "there is no such key in wg-quick(8)");
    return why_set(why, -EINVAL, "wg-quick(8) has no key '%s'", name);
}

static int misplaced_key(enum section section, const char *name, struct why *why)
{
    return why_set(why, -EINVAL, "%s belongs into a section [%s]", name,
                   section == SECTION_PEER ? "Peer" : "Interface");
}

static int read_list(struct parser *p, value_reader read, char *value, struct why *why)
{
    char *save = NULL;
    int r = 0;

    for (char *w = strtok_r(value, "," BLANKS, &save); r == 0 && w;
         w = strtok_r(NULL, "," BLANKS, &save))
        r = read(p, w, why);
    return r;
}

static int read_key(struct parser *p, char *line, struct why *why)
{
    char *equals = strchr(line, '='), *value;
    ssize_t i;

    if (!equals)
        return why_set(why, -EINVAL, "the line is neither a [section] nor a Key = value");
    *equals = '\0';
    value = trim(equals + 1);
    i = find_key(trim(line));
    if (i < 0)
        return unknown_key(trim(line), why);
    if (keys[i].section != p->section)
        return misplaced_key(keys[i].section, keys[i].name, why);
    p->w.hooks |= keys[i].hook;
    if (keys[i].list)
        return read_list(p, keys[i].read, value, why);
    return keys[i].read ? keys[i].read(p, value, why) : 0;
}

static int read_line(struct parser *p, char *line, struct why *why)
{
    char *comment = strchr(line, '#');

    if (comment)
        *comment = '\0';
    line = trim(line);
    if (*line == '\0')
        return 0;
    return *line == '[' ? read_section(p, line, why) : read_key(p, line, why);
}

/* Of a copy, which held a key perhaps and is wiped. */
static int take_line(struct parser *p, const char *start, size_t size, struct why *why)
{
    char *line;
    int r;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)start[i];

        if ((c < ' ' && !strchr(BLANKS, c)) || c == '\0' || c == 0x7f)
            return why_set(why, -EINVAL, "the line has a control character (0x%02x)", c);
    }
    line = strndup(start, size);
    if (!line)
        return -ENOMEM;
    r = read_line(p, line, why);
    explicit_bzero(line, size);
    free(line);
    return r;
}

static int compare_prefixes(const void *a, const void *b)
{
    return ip_prefix_compare(a, b);
}

/* The peers' lists may overlap; which peer it is makes no difference to the route. */
static void sort_allowed(struct wgquick *w)
{
    size_t n = 0;

    if (w->n_allowed > 0)
        qsort(w->allowed, w->n_allowed, sizeof(*w->allowed), compare_prefixes);
    for (size_t i = 0; i < w->n_allowed; i++)
        if (n == 0 || ip_prefix_compare(&w->allowed[n - 1], &w->allowed[i]) != 0)
            w->allowed[n++] = w->allowed[i];
    w->n_allowed = n;
}

static int parse_lines(struct parser *p, const char *text, size_t size, unsigned *ret_line,
                       struct why *why)
{
    const char *end = text + size;

    for (unsigned line = 1; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        int r = take_line(p, text, (size_t)(stop - text), why);

        if (r < 0) {
            *ret_line = line;
            return r;
        }
        text = newline ? newline + 1 : end;
    }
    if (p->has_interface)
        return 0;
    *ret_line = 0;
    return why_set(why, -EINVAL, "there is no section [Interface]: is it a file of wg-quick(8)?");
}

int wgquick_parse(const char *text, size_t size, struct wgquick *ret, unsigned *ret_line,
                  struct why *why)
{
    struct parser p = { .section = SECTION_NONE };
    int r = parse_lines(&p, text, size, ret_line, why);

    if (r < 0) {
        wgquick_done(&p.w);
        return r;
    }
    sort_allowed(&p.w);
    *ret = p.w;
    return 0;
}

void wgquick_done(struct wgquick *w)
{
    free(w->addresses);
    free(w->dns);
    free(w->domains);
    free(w->allowed);
    free(w->peers);
    *w = (struct wgquick){ 0 };
}

bool wgquick_has_default(const struct wgquick *w, int family)
{
    for (size_t i = 0; i < w->n_allowed; i++)
        if (w->allowed[i].len == 0 && (family == AF_UNSPEC || w->allowed[i].addr.family == family))
            return true;
    return false;
}

int wgquick_interface(const char *path, char ret[static IFNAMSIZ], struct why *why)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name), suffix = STRLEN(".conf");

    if (n <= suffix || !streq(name + n - suffix, ".conf"))
        return why_set(why, -EINVAL, "its name does not end in .conf, as wg-quick(8) wants it");
    n -= suffix;
    if (n >= IFNAMSIZ || strspn(name, LETTERS DIGITS "_=+.-") < n || streq(name, "..conf") ||
        streq(name, "...conf"))
        return why_set(
            why, -EINVAL,
            "wg-quick(8) calls the interface as the file, and '%.*s' is no name for one: "
            "it takes 1 to %d letters, digits and _=+.-",
            (int)MIN(n, 60U), name, IFNAMSIZ - 1);
    snprintf(ret, IFNAMSIZ, "%.*s", (int)n, name);
    return 0;
}
