/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/store-records.h"
#include "daemon/store-vpn.h"
#include "wire/words.h"

enum { STATE_SIZE_MAX = 256 << 20, REWRITE_MIN = 65536, BOOT_ID_SIZE = 40 };

static void read_boot_id(char boot[static BOOT_ID_SIZE])
{
    _cleanup_free_ char *text = NULL;

    (void)str_set(boot, BOOT_ID_SIZE, "unknown");
    if (fd_read_file("/proc/sys/kernel/random/boot_id", BOOT_ID_SIZE, &text, NULL) == 0) {
        text[strcspn(text, "\n")] = '\0';
        (void)str_set(boot, BOOT_ID_SIZE, text);
    }
}

static void add_header(struct strbuf *b)
{
    char boot[BOOT_ID_SIZE];

    read_boot_id(boot);
    strbuf_add(b, "waymark-state 1\nboot %s\n", boot);
}

/* The whole model as one commit of a new file. What fails is tried again by the next commit. */
static int rewrite(struct store *s, const struct model *m)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    _cleanup_(model_freep) struct model *empty = model_new();
    int fd, r;

    if (!empty)
        return -ENOMEM;
    add_header(&b);
    store_records_diff(empty, m, &b);
    strbuf_add(&b, "end\n");
    if (b.failed)
        return -ENOMEM;
    r = fd_replace_and_open(s->path, b.data, b.size, 0600, &fd);
    if (fd < 0)
        return r;

    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = fd;
    s->size = s->rewritten = (off_t)b.size;
    s->torn = false;
    s->unsynced = r < 0;
    return r;
}

/* Makes up for what an earlier commit left undone: until then, nothing may be appended. */
static int repair(struct store *s)
{
    int r = s->unsynced ? fd_sync_folder_of(s->path) : 0;

    if (r < 0)
        return r;
    s->unsynced = false;
    if (s->torn && ftruncate(s->fd, s->size) < 0)
        return -errno;
    s->torn = false;
    return 0;
}

static size_t line_size(const char *text)
{
    return (size_t)(strchrnul(text, '\n') - text);
}

/*
 * Nothing but one VPN that its program has established, anew or once more: that lasts no longer than the
 * machine is up. So it need not be on the disk, which may take longer than all the rest of a handover.
 */
static bool ends_with_boot(const char *text)
{
    static const char tail[] = " service runtime\n";
    const char *name = text + STRLEN("vpn "), *end;
    size_t size = line_size(text), n;

    if (!startswith(text, "vpn "))
        return false;
    end = strchrnul(name, ' ');
    if (!startswith(end, tail))
        return false;
    n = (size_t)(end - name);
    for (const char *line = text + size + 1; !streq(line, "end\n"); line += line_size(line) + 1) {
        const char *rest = startswith(line, "vpn-set ")     ? line + STRLEN("vpn-set ")
                           : startswith(line, "vpn-route ") ? line + STRLEN("vpn-route ")
                                                            : NULL;

        if (!rest || strncmp(rest, name, n) != 0 || rest[n] != ' ')
            return false;
    }
    return true;
}

int store_commit(struct store *s, const struct model *old, const struct model *new)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    int r;

    store_records_diff(old, new, &b);
    if (b.size == 0 && !b.failed)
        return 0;
    strbuf_add(&b, "end\n");
    if (b.failed)
        return -ENOMEM;
    r = s->fd < 0 ? rewrite(s, old) : repair(s);
    /* without the change, which may yet be refused: it is appended like every other */
    if (r == 0 && s->size + (off_t)b.size > MAX(2 * s->rewritten, (off_t)REWRITE_MIN))
        r = rewrite(s, old);
    if (r < 0)
        return r;

    r = fd_write_all(s->fd, b.data, b.size);
    if (r == 0 && !ends_with_boot(strbuf_text(&b)) && fdatasync(s->fd) < 0)
        r = -errno;
    if (r < 0) {
        s->torn = true; /* what is left of it must not become part of the next one */
        (void)repair(s);
        return r;
    }
    s->size += (off_t)b.size;
    return 0;
}

