/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark(1). cli.h says how a command works, commands.c which there are. */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/parse.h"
#include "cli/command.h"
#include "cli/commands.h"

enum { TIMEOUT_MAX_SEC = 86400 };

static const struct {
    int error;
    enum exit_code code;
} error_codes[] = {
    { ETIMEDOUT, EXIT_TIMEOUT }, { ECONNREFUSED, EXIT_NO_DAEMON }, { ECONNRESET, EXIT_NO_DAEMON },
    { ENONET, EXIT_NO_OBJECT },  { ENOENT, EXIT_NO_OBJECT },       { ESRCH, EXIT_NO_OBJECT },
    { ENODEV, EXIT_NO_OBJECT },
};

static enum exit_code code_of_error(int error)
{
    for (size_t i = 0; i < ELEMENTSOF(error_codes); i++)
        if (error_codes[i].error == -error)
            return error_codes[i].code;
    return EXIT_FAILED;
}

/* Before anything is understood: how to say that it was not. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && !streq(argv[i], "--"); i++)
        if (streq(argv[i], "--json"))
            return true;
    return false;
}

static json_t *new_document(void)
{
    json_t *doc = json_object();

    if (doc && json_put(doc, "waymark", json_integer(JSON_SCHEMA)) == 0)
        return doc;
    json_decref(doc);
    return NULL;
}

static int print_document(json_t *doc)
{
    _cleanup_free_ char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

    return text && puts(text) >= 0 ? 0 : -ENOMEM;
}

/* Says what went wrong: in a sentence, and with --json as a document besides. */
static enum exit_code report(struct cli *c, int error)
{
    const char *name = strerrorname_np(-error), *text = why_text(&c->why, error);
    _cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
    json_auto_t *doc = c->json ? new_document() : NULL;

    print_styled(&line, false, STYLE_PLAIN, text);
    fprintf(stderr, "waymark: %s\n", strbuf_text(&line));
    if (doc &&
        json_put(doc, "error",
                 json_pack("{s:s, s:s}", "errno", name ? name : "EIO", "message", text)) == 0)
        (void)print_document(doc);
    return c->code ? c->code : code_of_error(error);
}

/* The options that are for every command. */

static int use_timeout(struct cli *c)
{
    const char *value = arguments_value(&c->args, OPTION_TIMEOUT);
    uint32_t seconds;

    if (!value)
        return 0;
    if (parse_u32(value, TIMEOUT_MAX_SEC, &seconds) < 0 || seconds == 0)
        return cli_usage(c, "'%.40s' is no timeout: use whole seconds, 1 to %d", value,
                         TIMEOUT_MAX_SEC);
    c->timeout = seconds * USEC_PER_SEC;
    return 0;
}

static int use_color(struct cli *c)
{
    enum { AUTO, ALWAYS, NEVER };
    static const char *const words[] = { [AUTO] = "auto", [ALWAYS] = "always", [NEVER] = "never" };
    const char *value = arguments_value(&c->args, OPTION_COLOR);
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    int when = value ? parse_word(words, ELEMENTSOF(words), value) : AUTO;

    if (when < 0)
        return cli_usage(c, "'%.40s' is no answer to --color: use auto, always or never", value);
    c->color = when == ALWAYS || (when == AUTO && !(no_color && *no_color) &&
                                  isatty(STDOUT_FILENO) && !(term && streq(term, "dumb")));
    return 0;
}

static void use_runtime_dir(struct cli *c)
{
    const char *value = arguments_value(&c->args, OPTION_RUNTIME_DIR);

    if (!value)
        value = getenv("WAYMARK_RUNTIME_DIR");
    c->runtime_dir = value && *value ? value : "/run/waymark";
}

/* D-Bus and JSON carry nothing else: a word that is no text could not even be complained of. */
static int check_text(struct cli *c, int n, char **argv)
{
    for (int i = 1; i < n; i++) {
        json_auto_t *text = json_string(argv[i]);

        if (!text)
            return cli_usage(c, "argument %d is no UTF-8 text", i);
    }
    return 0;
}

static int set_up(struct cli *c, int argc, char **argv)
{
    int r = arguments_parse(argc, argv, command_ends_options, &c->args, &c->why);
    int text = check_text(c, r < 0 ? argc : c->args.n_read, argv);

    if (text < 0)
        return text;
    if (r < 0) {
        c->code = r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
        return r;
    }
    c->json = arguments_have(&c->args, OPTION_JSON);
    use_runtime_dir(c);
    r = use_timeout(c);
    if (r == 0)
        r = use_color(c);
    if (r == 0 && !(c->doc = new_document()))
        r = -ENOMEM;
    return r;
}

/* Running. */

static int find_command(struct cli *c)
{
    size_t used = 0;

    c->command = command_find(c->args.words, c->args.n_words, &used, &c->why);
    if (!c->command) {
        c->code = EXIT_USAGE;
        return -EINVAL;
    }
    memmove(c->args.words, c->args.words + used, (c->args.n_words - used) * sizeof(char *));
    c->args.n_words -= used;
    c->args.words[c->args.n_words] = NULL;
    return command_check(c);
}

static int run_command(struct cli *c)
{
    int r = find_command(c);

    if (r == 0 && c->command->network > 0)
        r = command_resolve_network(c, c->command->network - 1);
    if (r == 0 && c->command->vpn > 0)
        r = command_resolve_vpn(c, c->command->vpn - 1);
    if (r == 0)
        r = c->command->run(c);
    if (r == 0 && c->doc && !c->json && c->command->print)
        c->command->print(c);
    return r;
}

static int print_version(struct cli *c)
{
    cli_print(c, STYLE_PLAIN, "waymark %s\n", WAYMARK_VERSION);
    return json_put(c->doc, "version", json_string(WAYMARK_VERSION));
}

static int run(struct cli *c)
{
    if (arguments_have(&c->args, OPTION_HELP))
        return run_help(c);
    if (arguments_have(&c->args, OPTION_VERSION))
        return print_version(c);
    return run_command(c);
}

/* Writes what there is to see. A full disk is a failure like any other. */
static int finish(struct cli *c)
{
    int r = c->out.failed ? -ENOMEM : 0;

    if (c->json && c->doc)
        r = print_document(c->doc);
    else if (r == 0 && fputs(strbuf_text(&c->out), stdout) < 0)
        r = -errno;
    if (r == 0 && fflush(stdout) != 0)
        r = -errno;
    return r < 0 ? why_set(&c->why, r, "cannot write the output: %s", strerror(-r)) : 0;
}

static void cli_done(struct cli *c)
{
    client_free(c->client);
    arguments_done(&c->args);
    json_decref(c->networks);
    json_decref(c->vpns);
    json_decref(c->doc);
    strbuf_done(&c->out);
    free(c->resolved);
}

int main(int argc, char **argv)
{
    struct cli c = { .json = asks_for_json(argc, argv) };
    enum exit_code code;
    int r;

    r = set_up(&c, argc, argv);
    if (r == 0)
        r = run(&c);
    if (r == 0)
        r = finish(&c);
    code = r < 0 ? report(&c, r) : c.code;
    cli_done(&c);
    return (int)code;
}
