// SPDX-License-Identifier: LGPL-2.1-or-later
/* The decisions of src/decide, as BPF computes them: for test-decide-bpf.c. */
#include "bpf/kernel.h"

#include <bpf/bpf_helpers.h>

#include "property/decide.h"

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, __u32);
    __type(value, struct decide_trial);
    __uint(max_entries, DECIDE_BATCH);
    __uint(map_flags, BPF_F_MMAPABLE);
} trials SEC(".maps");

static long decide_one(__u32 i, void *data)
{
    struct decide_trial *t = bpf_map_lookup_elem(&trials, &i);

    (void)data;
    if (!t)
        return 1;
    t->answer = socket_decide(&t->question);
    t->verdict = decide_door(t);
    t->selector = decide_policy(t, &t->chosen);
    return 0;
}

SEC("syscall")
int decide(void *ctx)
{
    (void)ctx;
    return bpf_loop(DECIDE_BATCH, decide_one, 0, 0);
}
