/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is found on disk when a store is opened. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "basic/log.h"
#include "keystore/cipher.h"
#include "keystore/store-internal.h"

struct scan {
    struct store *s;
    size_t foreign, damaged;
};

static int add_value(void *data, const char *name)
{
    struct scan *scan = data;
    struct index_entry *e;
    struct keystore_key key;
    struct stat st;
    uint32_t owner, size = 0;
    int r;

    if (keyblob_name_parse(name, &owner, &key) < 0) {
        scan->foreign++;
        return 0;
    }
    if (fstatat(scan->s->folders.values, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode)) { /* can be neither replaced nor removed */
        scan->foreign++;
        return 0;
    }
    if (S_ISREG(st.st_mode) && st.st_size > KEYBLOB_VALUE_OVERHEAD)
        size = (uint32_t)MIN(st.st_size, KEYBLOB_VALUE_FILE_MAX) - KEYBLOB_VALUE_OVERHEAD;
    r = index_reserve(&scan->s->index, owner, &key, &e);
    if (r == 0)
        index_set(&scan->s->index, e, size);
    return r;
}

static int set_readers(struct index *x, struct index_entry *e, const uint32_t *uids, size_t n)
{
    _cleanup_free_ uint32_t *readers = calloc(n, sizeof(*readers));
    int r = readers ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < n; i++) {
        readers[i] = uids[i];
        r = index_reserve_reader(x, e, uids[i]);
    }
    if (r == 0)
        index_set_readers(x, e, TAKE_PTR(readers), n);
    return r;
}

/* Grants of a value that is gone go now: it was being deleted. */
static int add_grants(void *data, const char *name)
{
    struct scan *scan = data;
    struct store *s = scan->s;
    char text[KEYBLOB_GRANTS_FILE_MAX + 1];
    uint32_t owner, uids[KEYBLOB_GRANTS_MAX];
    struct keystore_key key;
    struct index_entry *e;
    size_t size, n;
    bool done;
    int r;

    if (keyblob_name_parse(name, &owner, &key) < 0) {
        scan->foreign++;
        return 0;
    }
    e = index_find(&s->index, owner, &key);
    if (!e)
        return files_remove(s->folders.grants, name, &done);
    r = files_read(s->folders.grants, name, text, sizeof(text) - 1, &size);
    if (r == -ENOMEM || r == -EIO || r == -EMFILE || r == -ENFILE)
        return r;
    if (r < 0 || keyblob_grants_parse(text, size, uids, &n) < 0) {
        scan->damaged++;
        return 0;
    }
    return set_readers(&s->index, e, uids, n);
}

static int load_index(struct store *s, struct why *why)
{
    struct scan scan = { .s = s };
    int r = files_list(s->folders.values, add_value, &scan);

    if (r < 0)
        return why_set(why, r, "cannot read the values: %s", strerror(-r));
    r = files_list(s->folders.grants, add_grants, &scan);
    if (r < 0)
        return why_set(why, r, "cannot read who was granted what: %s", strerror(-r));
    if (scan.foreign > 0)
        log_warning("%zu files in the state folder are not the keystore's, and are left alone",
                    scan.foreign);
    if (scan.damaged > 0)
        log_warning("%zu files of grants are damaged: what they grant is granted to nobody",
                    scan.damaged);
    return 0;
}

/* Where there is no master key yet and a key file is to open it. */
static int create_by_key_file(struct store *s)
{
    _cleanup_secret_ struct secret key = SECRET_NONE;
    struct keyblob_master m = { 0 };
    bool done;
    int r = cipher_random_key(&key);

    if (r == 0)
        r = master_seal(&m, KEYBLOB_KEY_FILE, &s->key_file, NULL, &key);
    if (r == 0)
        r = master_make_tries(&s->folders);
    if (r == 0)
        r = master_write(&s->folders, &m, &done);
    if (r < 0)
        return r;
    s->master = m;
    s->presence = MASTER_THERE;
    s->master_key = secret_take(&key);
    return 0;
}

static int open_by_key_file(struct store *s, struct why *why)
{
    int r;

    if (!secret_is_set(&s->key_file) || s->presence == MASTER_DAMAGED)
        return 0;
    if (s->presence == MASTER_NONE && s->index.present > 0) {
        log_error(
            "the file 'masterkey' is missing, and %zu values are there that only it opens: bring "
            "it back, or reset; no new one is made",
            s->index.present);
        return 0;
    }
    if (s->presence == MASTER_NONE) {
        r = create_by_key_file(s);
        return r < 0
                   ? why_set(why, r, "cannot make a master key for the key file: %s", strerror(-r))
                   : 0;
    }
    r = master_open(&s->master, KEYBLOB_KEY_FILE, &s->key_file, &s->master_key);
    if (r == -EKEYREJECTED)
        log_warning("the key file is not the one that opens the store: it stays locked");
    else if (r < 0 && r != -ENOENT)
        return why_set(why, r, "cannot open the store by the key file: %s", strerror(-r));
    return 0;
}

static void load_tries(struct store *s)
{
    int r = master_read_tries(&s->folders, &s->wrong);

    if (r == -EBADMSG)
        log_warning("the count of wrong passwords is damaged: it begins at 0");
    if (r < 0 && s->presence != MASTER_NONE)
        r = master_make_tries(&s->folders);
    if (r < 0 && r != -ENOENT)
        log_warning_errno(r, "cannot count wrong passwords: none is looked at");
    s->wrong_again = s->wrong == KEYSTORE_TRIES && !s->settings.wipe; /* perhaps: it is not noted */
    store_set_delay(s);
}

static int finish_cut_off_reset(struct store *s, struct why *why)
{
    int r = master_is_resetting(&s->folders);
    bool done;

    if (r > 0) {
        log_notice("the store was being reset: that is finished now");
        r = master_reset(&s->folders, &done);
    }
    return r < 0 ? why_set(why, r, "cannot finish the reset that was cut off: %s", strerror(-r))
                 : 0;
}

int store_load(struct store *s, struct why *why)
{
    int r = folders_open(s->settings.dir_fd, &s->folders);

    if (r < 0)
        return why_set(why, r, "cannot open the state folder: %s", strerror(-r));
    r = finish_cut_off_reset(s, why);
    if (r < 0)
        return r;
    r = master_read(&s->folders, &s->presence, &s->master);
    if (r < 0)
        return why_set(why, r, "cannot read the master key: %s", strerror(-r));
    if (s->presence == MASTER_DAMAGED)
        log_error(
            "the file 'masterkey' is damaged, or not of this version: bring it back, or reset");
    load_tries(s);
    r = load_index(s, why);
    return r < 0 ? r : open_by_key_file(s, why);
}
