/* The pool's invariants as a function, for tests and for a debug build. */
#ifndef CONNLEAK_POOL_CHECK_H
#define CONNLEAK_POOL_CHECK_H

#include "pool.h"

/* NULL if all hold, else the broken one in words (a static string). */
const char *pool_check(const struct pool *p);

#endif
