/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/facts.h"

#include <dirent.h>
#include <mntent.h>
#include <stdio.h>

#include "basic/fd.h"
#include "basic/parse.h"
#include "wire/conf.h"

enum { PATH_SIZE = 256 };

int facts_sysctl(const char *path)
{
    _cleanup_free_ char *text = NULL;
    char full[PATH_SIZE];
    uint32_t value;

    if ((size_t)snprintf(full, sizeof(full), "/proc/sys/%s", path) >= sizeof(full) ||
        fd_read_file(full, 64, &text, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return parse_u32(text, INT32_MAX, &value) < 0 ? -1 : (int)value;
}

int facts_rp_filter(const char *interface)
{
    char path[PATH_SIZE];
    int all = facts_sysctl("net/ipv4/conf/all/rp_filter"), own;

    snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", interface);
    own = facts_sysctl(path);
    return MAX(all, own);
}

bool facts_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool facts_cgroup2(char *buf, size_t size)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    char strings[4096];
    struct mntent entry;
    bool found = false;

    while (f && !found && getmntent_r(f, &entry, strings, sizeof(strings)))
        found = streq(entry.mnt_type, "cgroup2") && str_set(buf, size, entry.mnt_dir);
    if (f)
        (void)endmntent(f);
    return found;
}

bool facts_has_capability(unsigned capability)
{
    _cleanup_free_ char *text = NULL;
    const char *line;

    if (fd_read_file("/proc/self/status", 1 << 16, &text, NULL) < 0)
        return false;
    line = strstr(text, "\nCapEff:");
    return line && (strtoull(line + strlen("\nCapEff:"), NULL, 16) >> capability & 1);
}

struct networkd_context {
    struct facts_networkd *facts;
    const char *file;
};

static int take_networkd_line(void *data, const struct conf_line *line, struct why *why)
{
    static const char *const no[] = { "no", "false", "off", "0", "n", "f" };
    struct networkd_context *c = data;

    (void)why;
    if (!line->key || !streq(line->section, "Network") ||
        !streq(line->key, "ManageForeignRoutingPolicyRules"))
        return 0;
    c->facts->deletes_rules = parse_word(no, ELEMENTSOF(no), line->value) < 0;
    (void)str_set(c->facts->file, sizeof(c->facts->file), c->file);
    return 0;
}

static void read_networkd_file(struct facts_networkd *facts, const char *path)
{
    struct networkd_context c = { .facts = facts, .file = path };
    _cleanup_free_ char *text = NULL;
    unsigned line;
    size_t size;

    if (fd_read_file(path, 1 << 20, &text, &size) == 0)
        (void)conf_parse(text, size, take_networkd_line, &c, &line, NULL);
}

static void read_networkd_folder(struct facts_networkd *facts, const char *folder)
{
    struct dirent **entries = NULL;
    char path[PATH_SIZE];
    int n = scandir(folder, &entries, fd_is_drop_in, alphasort);

    for (int i = 0; i < n; i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) <
            sizeof(path))
            read_networkd_file(facts, path);
        free(entries[i]);
    }
    free(entries);
}

void facts_networkd(struct facts_networkd *ret)
{
    *ret = (struct facts_networkd){ .deletes_rules = true };
    ret->running = facts_exists("/run/systemd/netif/state");
    /* the main file first, drop-ins win; of the places, the later ones */
    read_networkd_file(ret, "/usr/lib/systemd/networkd.conf");
    read_networkd_file(ret, "/etc/systemd/networkd.conf");
    read_networkd_folder(ret, "/usr/lib/systemd/networkd.conf.d");
    read_networkd_folder(ret, "/run/systemd/networkd.conf.d");
    read_networkd_folder(ret, "/etc/systemd/networkd.conf.d");
}

bool facts_nm_adopted(int ifindex)
{
    _cleanup_free_ char *text = NULL;
    char path[PATH_SIZE];

    /* NetworkManager's device state file: a key file with managed= and nm-owned= */
    snprintf(path, sizeof(path), "/run/NetworkManager/devices/%d", ifindex);
    return fd_read_file(path, 65536, &text, NULL) == 0 && strstr(text, "\nmanaged=true") &&
           !strstr(text, "\nnm-owned=1") && !strstr(text, "\nnm-owned=true");
}
