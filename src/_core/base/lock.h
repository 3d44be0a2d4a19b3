/* A lock for a few hundred instructions on shared memory, with and without the GIL.
 *
 * Its owner calls nothing that could wait: no Python, no system call, no other lock. So nobody waits long, and an
 * owner that needs no GIL cannot be waited for by one that has it for ever. Memory of zeros is a free lock.
 */
#ifndef AUTH_DIAMETER_LOCK_H
#define AUTH_DIAMETER_LOCK_H

#include <sched.h>
#include <stdint.h>

typedef struct {
    int taken;
} ad_lock;

enum { AD_LOCK_SPINS = 100 };   /* looks at a lock before the processor goes to another thread */

static inline void ad_lock_wait(const ad_lock *lock)
{
    for (int i = 0; __atomic_load_n(&lock->taken, __ATOMIC_RELAXED); i++)
        if (i >= AD_LOCK_SPINS)
            sched_yield();      /* its owner may wait for this processor */
}

static inline void ad_lock_take(ad_lock *lock)
{
    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE))
        ad_lock_wait(lock);
}

static inline void ad_lock_give(ad_lock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

/* A time, or another double, that threads set and look at without a lock. */

static inline double ad_look_at(const double *time)
{
    double found;
    __atomic_load(time, &found, __ATOMIC_ACQUIRE);
    return found;
}

static inline void ad_show_at(double *time, double value)
{
    __atomic_store(time, &value, __ATOMIC_RELEASE);
}

/* A number that its owner changes under a lock, and that others look at without it. */

static inline int ad_look(const int *number)
{
    return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static inline void ad_show(int *number, int value)
{
    __atomic_store_n(number, value, __ATOMIC_RELEASE);
}

/* A number that any thread adds to and looks at. It orders nothing else. */

static inline void ad_count(uint64_t *number)
{
    __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

static inline uint64_t ad_counted(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

#endif
