/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Output for people: colours and aligned columns. Everything goes to standard output. */

#include <jansson.h>
#include <stdbool.h>

#include "basic/strbuf.h"

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_MAX };

/* The colour of a word that says how something is: "up", "blocked", "warning", …; else plain. */
enum style style_of_word(const char *word);

/*
 * Appends `text` in a style. Control characters become '?': names of interfaces may hold any, and
 * they are not to reach the terminal.
 */
void print_styled(struct strbuf *b, bool color, enum style style, const char *text);

struct column {
    const char *title;
    const char *key; /* of the row's object; its value is shown as json_print_plain() does, or … */
    void (*text)(const json_t *row, struct strbuf *b); /* … as this says */
    bool colored;                                      /* by style_of_word() of what it shows */
};

struct table {
    const struct column *columns;
    size_t n_columns;
    enum style (*row_style)(const json_t *row); /* may be NULL */
};

#define TABLE_OF(columns_)                                       \
    {                                                            \
        .columns = (columns_), .n_columns = ELEMENTSOF(columns_) \
    }

/*
 * Appends a header and the first `max` rows. Columns are as wide as their widest cell, two blanks
 * apart; nothing is cut or wrapped, and no line ends with blanks.
 */
void table_print(struct strbuf *b, bool color, const struct table *table, const json_t *rows,
                 size_t max);
