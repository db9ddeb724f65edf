/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The state file: the input is its lines behind the first two. What is read is written as one
 * commit and read again: the model must be the same.
 */

#include <errno.h>

#include "daemon/store-records.h"
#include "daemon/store.h"
#include "fuzz/fuzz.h"
#include "unit/scene.h"

#define HEADER "waymark-state 1\nboot x\n"

static struct model *parse(char *text, struct why *why)
{
    struct model *m = model_new();
    size_t size = strlen(text), committed = 0;
    int r;

    MUST(m);
    r = store_parse(text, "x", m, &committed, why);
    if (r == 0) {
        MUST(committed >= STRLEN(HEADER) && committed <= size);
        return m;
    }
    MUST(r == -EINVAL && why->error == r && startswith(why->text, "line "));
    MUST(why->text[strlen(why->text) - 1] != ' '); /* there is a reason behind the place */
    model_free(m);
    return NULL;
}

static void write_again(const struct model *m)
{
    _cleanup_strbuf_ struct strbuf lines = STRBUF_INIT, before = STRBUF_INIT, after = STRBUF_INIT;
    struct model *empty = model_new(), *back;
    struct why why = { 0 };

    MUST(empty);
    strbuf_add(&lines, HEADER);
    store_records_diff(empty, m, &lines);
    strbuf_add(&lines, "end\n");
    MUST(!lines.failed);
    back = parse(lines.data, &why);
    MUST(back);
    dump_model(m, &before);
    dump_model(back, &after);
    MUST(streq(strbuf_text(&before), strbuf_text(&after)));
    model_free(empty);
    model_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *lines = fuzz_text(data, size);
    struct why why = { 0 };
    struct model *m;

    strbuf_add(&text, "%s%s\nend\n", HEADER, lines);
    MUST(!text.failed);
    m = parse(text.data, &why);
    if (!m)
        return 0;
    write_again(m);
    model_free(m);
    return 0;
}
