/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cli/command.h"
#include "cli/commands.h"

/* What a selector may begin with, for the help and for completions; the daemon judges. */
static const struct {
    const char *kind, *value, *help;
} selector_kinds[] = {
    { "uid:", "N, uid:N-M", "a user id or a range of them" },
    { "user:", "NAME", "a user" },
    { "group:", "NAME", "the members of a group" },
    { "cgroup:", "/PATH", "a cgroup and all below it" },
    { "unit:", "NAME", "a systemd unit, with its suffix" },
    { "exe:", "/PATH", "an executable" },
};

/* Those of a noun, or all (NULL). */
static void print_commands(struct cli *c, const char *noun)
{
    for (const struct command *row = commands; row->noun; row++) {
        char name[64];

        if (noun && !streq(row->noun, noun))
            continue;
        snprintf(name, sizeof(name), "%s %s", row->noun, row->verb ? row->verb : "");
        cli_print(c, STYLE_PLAIN, "  %-18s %s\n", name, row->help);
    }
}

static void print_option(struct cli *c, const struct option_row *row)
{
    char name[64];

    snprintf(name, sizeof(name), "--%s%s%s", row->name, row->value ? " " : "",
             row->value ? row->value : "");
    cli_print(c, STYLE_PLAIN, "  %-24s %s\n", name, row->help);
}

static void print_options(struct cli *c, const char *title, size_t from, size_t to, uint64_t which)
{
    bool any = false;

    for (size_t o = from; o < to; o++) {
        if (!option_rows[o].help || !(which & UINT64_C(1) << o))
            continue;
        if (!any)
            cli_print(c, STYLE_BOLD, "\n%s\n", title);
        print_option(c, &option_rows[o]);
        any = true;
    }
}

static void print_selectors(struct cli *c)
{
    cli_print(c, STYLE_BOLD, "\nSelectors:\n");
    for (size_t i = 0; i < ELEMENTSOF(selector_kinds); i++) {
        char form[64];

        snprintf(form, sizeof(form), "%s%s", selector_kinds[i].kind, selector_kinds[i].value);
        cli_print(c, STYLE_PLAIN, "  %-24s %s\n", form, selector_kinds[i].help);
    }
}

static void help_of_all(struct cli *c, const char *noun)
{
    if (noun)
        cli_print(c, STYLE_PLAIN, "Usage: waymark [OPTION]… %s COMMAND …\n", noun);
    else
        cli_print(c, STYLE_PLAIN,
                  "Usage: waymark [OPTION]… [COMMAND …]\n"
                  "Several networks at once, each app on the one that was chosen for it.\n");
    cli_print(c, STYLE_BOLD, "\nCommands:\n");
    print_commands(c, noun);
    print_options(c, "Options:", 0, OPTIONS_GLOBAL, UINT64_MAX);
    cli_print(c, STYLE_PLAIN,
              "\nCommands and networks may be shortened as long as it is clear what is meant.\n"
              "`waymark help COMMAND` says more; see waymark(1).\n");
}

static void help_of_one(struct cli *c, const struct command *row)
{
    _cleanup_strbuf_ struct strbuf usage = STRBUF_INIT;

    command_print_usage(row, &usage);
    cli_print(c, STYLE_PLAIN, "Usage: waymark %s\n%c%s.\n", strbuf_text(&usage),
              toupper((unsigned char)row->help[0]), row->help + 1);
    if ((row->args && strstr(row->args, "SELECTOR")) || (row->options & OPTION_BIT(APPS)))
        print_selectors(c);
    print_options(c, "Options:", OPTIONS_GLOBAL, OPTION_MAX, row->options);
    print_options(c, "Options of every command:", 0, OPTIONS_GLOBAL, UINT64_MAX);
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static void print_command_words(const struct command *row, struct strbuf *b)
{
    strbuf_add(b, "command\t%s%s%s\t%s\t", row->noun, row->verb ? " " : "", or_empty(row->verb),
               or_empty(row->args));
    for (size_t o = OPTIONS_GLOBAL; o < OPTION_MAX; o++)
        if ((row->options & UINT64_C(1) << o) && option_rows[o].help)
            strbuf_add(b, " --%s", option_rows[o].name);
    strbuf_add_char(b, '\n');
}

/* All of the tables, for the tests of what is written by hand: tabs between the fields. */
static void print_words(struct strbuf *b)
{
    for (const struct command *row = commands; row->noun; row++)
        print_command_words(row, b);
    for (size_t o = 0; o < OPTION_MAX; o++)
        if (option_rows[o].help)
            strbuf_add(b, "option\t--%s\t%s\t%s\t%s\n", option_rows[o].name,
                       or_empty(option_rows[o].value), or_empty(option_rows[o].choices),
                       o < OPTIONS_GLOBAL ? "global" : "");
    for (size_t i = 0; i < ELEMENTSOF(selector_kinds); i++)
        strbuf_add(b, "selector\t%s\n", selector_kinds[i].kind);
}

/* The words that are left: none, a noun, or a noun and its verb. */
static int help_of_words(struct cli *c)
{
    const struct command *row;
    size_t used;

    if (c->args.n_words == 0) {
        help_of_all(c, NULL);
        return 0;
    }
    row = command_find_noun(c->args.words[0], &c->why);
    if (row && row->verb && c->args.n_words == 1) {
        help_of_all(c, row->noun);
        return 0;
    }
    if (row)
        row = command_find(c->args.words, c->args.n_words, &used, &c->why);
    if (!row) {
        c->code = EXIT_USAGE;
        return -EINVAL;
    }
    help_of_one(c, row);
    return 0;
}

int run_help(struct cli *c)
{
    cli_no_document(c);
    if (c->command && arguments_have(&c->args, OPTION_WORDS)) {
        print_words(&c->out);
        return 0;
    }
    return help_of_words(c);
}
