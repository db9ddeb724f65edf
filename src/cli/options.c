/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/words.h"

const struct option_row option_rows[OPTION_MAX] = {
    [OPTION_JSON] = { "json", NULL, NULL, "one JSON document instead of text", GIVEN_ONCE },
    [OPTION_RUNTIME_DIR] = { "runtime-dir", "DIR", NULL,
                             "where the daemon's socket is (default $WAYMARK_RUNTIME_DIR or "
                             "/run/waymark)",
                             GIVEN_ONCE },
    [OPTION_TIMEOUT] = { "timeout", "SECONDS", NULL,
                         "how long to wait for the daemon (default 30; panic-off: 2)", GIVEN_ONCE },
    [OPTION_COLOR] = { "color", "WHEN", "auto|always|never",
                       "auto (on a terminal, unless NO_COLOR is set), always or never",
                       GIVEN_ONCE },
    [OPTION_HELP] = { "help", NULL, NULL, "what a command does and takes", GIVEN_ONCE },
    [OPTION_VERSION] = { "version", NULL, NULL, "the version of this program", GIVEN_ONCE },
    [OPTION_NETID] = { "netid", "N", NULL,
                       "the network's number, 100 to 65535 (default: chosen from the name)",
                       GIVEN_ONCE },
    [OPTION_TYPE] = { "type", "TYPE", "physical|vpn|local|unreachable",
                      "physical, vpn, local or unreachable (default: by its first interface)",
                      GIVEN_ONCE },
    [OPTION_INTERFACE] = { "interface", "IF", NULL, "an interface of the network", GIVEN_MANY },
    [OPTION_DNS] = { "dns", "ADDRESS", NULL,
                     "a DNS server; with `set`, replaces the list, and \"\" empties it",
                     GIVEN_MANY },
    [OPTION_DOMAIN] = { "domain", "DOMAIN", NULL, "a search domain; with `set`, as --dns",
                        GIVEN_MANY },
    [OPTION_PERMISSION] = { "permission", "PERMISSION", "none|network|system",
                            "what an app must hold to choose it: none, network or system",
                            GIVEN_ONCE },
    [OPTION_PREFER] = { "prefer", NULL, NULL,
                        "while it is there, else the default network (default: require, that is "
                        "blocked without it)",
                        GIVEN_ONCE },
    [OPTION_UID] = { "uid", "UID", NULL, "who sends, by user id (default: yourself)", GIVEN_ONCE },
    [OPTION_USER] = { "user", "NAME", NULL, "who sends, by user name", GIVEN_ONCE },
    [OPTION_PID] = { "pid", "PID", NULL,
                     "who sends: a process, with its user, cgroup and executable", GIVEN_ONCE },
    [OPTION_EXE] = { "exe", "PATH", NULL, "the executable of who sends", GIVEN_ONCE },
    [OPTION_UNIT] = { "unit", "NAME", NULL, "the systemd unit of who sends", GIVEN_ONCE },
    [OPTION_CGROUP] = { "cgroup", "PATH", NULL, "the cgroup of who sends", GIVEN_ONCE },
    [OPTION_MARK] = { "mark", "MARK", NULL, "the socket's mark, decimal or 0x… (default 0)",
                      GIVEN_ONCE },
    [OPTION_DEV] = { "dev", "IF", NULL, "the interface that the socket is bound to", GIVEN_ONCE },
    [OPTION_FROM] = { "from", "ADDRESS", NULL, "the address that the socket is bound to",
                      GIVEN_ONCE },
    [OPTION_SCOPE] = { "scope", "WHOSE", "auto|systemd|daemon",
                       "who makes the cgroup: systemd, the daemon, or auto: systemd where it can",
                       GIVEN_ONCE },
    [OPTION_LOCKDOWN] = { "lockdown", "[yes|no]", "yes|no",
                          "its apps may use nothing else, also while it is down", GIVEN_BARE },
    [OPTION_FALL_THROUGH] = { "fall-through", "[yes|no]", "yes|no",
                              "where it has no route, its apps go by the default network",
                              GIVEN_BARE },
    [OPTION_FORWARD] = { "forward", "[yes|no]", "yes|no",
                         "what comes out of its tunnel may go on to other networks", GIVEN_BARE },
    [OPTION_OUTSIDE] = { "outside", "PREFIX", NULL,
                         "a VPN's apps reach it by the default network, in any case; with `set`, "
                         "as --dns",
                         GIVEN_MANY },
    [OPTION_BYPASS] = { "bypass", "[yes|no]", "yes|no",
                        "its apps may choose another network, and have one while it is down",
                        GIVEN_BARE },
    [OPTION_ALWAYS_ON] = { "always-on", "[yes|no]", "yes|no",
                           "it is to be up always; while it is not, its apps are blocked",
                           GIVEN_BARE },
    [OPTION_EVERYONE] = { "everyone", "[yes|no]", "yes|no",
                          "for all users' apps, but for root's; without it for its owner's alone",
                          GIVEN_BARE },
    [OPTION_APPS] = { "apps", "SELECTORS", NULL,
                      "the apps that it is for, with commas (default: all of its owner's)",
                      GIVEN_MANY },
    [OPTION_EXCEPT] = { "except", "SELECTORS", NULL,
                        "the apps that it is not for, in place of --apps", GIVEN_MANY },
    [OPTION_EXEMPT] = { "exempt", "SELECTORS", NULL,
                        "the apps that may do without it also under lockdown", GIVEN_MANY },
    [OPTION_LAN] = { "lan", "PREFIXES", NULL,
                     "what its apps may reach without it: none, link-local, or prefixes with "
                     "commas",
                     GIVEN_MANY },
    [OPTION_OWNER] = { "owner", "USER|EXE", NULL, "whose program may establish it", GIVEN_ONCE },
    [OPTION_ENGINE] = { "engine", "COMMAND", NULL,
                        "what is started for it: a systemd unit, or a command line", GIVEN_ONCE },
    [OPTION_ADDRESS] = { "address", "ADDRESS/N", NULL, "an address of its interface", GIVEN_MANY },
    [OPTION_ROUTE] = { "route", "PREFIX", NULL, "a destination that goes by it", GIVEN_MANY },
    [OPTION_EXCLUDE] = { "exclude", "PREFIX", NULL, "a destination that does not", GIVEN_MANY },
    [OPTION_NAME] = { "name", "NAME", NULL, "its name (default: that of the interface)",
                      GIVEN_ONCE },
    [OPTION_FORCE] = { "force", NULL, NULL, "do it all the same: replace what is there, do not ask",
                       GIVEN_ONCE },
    [OPTION_CONFIG] = { "config", "DIR", NULL,
                        "the daemon's folder of configuration (default /etc/waymark)", GIVEN_ONCE },
    [OPTION_WAIT] = { "wait", "SECONDS", NULL,
                      "how long to wait until it is up (default 30; 0: not at all)", GIVEN_ONCE },
    [OPTION_REVOKE] = { "revoke", NULL, NULL, "take the consent back", GIVEN_ONCE },
    [OPTION_AS] = { "as", "USER|UID", NULL,
                    "for root: act as this user (default: the user waymark, but for `get`)",
                    GIVEN_ONCE },
    [OPTION_MAP] = { "map", "OLD=NEW|none", NULL,
                     "a uid of the old store, and whose its keys become (default: 1000=waymark)",
                     GIVEN_MANY },
    [OPTION_PARTIAL] = { "partial", NULL, NULL,
                         "import the rest when some cannot be (default: all or nothing)",
                         GIVEN_ONCE },
    [OPTION_WORDS] = { "words", NULL, NULL, NULL, GIVEN_ONCE },
};

