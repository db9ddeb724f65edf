/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs a fuzz target over files, without libFuzzer: a plain regression program. Of each file that is
 * small it also takes every prefix, and turns over a bit of every byte.
 *
 *   corpus-NAME FILE|FOLDER…
 */

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "fuzz/fuzz.h"

enum { FILE_SIZE_MAX = 1 << 20, MUTATED_SIZE_MAX = 2048 };

static unsigned long runs;

/* Out of a buffer that ends where the data ends, so that a read beyond is seen. */
static void run(const char *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static int run_file(const char *path)
{
    _cleanup_free_ char *data = NULL;
    size_t size;
    int r = fd_read_file(path, FILE_SIZE_MAX, &data, &size);

    if (r < 0) {
        (void)fprintf(stderr, "cannot read %s: %s\n", path, strerror(-r));
        return r;
    }
    run(data, size);
    for (size_t i = 0; i < size && size <= MUTATED_SIZE_MAX; i++) {
        char saved = data[i];

        run(data, i);
        data[i] = (char)(saved ^ (1 << (i % 8)));
        run(data, size);
        data[i] = saved;
    }
    return 0;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_folder(const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_visible, alphasort), r = n > 0 ? 0 : -1;

    if (n <= 0)
        (void)fprintf(stderr, "no files in %s\n", path);
    for (int i = 0; i < n; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (r == 0)
            r = run_file(file);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int main(int argc, char **argv)
{
    int r = argc > 1 ? 0 : -1;

    for (int i = 1; r == 0 && i < argc; i++) {
        struct stat st;

        r = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? run_folder(argv[i])
                                                           : run_file(argv[i]);
    }
    printf("%lu inputs\n", runs);
    return r == 0 ? 0 : 1;
}
