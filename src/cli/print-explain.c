/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An explanation, for people: the verdict first, then what led to it, in order. */

#include <stdint.h>

#include "cli/commands.h"

#define MATCHES "matches"
#define REFUSED "refused"
#define ROUTED  "route"
#define DROP    "drop"

/* The verdict. */

/* Who: what was asked about, and what is known of it besides. */
static void print_app(struct cli *c, const json_t *e)
{
    const char *cgroup = json_text(e, "cgroup"), *exe = json_text(e, "exe");

    if (arguments_have(&c->args, OPTION_USER))
        cli_print(c, STYLE_BOLD, "%s, ", arguments_value(&c->args, OPTION_USER));
    if (json_number(e, "pid"))
        cli_print(c, STYLE_BOLD, "process %lld, ", (long long)json_number(e, "pid"));
    cli_print(c, STYLE_BOLD, "uid %lld", (long long)json_number(e, "uid"));
    if (*cgroup)
        cli_print(c, STYLE_BOLD, ", cgroup %s", cgroup);
    if (*exe)
        cli_print(c, STYLE_BOLD, ", %s", exe);
}

static void print_question(struct cli *c, const json_t *e)
{
    const char *device = json_text(e, "device"), *from = json_text(e, "from");

    print_app(c, e);
    if (json_number(e, "mark"))
        cli_print(c, STYLE_BOLD, " with mark 0x%llx", (long long)json_number(e, "mark"));
    if (*device)
        cli_print(c, STYLE_BOLD, " bound to %s", device);
    if (*from)
        cli_print(c, STYLE_BOLD, " from %s", from);
    cli_print(c, STYLE_BOLD, " → %s: ", json_text(e, "destination"));
}

static const json_t *find_step(const json_t *e, const char *outcome)
{
    const json_t *steps = json_object_get(e, "steps");

    for (size_t i = json_array_size(steps); i-- > 0;) {
        const json_t *step = json_array_get(steps, i);

        if (streq(json_text(step, "outcome"), outcome))
            return step;
    }
    return NULL;
}

/* What a rule's last word does to a packet. */
static const char *verb_of_rule(const char *rule)
{
    static const struct {
        const char *action, *verb;
    } verbs[] = {
        { "prohibit", "prohibited" },
        { "unreachable", "made unreachable" },
        { "blackhole", "swallowed" },
    };
    const char *last = strrchr(rule, ' ');

    for (size_t i = 0; last && i < ELEMENTSOF(verbs); i++)
        if (streq(verbs[i].action, last + 1))
            return verbs[i].verb;
    return "refused";
}

static void add_reason(const json_t *e, struct strbuf *b)
{
    const json_t *step = find_step(e, REFUSED);
    const char *name = step ? json_text(step, "name") : "";
    const char *route = step ? json_text(step, "route") : "";

    if (streq(json_text(e, "guard"), DROP)) {
        strbuf_add(b, "dropped by the guard at %s", json_text(e, "interface"));
        return;
    }
    if (!step) {
        strbuf_add(b,
                   json_flag(e, "shortcut") ? "the rules were not asked" : "no rule has a route");
        return;
    }
    strbuf_add(b, "%s by ", *route ? "refused" : verb_of_rule(json_text(step, "rule")));
    if (*route)
        strbuf_add(b, "route \"%s\" of ", route);
    strbuf_add(b, "rule %lld%s%s", (long long)json_number(step, "priority"), *name ? " " : "",
               name);
}

static void print_refusal(struct cli *c, const json_t *e)
{
    _cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;

    add_reason(e, &reason);
    cli_print(c, STYLE_BAD, "refused, %s (%s)\n", json_text(e, "error_text"), strbuf_text(&reason));
}

