"""Memory that is shared over a fork, and a lock in it, for Cython; shared.h says what each function does."""

from libc.stdint cimport uint64_t


cdef extern from "base/shared.h" nogil:
    ctypedef struct ad_shared_lock:
        pass

    void *ad_shared_map(size_t size) noexcept
    void ad_shared_unmap(void *memory, size_t size) noexcept
    size_t ad_shared_lines(size_t size) noexcept
    bint ad_shared_lock_init(ad_shared_lock *lock) noexcept
    bint ad_shared_lock_take(ad_shared_lock *lock) noexcept
    void ad_shared_lock_repaired(ad_shared_lock *lock) noexcept
    void ad_shared_lock_give(ad_shared_lock *lock) noexcept
    void ad_shared_order() noexcept
    uint64_t ad_shared_next(uint64_t *number) noexcept
    double ad_shared_look(const double *number) noexcept
    void ad_shared_show(double *number, double value) noexcept
    bint ad_shared_wait(int *rounds) noexcept
    bint ad_shared_wait_for(int *rounds, int milliseconds) noexcept
