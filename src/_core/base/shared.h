/* Memory that a process shares with those it forks, and a lock in it that a killed owner does not keep.
 *
 * The memory is made before the fork, has no name and no file, and lies at the same address in all of them: pointers
 * into it may lie in it. A process that is killed leaves it as it is, in the middle of a change.
 *
 * As with the lock of lock.h, the owner of a lock calls nothing that could wait. If it is killed, the next one that
 * takes the lock is told, makes what the lock guards whole again, and says so. Use lock.h where nothing is shared:
 * it takes a tenth of the instructions.
 */
#ifndef AUTH_DIAMETER_SHARED_H
#define AUTH_DIAMETER_SHARED_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* So many bytes of zeros, at the start of a page; NULL without memory. The system gives memory only to pages that
 * are used, and a core dump has none of them. */
static inline void *ad_shared_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, size, MADV_DONTDUMP);
    return memory;
}

/* Ends the use of this memory by this process alone. */
static inline void ad_shared_unmap(void *memory, size_t size)
{
    if (memory != NULL)
        munmap(memory, size);
}

/* The bytes of whole lines of the cache for so many. */
static inline size_t ad_shared_lines(size_t size)
{
    return (size + 63) / 64 * 64;
}

typedef struct {
    pthread_mutex_t mutex;
} ad_shared_lock;

enum { AD_SHARED_SPINS = 50 };  /* looks at a lock before its owner is waited for in the kernel */

/* Whether a lock in shared memory could be made. */
static inline int ad_shared_lock_init(ad_shared_lock *lock)
{
    pthread_mutexattr_t kind;
    int done;
    if (pthread_mutexattr_init(&kind))
        return 0;
    done = !pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED)
        && !pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST)
        && !pthread_mutex_init(&lock->mutex, &kind);
    pthread_mutexattr_destroy(&kind);
    return done;
}

/* Takes the lock. Returns whether an owner of it was killed: then the caller repairs what the lock guards, and calls
 * `ad_shared_lock_repaired` before it gives the lock back. If it is killed in between, the next one is told again. */
static inline int ad_shared_lock_take(ad_shared_lock *lock)
{
    int error = pthread_mutex_trylock(&lock->mutex);
    for (int i = 0; error == EBUSY && i < AD_SHARED_SPINS; i++)
        error = pthread_mutex_trylock(&lock->mutex);
    if (error == EBUSY)
        error = pthread_mutex_lock(&lock->mutex);
    if (error == 0)
        return 0;
    if (error != EOWNERDEAD)
        abort();                /* no lock is there any more, and without one nothing may go on */
    return 1;
}

static inline void ad_shared_lock_repaired(ad_shared_lock *lock)
{
    pthread_mutex_consistent(&lock->mutex);
}

static inline void ad_shared_lock_give(ad_shared_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}

/* The order in which stores reach shared memory: those before this line come first, if the process is killed. */
static inline void ad_shared_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Counts up a number that nothing else belongs to, without a lock; returns the number before. */
static inline uint64_t ad_shared_next(uint64_t *number)
{
    return __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

/* A number that others may change meanwhile, without a lock. */
static inline double ad_shared_look(const double *number)
{
    double now;
    __atomic_load(number, &now, __ATOMIC_RELAXED);
    return now;
}

/* Changes a number that others may look at meanwhile. */
static inline void ad_shared_show(double *number, double value)
{
    __atomic_store(number, &value, __ATOMIC_RELAXED);
}

enum {
    AD_SHARED_YIELDS = 64,      /* rounds of waiting in which other threads run */
    AD_SHARED_PATIENCE = 100    /* those behind them, in which a millisecond passes */
};

/* Waits a little for what another thread or process does within microseconds, and counts the rounds, from 0 on.
 * Returns 0 without waiting once so many milliseconds have passed: the other one was killed, or stopped. */
static inline int ad_shared_wait_for(int *rounds, int milliseconds)
{
    struct timespec millisecond = {0, 1000000};
    if (*rounds >= AD_SHARED_YIELDS + milliseconds)
        return 0;
    if (*rounds < AD_SHARED_YIELDS)
        sched_yield();          /* it may wait for this processor */
    else
        nanosleep(&millisecond, NULL);
    ++*rounds;
    return 1;
}

/* The same for a tenth of a second. */
static inline int ad_shared_wait(int *rounds)
{
    return ad_shared_wait_for(rounds, AD_SHARED_PATIENCE);
}

#endif
