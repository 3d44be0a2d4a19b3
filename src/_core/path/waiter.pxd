"""What a task of asyncio awaits until its decision is there, for compiled code."""


cdef class Waiter:
    cdef object loop                # of asyncio
    cdef object outcome             # the result, or the message of a cancellation
    cdef object callback            # of the task that waits, or None
    cdef object context             # that it is called in
    cdef bint is_done, is_cancelled
    cdef public bint _asyncio_future_blocking   # set by whoever awaits this, and cleared by the task

    cdef object go_on(self)
    cdef int settle(self, object result, bint at_once) except -1
    cdef int wake(self, bint at_once) except -1


cdef Waiter new_waiter(object loop)
cdef int raise_later(object loop, object error) except -1
