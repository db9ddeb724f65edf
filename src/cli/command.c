/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/command.h"

#include <errno.h>

#include "basic/parse.h"
#include "cli/words.h"

enum { ROWS_MAX = 64 };

/* The rows of one noun, or of all (NULL), and the names by which to find one of them. */
struct choice {
    const struct command *rows[ROWS_MAX];
    const char *names[ROWS_MAX];
    size_t n;
};

static void choose_from(struct choice *choice, const char *noun)
{
    choice->n = 0;
    for (const struct command *row = commands; row->noun; row++) {
        if (noun && !streq(row->noun, noun))
            continue;
        assert(choice->n < ROWS_MAX);
        choice->names[choice->n] = noun ? row->verb : row->noun;
        choice->rows[choice->n++] = row;
    }
}

/* "list, show, add": every name once. */
static void print_names(const struct choice *choice, struct strbuf *b)
{
    for (size_t i = 0; i < choice->n; i++)
        strbuf_add(b, "%s%s", i > 0 ? ", " : "", choice->names[i]);
}

static int ambiguous(const char *word, const struct strbuf *candidates, struct why *why)
{
    return why_set(why, -EINVAL, "'%.60s' could be one of %s: write more of it", word,
                   strbuf_text(candidates));
}

const struct command *command_find_noun(const char *word, struct why *why)
{
    _cleanup_strbuf_ struct strbuf candidates = STRBUF_INIT;
    struct choice all;
    ssize_t i;

    choose_from(&all, NULL);
    i = words_resolve(word, all.names, all.n, &candidates);
    if (i >= 0)
        return all.rows[i];
    if (i == -ENOTUNIQ)
        (void)ambiguous(word, &candidates, why);
    else
        (void)why_set(why, -EINVAL, "there is no command '%.60s': see `waymark --help`", word);
    return NULL;
}

static const struct command *find_verb(const struct choice *verbs, const char *word,
                                       struct why *why)
{
    _cleanup_strbuf_ struct strbuf candidates = STRBUF_INIT;
    const char *noun = verbs->rows[0]->noun; /* there is a row, or there were no such noun */
    ssize_t i = word ? words_resolve(word, verbs->names, verbs->n, &candidates) : -ENOENT;

    if (i >= 0)
        return verbs->rows[i];
    if (i == -ENOTUNIQ) {
        (void)ambiguous(word, &candidates, why);
        return NULL;
    }
    print_names(verbs, &candidates);
    if (word)
        (void)why_set(why, -EINVAL, "`waymark %s` has no command '%.60s': use one of %s", noun,
                      word, strbuf_text(&candidates));
    else
        (void)why_set(why, -EINVAL, "`waymark %s` what? Use one of %s", noun,
                      strbuf_text(&candidates));
    return NULL;
}

const struct command *command_find(const char *const *words, size_t n, size_t *ret_used,
                                   struct why *why)
{
    const struct command *row = n > 0 ? command_find_noun(words[0], why) : commands;
    struct choice verbs;

    if (!row)
        return NULL;
    *ret_used = MIN(n, 1U);
    if (!row->verb || (n < 2 && row->implied))
        return row;
    choose_from(&verbs, row->noun);
    *ret_used = 2;
    return find_verb(&verbs, n > 1 ? words[1] : NULL, why);
}

bool command_ends_options(const char *const *words, size_t n)
{
    const struct command *row = n > 1 ? command_find_noun(words[0], NULL) : NULL;

    return row && row->program > 0 && n == row->program + 1;
}

static void print_usage_option(const struct option_row *row, struct strbuf *b)
{
    strbuf_add(b, " [--%s%s%s]%s", row->name, row->value ? " " : "", row->value ? row->value : "",
               row->given == GIVEN_MANY ? "…" : "");
}

static void print_usage_options(const struct command *command, struct strbuf *b)
{
    for (size_t o = OPTIONS_GLOBAL; o < OPTION_MAX; o++)
        if ((command->options & UINT64_C(1) << o) && option_rows[o].help)
            print_usage_option(&option_rows[o], b);
}

void command_print_usage(const struct command *command, struct strbuf *b)
{
    strbuf_add(b, "%s", command->noun);
    if (command->verb)
        strbuf_add(b, " %s", command->verb);
    if (command->program > 0)
        print_usage_options(command, b);
    if (command->args)
        strbuf_add(b, " %s", command->args);
    if (command->program == 0)
        print_usage_options(command, b);
}

int command_check(struct cli *c)
{
    const struct command *row = c->command;
    _cleanup_strbuf_ struct strbuf usage = STRBUF_INIT;

    command_print_usage(row, &usage);
    for (size_t i = 0; i < c->args.n_options; i++) {
        enum option_id id = c->args.options[i].id;

        if (id >= OPTIONS_GLOBAL && !(row->options & UINT64_C(1) << id))
            return cli_usage(c, "option --%s is not for this command: usage: waymark %s",
                             option_rows[id].name, strbuf_text(&usage));
    }
    if (c->args.n_words < row->min)
        return cli_usage(c, "something is missing: usage: waymark %s", strbuf_text(&usage));
    if (c->args.n_words > row->max)
        return cli_usage(c, "'%.60s' is too much: usage: waymark %s", c->args.words[row->max],
                         strbuf_text(&usage));
    return 0;
}

/* The names of networks or VPNs; they live as long as those do. */
static int names_of(const json_t *list, const char ***ret, size_t *ret_n)
{
    size_t n = json_array_size(list);
    const char **names = calloc(n + 1, sizeof(*names));

    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        names[i] = json_text(json_array_get(list, i), "name");
    *ret = names;
    *ret_n = n;
    return 0;
}

/* By netId; names come first, for one may consist of digits. */
static ssize_t find_netid(const json_t *list, const char *word)
{
    uint32_t netid;

    if (parse_u32(word, UINT32_MAX, &netid) < 0)
        return -ENOENT;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_number(json_array_get(list, i), "netid") == netid)
            return (ssize_t)i;
    return -ENOENT;
}

/* What the list's things are is said by `what`. */
static int resolve(struct cli *c, const json_t *list, const char *what, size_t at)
{
    _cleanup_strbuf_ struct strbuf candidates = STRBUF_INIT;
    _cleanup_free_ const char **names = NULL;
    const char *word = cli_word(c, at);
    size_t n = 0;
    ssize_t i;
    int r = names_of(list, &names, &n);

    if (r < 0)
        return r;
    i = words_resolve(word, names, n, &candidates);
    if (i == -ENOENT)
        i = find_netid(list, word);
    if (i == -ENOTUNIQ)
        return cli_usage(c, "%s '%.60s' could be one of %s: write more of it", what, word,
                         strbuf_text(&candidates));
    if (i < 0)
        return 0;
    c->resolved = strdup(names[i]);
    if (!c->resolved)
        return -ENOMEM;
    c->args.words[at] = c->resolved;
    return 0;
}

int command_resolve_network(struct cli *c, size_t at)
{
    const char *word = cli_word(c, at);
    int r;

    if (!word || streq(word, "none") || streq(word, "system"))
        return 0;
    r = cli_get_networks(c);
    return r < 0 ? r : resolve(c, c->networks, "network", at);
}

int command_resolve_vpn(struct cli *c, size_t at)
{
    int r = cli_get_vpns(c);

    return r < 0 ? r : resolve(c, c->vpns, "VPN", at);
}
