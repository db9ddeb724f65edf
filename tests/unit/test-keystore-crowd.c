/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/keystore/crowd: who has to go, by scripts; and that its lists and sums are right after each step, of
 * these and of many random ones.
 *
 *   a=5    connection `a` of uid 5 joins     a.     it leaves
 *   a+     it is idle                        a-     it is not
 *   a!     something has come of it          a:9    it keeps 9 bytes
 *   c?a    of connections, `a` would go      b?a    of bytes; "c?_", "b?_": nobody
 *   5@2    uid 5 has two connections; "5@0": he is not there
 *
 * One letter is one connection. A step may stand for a range of them: "a-d=5" is "a=5 b=6 c=7 d=8", and "a-d+"
 * is "a+ b+ c+ d+".
 */

#include "unit/check.h"

#include <stdio.h>

#include "keystore/crowd.h"

enum { CONNECTIONS_MAX = 128, STEPS = 4000 };

struct scene {
    struct crowd crowd;
    struct connection connections[CONNECTIONS_MAX]; /* by letter */
    bool idle[CONNECTIONS_MAX];
    /* when it was used last, when it began to keep something */
    unsigned used[CONNECTIONS_MAX], held[CONNECTIONS_MAX], now;
};

/* The steps. */

static bool is_in(const struct scene *s, size_t i)
{
    return s->connections[i].user;
}

static void join(struct scene *s, size_t i, uid_t uid)
{
    s->connections[i] = (struct connection){ .uid = uid };
    assert_int_equal(crowd_join(&s->crowd, &s->connections[i]), 0);
}

static void idle(struct scene *s, size_t i)
{
    crowd_idle(&s->crowd, &s->connections[i]);
    s->idle[i] = true;
    s->used[i] = ++s->now;
}

static void busy(struct scene *s, size_t i)
{
    crowd_busy(&s->crowd, &s->connections[i]);
    s->idle[i] = false;
}

static void use(struct scene *s, size_t i)
{
    crowd_used(&s->connections[i]);
    s->used[i] = ++s->now;
}

static void keep(struct scene *s, size_t i, size_t bytes)
{
    if (s->connections[i].counted == 0)
        s->held[i] = ++s->now;
    crowd_keeps(&s->crowd, &s->connections[i], bytes);
}

static void leave(struct scene *s, size_t i)
{
    crowd_leave(&s->crowd, &s->connections[i]);
}

/* What must be so, whatever was done. */

static size_t has(const struct connection *c, const struct scene *s, enum crowd_measure m)
{
    return m == CROWD_BYTES ? c->counted : s->idle[c - s->connections];
}

static size_t sum(const struct scene *s, uid_t uid, enum crowd_measure m)
{
    size_t all = 0;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (is_in(s, i) && s->connections[i].uid == uid)
            all += has(&s->connections[i], s, m);
    return all;
}

static size_t count(const struct scene *s, uid_t uid)
{
    size_t n = 0;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        n += is_in(s, i) && s->connections[i].uid == uid;
    return n;
}

static size_t rank_of(size_t n)
{
    size_t rank = 0;

    for (; n > 0; n /= 2)
        rank++;
    return rank;
}

/* Where his rank says, and nowhere else. */
static bool is_ranked(struct crowd *w, const struct user *u, enum crowd_measure m)
{
    const struct user *other = NULL;
    size_t found = 0, wrong = 0;

    for (size_t rank = 0; rank < CROWD_RANKS; rank++)
        TAILQ_FOREACH(other, &w->ranks[m][rank], ranked[m])
        {
            found += other == u;
            wrong += other == u && rank != rank_of(u->has[m]);
        }
    return wrong == 0 && found == (u->has[m] > 0);
}