static void print_way(struct cli *c, const json_t *e)
{
    const char *type = json_text(e, "type"), *network = json_text(e, "network");
    const char *gateway = json_text(e, "gateway"), *source = json_text(e, "source");

    if (streq(type, "local"))
        cli_print(c, STYLE_GOOD, "delivered on this machine");
    else if (*network)
        cli_print(c, STYLE_GOOD, "by %s (network %s)", json_text(e, "interface"), network);
    else
        cli_print(c, STYLE_GOOD, "by %s (in no network)", json_text(e, "interface"));
    if (!streq(type, "local") && !streq(type, "unicast"))
        cli_print(c, STYLE_PLAIN, ", %s", type);
    if (*gateway)
        cli_print(c, STYLE_PLAIN, ", via %s", gateway);
    if (*source)
        cli_print(c, STYLE_PLAIN, ", from %s", source);
    cli_print(c, STYLE_PLAIN, "\n");
}

/* The rules. */

static bool step_matches(const json_t *step)
{
    return streq(json_text(step, "match"), MATCHES);
}

static void print_result(const json_t *step, struct strbuf *b)
{
    const char *route = json_text(step, "route");

    strbuf_add(b, "%s", json_text(step, step_matches(step) ? "outcome" : "match"));
    if (*route)
        strbuf_add(b, ": %s", route);
}

static enum style step_style(const json_t *step)
{
    if (!step_matches(step))
        return STYLE_DIM;
    if (streq(json_text(step, "outcome"), REFUSED))
        return STYLE_BAD;
    return streq(json_text(step, "outcome"), ROUTED) ? STYLE_GOOD : STYLE_PLAIN;
}

static void print_name(const json_t *step, struct strbuf *b)
{
    strbuf_add(b, "%s",
               json_text(step, "name")); /* nothing, rather than "-", for those of others */
}

static const struct column step_columns[] = {
    { .title = "PRIO", .key = "priority" },
    { .title = "NAME", .text = print_name },
    { .title = "RULE", .key = "rule" },
    { .title = "RESULT", .text = print_result },
};

static const struct table steps_table = {
    .columns = step_columns,
    .n_columns = ELEMENTSOF(step_columns),
    .row_style = step_style,
};

/* What stands around the rules. */

