"""A lock for short work on shared memory, for Cython; lock.h says what each function does."""


cdef extern from "base/lock.h" nogil:
    ctypedef struct ad_lock:
        int taken

    void ad_lock_take(ad_lock *lock) noexcept
    void ad_lock_give(ad_lock *lock) noexcept
    int ad_look(const int *number) noexcept
    void ad_show(int *number, int value) noexcept