/* His lists: the oldest first, all of them and no other. */
static void check_order(const char *row, const struct scene *s, const struct user *u)
{
    const struct connection *c = NULL;
    size_t n_idle = 0, n_holding = 0;
    unsigned last = 0;

    TAILQ_FOREACH(c, &u->by_use, by_use)
    {
        CHECK(row, c->user == u && s->used[c - s->connections] > last);
        last = s->used[c - s->connections];
        n_idle++;
    }
    last = 0;
    TAILQ_FOREACH(c, &u->holding, holding)
    {
        CHECK(row, c->user == u && c->counted > 0 && s->held[c - s->connections] > last);
        last = s->held[c - s->connections];
        n_holding++;
    }
    CHECK_INT(row, n_idle, u->has[CROWD_CONNECTIONS]);
    CHECK(row, (n_holding > 0) == (u->has[CROWD_BYTES] > 0));
}

static void check_user(const char *row, struct scene *s, uid_t uid)
{
    const struct user *u = crowd_find(&s->crowd, uid);

    CHECK(row, u && u->uid == uid);
    CHECK_INT(row, u->n, count(s, uid));
    for (enum crowd_measure m = 0; m < CROWD_MEASURE_MAX; m++) {
        CHECK(row, u->has[m] == sum(s, uid, m));
        CHECK_INT(row, u->rank[m], rank_of(u->has[m]));
        CHECK(row, is_ranked(&s->crowd, u, m));
    }
    check_order(row, s, u);
}

static void check_all(const char *row, struct scene *s)
{
    size_t n = 0, bytes = 0, n_held = 0, listed = 0;
    const struct connection *c = NULL;
    unsigned last = 0;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (!is_in(s, i))
            continue;
        n++;
        bytes += s->connections[i].counted;
        n_held += s->connections[i].counted > 0;
        check_user(row, s, s->connections[i].uid);
    }
    TAILQ_FOREACH(c, &s->crowd.held, held)
    {
        CHECK(row, c->user && c->counted > 0 && s->held[c - s->connections] > last);
        last = s->held[c - s->connections];
        listed++;
    }
    CHECK_INT(row, s->crowd.n, n);
    CHECK(row, s->crowd.bytes == bytes);
    CHECK_INT(row, s->crowd.n_held, n_held);
    CHECK_INT(row, listed, n_held);
}

/* Scripts. */

static char letter_of(const struct scene *s, const struct connection *c)
{
    return c ? (char)(c - s->connections) : '_';
}

static void step(const char *row, struct scene *s, size_t i, char what, size_t value)
{
    switch (what) {
    case '=':
        join(s, i, (uid_t)value);
        break;
    case '.':
        leave(s, i);
        break;
    case '+':
        idle(s, i);
        break;
    case '-':
        busy(s, i);
        break;
    case '!':
        use(s, i);
        break;
    case ':':
        keep(s, i, value);
        break;
    default:
        fail_msg("%s: there is no step '%c'", row, what);
    }
    check_all(row, s);
}

static void run_word(const char *row, struct scene *s, const char *word)
{
    const char *at = strchr(word, '@'), *ask = strchr(word, '?');
    size_t first = (unsigned char)word[0], last = first, value;
    char text[8];

    if (at) {
        const struct user *u = crowd_find(&s->crowd, (uid_t)strtoul(word, NULL, 10));

        CHECK_INT(word, u ? u->n : 0, strtoul(at + 1, NULL, 10));
        CHECK(word, !u || u->n > 0);
        return;
    }
    if (ask) {
        snprintf(text, sizeof(text), "%c",
                 letter_of(
                     s, crowd_victim(&s->crowd, word[0] == 'b' ? CROWD_BYTES : CROWD_CONNECTIONS)));
        CHECK_TEXT(row, text, ask + 1);
        return;
    }
    if (word[1] == '-' && word[2]) {
        last = (unsigned char)word[2];
        word += 2;
    }
    value = strtoull(word + 1 + (word[1] != '\0'), NULL, 10);
    for (size_t i = first; i <= last; i++)
        step(row, s, i, word[1], word[1] == '=' ? value + (i - first) : value);
}

/* Whoever is still there leaves as the rules are. */
static void leave_all(struct scene *s)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (!is_in(s, i))
            continue;
        keep(s, i, 0);
        if (s->idle[i])
            busy(s, i);
        leave(s, i);
    }
}

