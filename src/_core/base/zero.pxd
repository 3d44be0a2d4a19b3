"""Setting structs to zero, for Cython; zero.h says what the function does."""


cdef extern from "base/zero.h" nogil:
    void ad_zero(void *memory, size_t size) noexcept