/* Splits a commit off: NUL-terminates its lines and applies them; the text up to `end`. */
static int apply_lines(char *text, char *end, unsigned *line, struct model *m, struct why *why)
{
    while (text < end) {
        const char *words[STORE_WORDS_MAX];
        char *newline = strchr(text, '\n');
        size_t n = 0;
        int r;

        *newline = '\0';
        (*line)++;
        r = words_split(text, words, ELEMENTSOF(words), &n);
        if (r < 0)
            r = why_set(why, -EINVAL,
                        r == -E2BIG ? "this line has too many words" : "this is no line of words");
        else if (n > 0)
            r = store_record_apply(m, words, n, why);
        if (r < 0) {
            (void)why_prefix(why, "line %u", *line);
            return r;
        }
        text = newline + 1;
    }
    return 0;
}

/* Things that were to last until the next boot, and that was it. */
static int drop_runtime(struct model *m)
{
    size_t out = 0;

    for (size_t i = m->n_networks; i-- > 0;)
        if (m->networks[i]->origin == ORIGIN_RUNTIME)
            model_drop_network(m, m->networks[i]->netid);
    for (size_t i = 0; i < m->assignments->n; i++) {
        if (m->assignments->items[i].origin == ORIGIN_RUNTIME)
            assignment_done(&m->assignments->items[i]);
        else
            m->assignments->items[out++] = m->assignments->items[i];
    }
    m->assignments->n = out;
    m->n_permissions = 0;
    m->n_protectable = 0;
    m->n_legacy = 0;
    return store_drop_runtime_vpns(m);
}

int store_parse(char *text, const char *boot, struct model *m, size_t *ret_committed,
                struct why *why)
{
    static const char magic[] = "waymark-state 1\nboot ";
    char *p = text, *commit;
    unsigned line = 2;
    bool same_boot;
    int r;

    if (strncmp(p, magic, sizeof(magic) - 1) != 0)
        return why_set(why, -EINVAL, "line 1: this is no state file of this version of waymark");
    p += sizeof(magic) - 1;
    same_boot = strncmp(p, boot, strlen(boot)) == 0 && p[strlen(boot)] == '\n';
    commit = strchr(p, '\n');
    if (!commit)
        return why_set(why, -EINVAL, "line 2: the boot id is cut off");
    p = commit + 1;
    *ret_committed = (size_t)(p - text);

    while ((commit = startswith(p, "end\n") ? p : strstr(p, "\nend\n"))) {
        char *end = commit == p ? p : commit + 1;

        r = apply_lines(p, end, &line, m, why);
        if (r < 0)
            return r;
        line++;
        p = end + STRLEN("end\n");
        *ret_committed = (size_t)(p - text);
    }
    store_records_finish(m);
    return same_boot ? 0 : drop_runtime(m);
}

static int load(struct store *s, struct model *m, struct why *why)
{
    _cleanup_free_ char *text = NULL;
    char boot[BOOT_ID_SIZE];
    size_t size, committed;
    int r;

    r = fd_read_file(s->path, STATE_SIZE_MAX, &text, &size);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return why_set(why, r, "cannot read %s: %s", s->path, strerror(-r));
    if (strlen(text) != size)
        return why_set(why, -EINVAL, "%s has a NUL byte in it: repair or remove it", s->path);

    read_boot_id(boot);
    r = store_parse(text, boot, m, &committed, why);
    if (r < 0)
        return why_set(why, r, "%s is damaged: %s. Repair or remove it", s->path, why_text(why, r));
    return 0;
}

static bool is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

int store_open(struct store *s, const char *folder, struct model *m, struct why *why)
{
    int r;

    *s = STORE_INIT;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return why_set(why, -errno, "cannot make %s: %s", folder, strerror(errno));
    if (asprintf(&s->path, "%s/state", folder) < 0) {
        s->path = NULL;
        return -ENOMEM;
    }
    r = load(s, m, why);
    if (r == 0) {
        /* also drops a commit that was cut off, and says which boot this is */
        r = rewrite(s, m);
        if (is_full(r)) {
            log_warning("cannot write %s: %s: changes are refused until there is room", s->path,
                        strerror(-r));
            return 0; /* what it says holds, all the same */
        }
        if (r < 0)
            (void)why_set(why, r, "cannot write %s: %s", s->path, strerror(-r));
    }
    if (r < 0)
        store_close(s);
    return r;
}

void store_close(struct store *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s->path);
    *s = STORE_INIT;
}