static ssize_t find_option(const char *word, struct why *why)
{
    _cleanup_strbuf_ struct strbuf candidates = STRBUF_INIT;
    const char *names[OPTION_MAX];
    ssize_t i;

    for (size_t o = 0; o < OPTION_MAX; o++)
        names[o] = option_rows[o].name;
    i = words_resolve(word, names, OPTION_MAX, &candidates);
    if (i == -ENOTUNIQ)
        return why_set(why, -EINVAL, "option --%.60s could be one of %s: write more of it", word,
                       strbuf_text(&candidates));
    if (i < 0)
        return why_set(why, -EINVAL, "there is no option --%.60s: see `waymark --help`", word);
    return i;
}

/* One that may stand alone: the next word is its value only when it can be nothing else. */
static int take_bare(enum option_id id, char **argv, int left, struct arguments *a)
{
    bool valued = left > 1 && (streq(argv[1], "yes") || streq(argv[1], "no"));

    a->options[a->n_options++] = (struct option_given){ id, valued ? argv[1] : "yes" };
    return valued ? 2 : 1;
}

/* An option at argv[0], its value in the same word or in the next: how many words it took. */
static int take_long(char **argv, int left, struct arguments *a, struct why *why)
{
    char word[64];
    const char *value = strchr(argv[0], '=');
    size_t n = value ? (size_t)(value - argv[0]) : strlen(argv[0]);
    const struct option_row *row;
    ssize_t id;

    if (n >= sizeof(word))
        return why_set(why, -EINVAL, "there is no option %.60s…: see `waymark --help`", argv[0]);
    memcpy(word, argv[0], n);
    word[n] = '\0';
    id = find_option(word + STRLEN("--"), why);
    if (id < 0)
        return (int)id;

    row = &option_rows[id];
    if (!row->value && value)
        return why_set(why, -EINVAL, "option --%s takes no value", row->name);
    if (row->value && row->given != GIVEN_BARE && !value && left < 2)
        return why_set(why, -EINVAL, "option --%s needs a value: --%s %s", row->name, row->name,
                       row->value);
    if (row->given != GIVEN_MANY && arguments_have(a, (enum option_id)id) && row->value)
        return why_set(why, -EINVAL, "option --%s is given twice", row->name);
    if (row->given == GIVEN_BARE && !value)
        return take_bare((enum option_id)id, argv, left, a);
    a->options[a->n_options++] = (struct option_given){
        .id = (enum option_id)id,
        .value = value        ? value + 1
                 : row->value ? argv[1]
                              : "",
    };
    return row->value && !value ? 2 : 1;
}