static void run(const char *row, const char *script)
{
    struct scene *s = calloc(1, sizeof(*s));
    char text[512], *save = NULL;

    assert_non_null(s);
    crowd_init(&s->crowd);
    assert_true(str_set(text, sizeof(text), script));
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        run_word(row, s, word);
    leave_all(s);
    check_all(row, s);
    CHECK_INT(row, s->crowd.n, 0);
    free(s);
}

/* clang-format off */
static const struct {
    const char *name, *script;
} rows[] = {
    { "nobody", "c?_ b?_ 0@0 5@0" },
    { "root is a user", "a=0 0@1 a+ c?a a- a. 0@0" },
    { "the last uid", "a=4294967294 4294967294@1 4294967039@0" },
    { "the number for nobody", "a=4294967295 4294967295@1 255@0" },
    { "one bucket, several users", "a=5 b=261 c=517 5@1 261@1 517@1 b. 5@1 261@0 517@1" },
    { "gone with the last", "a=5 b=5 5@2 a. 5@1 b. 5@0" },
    { "and back again", "a=5 a. a=5 5@1 c?_" },

    { "who is busy stays", "a=5 c?_ a+ c?a a- c?_" },
    { "the longest idle", "a=5 b=5 c=5 c+ a+ b+ c?c" },
    { "idle from when it was used", "a=5 b=5 a+ b+ a! c?b b! c?a" },
    { "idle anew", "a=5 b=5 a+ b+ a- a+ c?b" },
    { "the only one is used", "a=5 a+ a! c?a" },

    { "most connections", "a=5 b=6 c=6 a+ b+ c+ c?b" },
    { "most idle ones, not most", "a=5 b=6 c=6 d=6 e=5 a+ e+ b+ c?a" },
    { "as many: who had so many first", "a=5 b=6 a+ b+ c?a" },
    { "as many, of a higher rank", "a=5 b=5 c=6 d=6 c+ a+ d+ b+ c?c" },
    { "of one rank, the most", "a=5 b=5 c=6 d=6 e=6 a+ b+ c+ d+ e+ c?c" },
    { "of one rank, no more", "a=5 b=5 c=6 d=6 e=6 c+ d+ e+ a+ b+ e- c?c d- c?a" },
    { "after he has lost one", "a=5 b=6 c=6 a+ b+ c+ b- b. c?a" },
    { "many users with one each", "a-z=100 z+ a+ b-y+ c?z z! c?z z- c?a" },
    { "what is used is not who", "a=5 b=6 c=6 a+ b+ c+ b! c?c" },

    { "bytes: nobody keeps any", "a=5 a+ b?_" },
    { "bytes", "a=5 a+ a:1 b?a a:0 b?_" },
    { "most bytes, not most connections", "a=5 b=6 c=6 a-c+ a:10 b:3 c:3 b?a c?b" },
    { "most bytes, of several", "a=5 b=6 c=6 a-c+ a:10 b:8 c:7 b?b" },
    { "what is kept longest", "a=5 b=5 a+ b+ b:1 a:100 b?b" },
    { "growing makes it no younger", "a=5 b=5 a+ b+ a:1 b:1 a:2 a:300 b?a" },
    { "nor does shrinking", "a=5 b=5 a+ b+ a:300 b:1 a:2 b?a" },
    { "nor being used", "a=5 b=5 a+ b+ a:1 b:1 a! b?a c?b" },
    { "kept anew", "a=5 b=5 a+ b+ a:1 b:1 a:0 a:1 b?b" },
    { "the same again", "a=5 a+ a:7 a:7 b?a a:0 a:0 b?_" },
    { "no bytes at all", "a=5 a+ a:0 b?_ c?a" },
    { "to the next rank and back", "a=5 b=6 a+ b+ a:7 b:7 b:8 b?b b:7 b?a a:6 b?b" },
    { "rank by rank", "a=5 b=6 a+ b+ b:1 a:2 b?a b:4 b?b a:8 b?a b:16 b?b b:1 b?a" },
    { "of one rank, the first of those with most", "a=5 b=6 c=7 a-c+ a:4 b:6 c:6 b?b b:5 b?c" },
    { "all of a size", "a=5 b=6 a+ b+ a:9223372036854775808 b:9223372036854775807 b?a a:0 b?b" },
    { "up to the last", "a=5 a+ a:18446744073709551615 b?a a:1 b?a a:0 b?_" },
    { "many who keep one byte each", "a-z=100 a-z+ a-z:1 b?a a:0 b?b z:2 b?z" },
};
/* clang-format on */

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        run(rows[i].name, rows[i].script);
    CHECK_END();
}