/* What keeps the assigned network from being used, if anything. */
static const char *unusable(const char *state)
{
    static const struct {
        const char *state, *text;
    } rows[] = {
        { "down", ", which is down" },
        { "absent", ", which is not there" },
        { "empty", ", which has no interface" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (streq(rows[i].state, state))
            return rows[i].text;
    return "";
}

static void print_assignment(struct cli *c, const json_t *e)
{
    const char *selector = json_text(e, "selector"), *network = json_text(e, "assigned");

    cli_print(c, STYLE_PLAIN, "assignment: ");
    if (!*selector)
        cli_print(c, STYLE_PLAIN, "none\n");
    else if (streq(network, "none"))
        cli_print(c, STYLE_PLAIN, "%s is blocked\n", selector);
    else if (streq(network, "default"))
        cli_print(c, STYLE_PLAIN, "%s is as if nothing were assigned\n", selector);
    else
        cli_print(c, STYLE_PLAIN, "%s to %s (%s)%s\n", selector, network, json_text(e, "strength"),
                  unusable(json_text(e, "assigned_state")));
}

/* The assignments that match as well, and why they do not hold. */
static void print_others(struct cli *c, const json_t *e)
{
    const json_t *others = json_object_get(e, "others");

    for (size_t i = 0; i < json_array_size(others); i++) {
        const json_t *other = json_array_get(others, i);
        const char *network = json_text(other, "network");
        bool none = streq(network, "none");

        cli_print(c, STYLE_PLAIN, "            not %s%s%s%s%s%s: %s\n",
                  json_text(other, "selector"), none ? " is blocked" : " to ", none ? "" : network,
                  none ? "" : " (", none ? "" : json_text(other, "strength"), none ? "" : ")",
                  json_text(other, "why"));
    }
}

static void print_route(struct cli *c, const json_t *e)
{
    const json_t *step = find_step(e, ROUTED);
    const char *route = step ? json_text(step, "route") : "";

    cli_print(c, STYLE_PLAIN, "route:      ");
    if (*route)
        cli_print(c, STYLE_PLAIN, "%s\n", route);
    else if (!json_object_get(e, "interface"))
        cli_print(c, STYLE_PLAIN, "none\n");
    else
        cli_print(c, STYLE_PLAIN, "%s dev %s\n", json_text(e, "type"), json_text(e, "interface"));
}

/* Back-end maps: the mark that leads a socket of this app, and the steps of decide/socket.h to it. */
static void print_mark(struct cli *c, const json_t *e)
{
    const json_t *decision = json_object_get(e, "decision");
    const char *network = json_text(e, "mark_network");

    if (json_array_size(decision) == 0)
        return;
    cli_print(c, STYLE_PLAIN, "mark:       0x%llx%s%s\n",
              (unsigned long long)json_number(e, "mark"), *network ? ": network " : "", network);
    for (size_t i = 0; i < json_array_size(decision); i++) {
        const json_t *step = json_array_get(decision, i);

        cli_print(c, STYLE_PLAIN, "            %s()", json_text(step, "command"));
        if (json_number(step, "step"))
            cli_print(c, STYLE_PLAIN, ", step %lld", (long long)json_number(step, "step"));
        cli_print(c, STYLE_PLAIN, ": 0x%llx, %s\n", (unsigned long long)json_number(step, "mark"),
                  json_text(step, "reason"));
    }
}

static const char *guard_text(const char *verdict)
{
    static const struct {
        const char *verdict, *text;
    } verdicts[] = {
        { "unassigned", "lets it out: nothing is required of this app" },
        { "loopback", "lets it out: it does not leave this machine" },
        { "allowed", "lets it out: the interface is of the assigned network" },
        { "protected", "lets it out: the socket is protected" },
        { "outside", "lets it out: its network does not lead there" },
        { "absent", "there is none (no nftables, or panic-off)" },
        { "held", "lets it out by" },
        { "none", "lets nothing out" },
        { DROP, "drops it: the interface is not of the assigned network" },
    };

    for (size_t i = 0; i < ELEMENTSOF(verdicts); i++)
        if (streq(verdicts[i].verdict, verdict))
            return verdicts[i].text;
    return verdict;
}

static void print_guard(struct cli *c, const json_t *e)
{
    const char *guard = json_text(e, "guard");
    bool drops = streq(guard, DROP);

    cli_print(c, STYLE_PLAIN, "guard:      ");
    if (json_number(e, "error") && !drops) {
        cli_print(c, STYLE_PLAIN, "not reached\n");
        return;
    }
    cli_print(c, drops ? STYLE_BAD : STYLE_PLAIN, "%s", guard_text(guard));
    cli_print(c, STYLE_PLAIN, "\n");
}

/* The guard, for any destination. */
static void print_ports(struct cli *c, const json_t *e)
{
    _cleanup_strbuf_ struct strbuf ports = STRBUF_INIT;
    const char *guard = json_text(e, "guard");

    if (streq(guard, "held") && json_array_size(json_object_get(e, "ports")) == 0)
        guard = "none";
    json_print_plain(json_object_get(e, "ports"), ", ", &ports);
    cli_print(c, STYLE_PLAIN, "guard:      %s", guard_text(guard));
    if (streq(guard, "held"))
        cli_print(c, STYLE_PLAIN, " %s alone", strbuf_text(&ports));
    cli_print(c, STYLE_PLAIN, "\n");
}

static void print_kernel(struct cli *c, const json_t *e)
{
    const char *answer = json_text(e, "kernel");

    cli_print(c, STYLE_PLAIN, "kernel:     ");
    if (!*answer)
        cli_print(c, STYLE_WARN, "was not asked\n");
    else if (json_flag(e, "kernel_agrees"))
        cli_print(c, STYLE_PLAIN, "agrees: %s\n", answer);
    else
        cli_print(c, STYLE_BAD,
                  "DISAGREES: %s\n"
                  "            What is said above is not what happens: please report this, with "
                  "`waymark explain --json`, `ip rule` and `ip route show table all`\n",
                  answer);
}

/* A rule that asks for a protocol, port or tos: what is said above is said for UDP alone. */
static void print_otherwise(struct cli *c, const json_t *rule)
{
    const char *packets = json_text(rule, "packets"), *error = json_text(rule, "error_text");
    long long priority = (long long)json_number(rule, "priority");

    cli_print(c, STYLE_WARN, "note:       this is for UDP without ports; ");
    if (!json_flag(rule, "differs"))
        cli_print(c, STYLE_WARN, "rule %lld asks for %s, which come to the same\n", priority,
                  packets);
    else
        cli_print(c, STYLE_WARN, "rule %lld decides otherwise for %s: %s%s\n", priority, packets,
                  *error ? "refused, " : "by ", *error ? error : json_text(rule, "interface"));
}

static bool knows_process(const json_t *e)
{
    return *json_text(e, "cgroup") || *json_text(e, "exe");
}

static void print_notes(struct cli *c, const json_t *e)
{
    const json_t *otherwise = json_object_get(e, "otherwise");

    if (json_flag(e, "absent"))
        cli_print(c, STYLE_WARN,
                  "note:       this unit does not run: said is what would be, were it there\n");
    if (streq(json_text(e, "backend"), "rules") && knows_process(e))
        cli_print(c, STYLE_WARN,
                  "note:       the back-end rules knows users alone: executable, cgroup and unit "
                  "change nothing\n");
    for (size_t i = 0; i < json_array_size(otherwise); i++)
        print_otherwise(c, json_array_get(otherwise, i));
    if (json_flag(e, "shortcut"))
        cli_print(c, STYLE_WARN,
                  "note:       the kernel does not ask the rules here, or overrides "
                  "them (IPv4 with a device, or multicast)\n");
    if (json_flag(e, "uncertain"))
        cli_print(c, STYLE_WARN,
                  "note:       not everything that matters here is known (several "
                  "next hops, or attributes unknown to waymark)\n");
}

/* Without a destination: what is said of the app. */
static void print_app_alone(struct cli *c, const json_t *e)
{
    print_app(c, e);
    cli_print(c, STYLE_PLAIN, "\n");
    print_assignment(c, e);
    print_others(c, e);
    print_mark(c, e);
    print_ports(c, e);
    print_notes(c, e);
}

void print_explanation(struct cli *c, const json_t *e)
{
    const json_t *steps = json_object_get(e, "steps");

    if (!*json_text(e, "destination")) {
        print_app_alone(c, e);
        return;
    }
    print_question(c, e);
    if (json_number(e, "error"))
        print_refusal(c, e);
    else
        print_way(c, e);
    print_assignment(c, e);
    print_others(c, e);
    print_mark(c, e);
    cli_print(c, STYLE_PLAIN, "\n");
    if (json_array_size(steps) > 0) {
        cli_print_table(c, &steps_table, steps, SIZE_MAX);
        cli_print(c, STYLE_PLAIN, "\n");
    }
    print_route(c, e);
    print_guard(c, e);
    print_kernel(c, e);
    print_notes(c, e);
}

void print_explain(struct cli *c)
{
    print_explanation(c, json_object_get(c->doc, "explanation"));
}

void print_verify(struct cli *c)
{
    const json_t *v = json_object_get(c->doc, "verification");
    const json_t *leak = json_object_get(v, "counterexample");

    if (json_flag(v, "proved"))
        cli_print(c, STYLE_GOOD, "proved: no user can leave by a network he must not use");
    else if (leak)
        cli_print(c, STYLE_BAD, "LEAK: an app can leave by a network it must not use");
    else
        cli_print(c, STYLE_BAD, "not proved: %s", json_text(v, "reason"));
    cli_print(c, STYLE_PLAIN,
              "\n%lld cases, of %lld ranges of uids in %lld groups; %lld are refused by the guard "
              "alone; %lld ms\n",
              (long long)json_number(v, "cases"), (long long)json_number(v, "segments"),
              (long long)json_number(v, "groups"), (long long)json_number(v, "guard_only"),
              (long long)json_number(v, "milliseconds"));
    if (!leak)
        return;
    cli_print(c, STYLE_PLAIN, "\n");
    if (!streq(json_text(leak, "interface"), json_text(v, "interface")))
        cli_print(c, STYLE_BAD, "By %s, if the notes below apply:\n", json_text(v, "interface"));
    print_explanation(c, leak);
}