static int take_option(char **argv, int left, struct arguments *a, struct why *why)
{
    if (startswith(argv[0], "--"))
        return take_long(argv, left, a, why);
    if (!streq(argv[0], "-h"))
        return why_set(why, -EINVAL, "there is no option %.60s: see `waymark --help`", argv[0]);
    a->options[a->n_options++] = (struct option_given){ OPTION_HELP, "" };
    return 1;
}

int arguments_parse(int argc, char **argv, arguments_end end, struct arguments *ret,
                    struct why *why)
{
    struct arguments a = {
        .options = calloc((size_t)argc + 1, sizeof(*a.options)),
        .words = calloc((size_t)argc + 1, sizeof(*a.words)),
        .n_read = argc,
    };
    bool only_words = false;
    int r = a.options && a.words ? 1 : -ENOMEM;

    for (int i = 1; i < argc && r >= 0; i += r) {
        r = 1;
        if (!only_words && streq(argv[i], "--"))
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0')
            r = take_option(argv + i, argc - i, &a, why);
        else
            a.words[a.n_words++] = argv[i];
        if (a.n_read == argc && end(a.words, a.n_words)) {
            only_words = true;
            a.n_read = i;
        }
    }
    if (r < 0) {
        arguments_done(&a);
        return r;
    }
    *ret = a;
    return 0;
}

void arguments_done(struct arguments *a)
{
    free(a->options);
    free(a->words);
    *a = (struct arguments){ 0 };
}

const char *arguments_value(const struct arguments *a, enum option_id id)
{
    for (size_t i = a->n_options; i-- > 0;)
        if (a->options[i].id == id)
            return a->options[i].value;
    return NULL;
}