/* Of the highest rank no more than so many are looked at, and then the most of these goes. */
static void test_compared(void **state)
{
    static const struct {
        const char *name;
        size_t n, most, expected; /* users of one rank; who of them has 3, the others have 2 */
    } cases[] = {
        { "the first", 100, 0, 0 },
        { "the last that is looked at", 100, 63, 63 },
        { "the first that is not", 100, 64, 0 },
        { "as many as are looked at", 64, 63, 63 },
    };
    struct scene *s = calloc(1, sizeof(*s));

    (void)state;
    assert_non_null(s);
    crowd_init(&s->crowd);
    for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
        for (size_t i = 0; i < cases[k].n; i++) {
            join(s, i, (uid_t)(1000 + i));
            idle(s, i);
            keep(s, i, i == cases[k].most ? 3 : 2);
        }
        check_all(cases[k].name, s);
        CHECK_INT(cases[k].name, crowd_victim(&s->crowd, CROWD_BYTES) - s->connections,
                  cases[k].expected);
        leave_all(s);
    }
    free(s);
    CHECK_END();
}

/* There are at most so many users here that all are compared: the victim is the one that the rules name. */
static void check_victim(const char *row, const struct scene *s, enum crowd_measure m)
{
    const struct connection *victim = crowd_victim(&s->crowd, m);
    const unsigned *since = m == CROWD_BYTES ? s->held : s->used;
    size_t most = 0, i = victim ? (size_t)(victim - s->connections) : 0;

    for (size_t k = 0; k < CONNECTIONS_MAX; k++)
        if (is_in(s, k))
            most = MAX(most, sum(s, s->connections[k].uid, m));
    CHECK(row, (most > 0) == (victim != NULL));
    if (!victim)
        return;
    CHECK(row, sum(s, victim->uid, m) == most);
    CHECK(row, has(victim, s, m) > 0);
    for (size_t k = 0; k < CONNECTIONS_MAX; k++)
        if (is_in(s, k) && s->connections[k].uid == victim->uid && has(&s->connections[k], s, m))
            CHECK(row, since[k] >= since[i]);
}

static uint32_t below(unsigned short random[static 3], uint32_t n)
{
    return (uint32_t)nrand48(random) % n;
}

static void random_step(struct scene *s, unsigned short random[static 3])
{
    static const size_t sizes[] = { 0, 0, 1, 2, 3, 100, 32768, (size_t)1 << 40 };
    size_t i = below(random, CONNECTIONS_MAX);

    if (!is_in(s, i))
        join(s, i, below(random, 3) + below(random, 4) * CROWD_BUCKETS);
    else if (!s->idle[i] && below(random, 2) == 0)
        leave(s, i);
    else if (!s->idle[i])
        idle(s, i);
    else if (below(random, 3) == 0)
        use(s, i);
    else if (below(random, 3) > 0)
        keep(s, i, sizes[below(random, ELEMENTSOF(sizes))]);
    else {
        keep(s, i, 0);
        busy(s, i);
    }
}

static void test_random(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    unsigned short random[3] = { 1 };
    char row[32];

    (void)state;
    assert_non_null(s);
    crowd_init(&s->crowd);
    for (unsigned i = 0; i < STEPS; i++) {
        snprintf(row, sizeof(row), "step %u", i);
        random_step(s, random);
        if (i % 16 == 0)
            check_all(row, s);
        for (enum crowd_measure m = 0; m < CROWD_MEASURE_MAX; m++)
            check_victim(row, s, m);
    }
    leave_all(s);
    check_all("the end", s);
    free(s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_compared),
        cmocka_unit_test(test_random),
    };

    return RUN_TESTS(tests);
}
