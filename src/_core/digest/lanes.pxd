"""Many digest responses verified at once, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.responses cimport Response


cdef struct Check:
    # A response to compare with the one that credentials have
    Response of
    Span given          # hexadecimal, in either case
    bint right          # the result


cdef bint verify_responses(Check *checks, size_t count, ad_scratch *scratch) noexcept nogil
