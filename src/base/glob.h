/* Redis's glob: `*`, `?`, `[a-z]`, `[^a]`, backslash. Costs O(pattern x text) at worst: a pattern
 * with many stars is matched without recursion, so a hostile one cannot take exponential time. */
#pragma once

#include <stdbool.h>

#include "base/slice.h"

bool glob_match(struct slice pattern, struct slice text);
bool glob_match_nocase(struct slice pattern, struct slice text);
