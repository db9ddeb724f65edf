/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/print.h"

#include "cli/json.h"

enum { COLUMNS_MAX = 12, GAP = 2 };

static const struct {
    const char *word;
    enum style style;
} word_styles[] = {
    { "up", STYLE_GOOD },       { "active", STYLE_GOOD },   { "ok", STYLE_GOOD },
    { "allowed", STYLE_GOOD },  { "on", STYLE_GOOD },       { "recovered", STYLE_GOOD },
    { "restored", STYLE_WARN }, { "fallback", STYLE_WARN }, { "down", STYLE_WARN },
    { "waiting", STYLE_WARN },  { "warning", STYLE_WARN },  { "empty", STYLE_WARN },
    { "off", STYLE_WARN },      { "blocked", STYLE_BAD },   { "absent", STYLE_BAD },
    { "error", STYLE_BAD },     { "degraded", STYLE_BAD },  { "rejected", STYLE_BAD },
    { "drop", STYLE_BAD },      { "shadowed", STYLE_DIM },
};

enum style style_of_word(const char *word)
{
    for (size_t i = 0; i < ELEMENTSOF(word_styles); i++)
        if (streq(word_styles[i].word, word))
            return word_styles[i].style;
    return STYLE_PLAIN;
}

static const char *const style_codes[STYLE_MAX] = {
    [STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",  [STYLE_GOOD] = "\033[32m",
    [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m",
};

/* The bytes of the control character at p: ASCII's, or those of U+0080 to U+009F; else 0. */
static int control_size(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    if (u[0] < ' ' || u[0] == 0x7f)
        return 1;
    return u[0] == 0xc2 && u[1] >= 0x80 && u[1] < 0xa0 ? 2 : 0;
}

void print_styled(struct strbuf *b, bool color, enum style style, const char *text)
{
    const char *code = color ? style_codes[style] : NULL;

    if (code)
        strbuf_add(b, "%s", code);
    for (const char *p = text; *p; p += control_size(p) > 1 ? 2 : 1)
        strbuf_add_char(b, control_size(p) ? '?' : *p);
    if (code)
        strbuf_add(b, "\033[0m");
}

/* How many places a text takes: its UTF-8 characters, all of which count as one wide. */
static size_t text_width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void cell_text(const struct column *column, const json_t *row, struct strbuf *b)
{
    strbuf_clear(b);
    if (column->text)
        column->text(row, b);
    else
        json_print_plain(json_object_get(row, column->key), ",", b);
}

static void measure(const struct table *t, const json_t *rows, size_t n_rows,
                    size_t widths[static COLUMNS_MAX])
{
    _cleanup_strbuf_ struct strbuf cell = STRBUF_INIT;

    for (size_t c = 0; c < t->n_columns; c++) {
        widths[c] = text_width(t->columns[c].title);
        for (size_t i = 0; i < n_rows; i++) {
            cell_text(&t->columns[c], json_array_get(rows, i), &cell);
            widths[c] = MAX(widths[c], text_width(strbuf_text(&cell)));
        }
    }
}

static void pad(struct strbuf *b, size_t n)
{
    while (n-- > 0)
        strbuf_add_char(b, ' ');
}

/* One line; `row` is NULL for the header. */
static void print_row(struct strbuf *b, bool color, const struct table *t, const json_t *row,
                      const size_t *widths)
{
    enum style row_style = !row ? STYLE_BOLD : t->row_style ? t->row_style(row) : STYLE_PLAIN;
    _cleanup_strbuf_ struct strbuf cell = STRBUF_INIT;
    size_t owed = 0; /* blanks that are written once something follows */

    for (size_t c = 0; c < t->n_columns; c++) {
        const struct column *column = &t->columns[c];
        enum style style = row_style;

        strbuf_clear(&cell);
        if (row)
            cell_text(column, row, &cell);
        else
            strbuf_add(&cell, "%s", column->title);
        if (row && style == STYLE_PLAIN && column->colored)
            style = style_of_word(strbuf_text(&cell));
        if (cell.size > 0) {
            pad(b, owed);
            print_styled(b, color, style, strbuf_text(&cell));
            owed = 0;
        }
        owed += widths[c] - text_width(strbuf_text(&cell)) + GAP;
    }
    strbuf_add_char(b, '\n');
}

void table_print(struct strbuf *b, bool color, const struct table *t, const json_t *rows,
                 size_t max)
{
    size_t n = MIN(json_array_size(rows), max);
    size_t widths[COLUMNS_MAX];

    assert(t->n_columns <= COLUMNS_MAX);
    measure(t, rows, n, widths);
    print_row(b, color, t, NULL, widths);
    for (size_t i = 0; i < n; i++)
        print_row(b, color, t, json_array_get(rows, i), widths);
}
