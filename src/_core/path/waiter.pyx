"""What a task of asyncio awaits until its decision is there.

A future of asyncio would do the same, but has its task wait for another turn of the event loop. Where no task
runs, as in the callback of a connection, a `Waiter` lets its task go on at once.

To a task it is a future, by the protocol that asyncio has for futures of others: `_asyncio_future_blocking`,
`get_loop`, `add_done_callback`, `result` and `cancel`. It has one callback, that of the task.
"""

import asyncio

cimport cython
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.exc cimport PyErr_SetObject

cdef object CancelledError = asyncio.CancelledError
cdef object InvalidStateError = asyncio.InvalidStateError


@cython.final
@cython.freelist(256)
cdef class Waiter:
    """A result to come; also the iterator of the one await of it. It belongs to one event loop."""

    def __init__(self):
        raise TypeError("a Waiter comes from the functions of AsyncAuthDiameter")

    # ------------------------------------------------------------------ the await

    def __iter__(self):
        return self

    def __next__(self):
        found = self.go_on()
        if self.is_done:
            PyErr_SetObject(StopIteration, found)
            raise StopIteration     # the exception above, without a traceback, which takes longer than all else
        return found

    def send(self, value):
        """As `send` of a coroutine."""
        found = self.go_on()
        if self.is_done:
            raise StopIteration(found)
        return found

    def throw(self, kind, value=None, traceback=None):
        """As `throw` of a coroutine."""
        raise kind if value is None else value

    def close(self):
        """As `close` of a coroutine."""

    cdef object go_on(self):
        """The result, or this object, which the task waits for.

        Raises:
            CancelledError: the task was cancelled.
            RuntimeError: whoever drives the coroutine has not waited.
        """
        if self.is_done:
            return self.result()
        if self._asyncio_future_blocking or self.callback is not None:
            raise RuntimeError("a decision to come was not awaited")
        self._asyncio_future_blocking = True
        return self

    # ------------------------------------------------------------------ what asyncio calls

    def get_loop(self):
        """The event loop."""
        return self.loop

    def add_done_callback(self, callback, *, context=None):
        """Has the task called once there is a result."""
        if self.callback is not None:
            raise RuntimeError("a decision to come is awaited once")
        self.callback = callback
        self.context = context
        if self.is_done:
            self.wake(False)

    def done(self):
        """Whether there is a result, or the task was cancelled."""
        return self.is_done

    def cancelled(self):
        """Whether the task was cancelled."""
        return self.is_cancelled

    def result(self):
        """The result.

        Raises:
            CancelledError: the task was cancelled.
            InvalidStateError: there is no result so far.
        """
        if self.is_cancelled:
            raise CancelledError() if self.outcome is None else CancelledError(self.outcome)
        if not self.is_done:
            raise InvalidStateError("there is no decision so far")
        return self.outcome

    def exception(self):
        """None, as for each future with a result; what it raises is as for `result`."""
        self.result()

    def cancel(self, msg=None):
        """Cancels the wait; a result that comes later is dropped.

        Returns:
            Whether there was no result so far.
        """
        if self.is_done:
            return False
        self.is_done = self.is_cancelled = True
        self.outcome = msg
        self.wake(False)
        return True

    # ------------------------------------------------------------------ the result

    cdef int settle(self, object result, bint at_once) except -1:
        """Sets the result, unless the task was cancelled.

        Args:
            at_once: whether the task may go on before this returns: no task runs.
        """
        if self.is_done:
            return 0
        self.is_done = True
        self.outcome = result
        return self.wake(at_once)

    cdef int wake(self, bint at_once) except -1:
        """Lets the task go on, if it waits already."""
        cdef object callback = self.callback, context = self.context
        if callback is None:
            return 0
        self.callback = self.context = None
        if at_once and context is not None:
            try:
                PyContext_Enter(context)
            except RuntimeError:    # the caller runs in it
                at_once = False
        if not at_once or context is None:
            self.loop.call_soon(callback, self, context=context)
            return 0
        try:
            callback(self)
        except BaseException as error:      # sys.exit() in a task: the loop ends, and not only what called this
            raise_later(self.loop, error)
        finally:
            PyContext_Exit(context)
        return 0


cdef int raise_later(object loop, object error) except -1:
    """Has an exception raised where the event loop sees it."""
    loop.call_soon(_reraise, error)
    return 0


def _reraise(error):
    """Raises an exception."""
    raise error


cdef Waiter new_waiter(object loop):
    """A Waiter without a result."""
    cdef Waiter waiter = Waiter.__new__(Waiter)
    waiter.loop = loop
    return waiter
