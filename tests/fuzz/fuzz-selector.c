/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* KIND:VALUE: what is accepted is printed so that it is read back to an equal value. */

#include "fuzz/fuzz.h"
#include "wire/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct selector s = { 0 }, back = { 0 };
    struct why why = { 0 };

    if (selector_parse(text, &s, &why) < 0) {
        MUST(why.error < 0 && why.text[0] && !s.text);
        return 0;
    }
    MUST(why.error == 0 && s.kind < SELECTOR_KIND_MAX);
    MUST((s.kind == SELECTOR_UID) == !s.text);
    MUST(s.uid.lo <= s.uid.hi && s.uid.hi <= UID_MAX);
    selector_print(&s, &b);
    MUST(selector_parse(strbuf_text(&b), &back, NULL) == 0);
    MUST(selector_compare(&s, &back) == 0 && selector_compare(&back, &s) == 0);
    (void)selector_check_supported(&s, false, &why);
    selector_done(&s);
    selector_done(&back);
    return 0;
}
