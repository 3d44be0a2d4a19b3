"""A lock for short work on shared memory, for Cython; lock.h says what each function does."""

from libc.stdint cimport uint64_t


cdef extern from "base/lock.h" nogil:
    ctypedef struct ad_lock:
        int taken

    void ad_lock_take(ad_lock *lock) noexcept
    void ad_lock_give(ad_lock *lock) noexcept
    int ad_look(const int *number) noexcept
    double ad_look_at(const double *time) noexcept
    void ad_show_at(double *time, double value) noexcept
    void ad_show(int *number, int value) noexcept
    void ad_count(uint64_t *number) noexcept
    uint64_t ad_counted(const uint64_t *number) noexcept
