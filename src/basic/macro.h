/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The few macros that every file may use. Nothing here allocates or does I/O. */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Built with AddressSanitizer: gcc and clang say it differently. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _noreturn_     __attribute__((noreturn))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define CMP(a, b)     (((a) > (b)) - ((a) < (b)))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
#define STRLEN(s)     (sizeof("" s "") - 1)

/*
 * Hands the value of an owning variable over and leaves it empty, so that its cleanup does nothing.
 */
#define TAKE_PTR(p)                \
    ({                             \
        __typeof__(p) take_ = (p); \
        (p) = NULL;                \
        take_;                     \
    })

#define TAKE_FD(fd)       \
    ({                    \
        int take_ = (fd); \
        (fd) = -1;        \
        take_;            \
    })

/*
 * Defines `static inline void func##p(type **)` for _cleanup_ out of `type *func(type *)` or void
 * func.
 */
#define DEFINE_CLEANUP(type, func)      \
    static inline void func##p(type *p) \
    {                                   \
        if (*p)                         \
            func(*p);                   \
    }

/* memcmp() of nothing wants pointers all the same; here NULL is as good as any. */
static inline bool mem_equal(const void *a, const void *b, size_t n)
{
    return n == 0 || memcmp(a, b, n) == 0;
}

static inline void freep(void *p)
{
    free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

static inline int streq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static inline int startswith(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Fixed-size string copy; false (and an empty string) when it does not fit. */
static inline int str_set(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src);

    if (n >= size) {
        dst[0] = '\0';
        return 0;
    }
    memset(dst, 0, size);
    memcpy(dst, src, n);
    return 1;
}
