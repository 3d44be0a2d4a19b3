/* The targets of `targets`, for a program that has no Python of its own. */
#ifndef AUTH_DIAMETER_HARNESS_H
#define AUTH_DIAMETER_HARNESS_H

#include <stddef.h>
#include <stdint.h>

typedef int target_function(const uint8_t *data, size_t size);

/* The target of that name, which may have a path in front of it; ends the process where there is none. The first call
 * starts an interpreter, loads the extension modules into it and leaves it alone from then on. */
target_function *target_of(const char *name);

#endif
