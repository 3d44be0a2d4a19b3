"""The tables of causes.py for compiled code; filled once, when they are imported."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes

from auth_diameter._core.auth.causes import PROXY as _PROXY, REASONS as _REASONS, RULINGS as _RULINGS, UAS as _UAS
from auth_diameter._core.auth.causes import Cause as _Cause

cdef enum:
    LEAST_STATUS = 200
    MOST_STATUS = 699

# A phrase and a name live as long as the module.
cdef tuple CAUSES = tuple(_Cause)
cdef dict _PHRASES = {status: phrase.encode() for status, phrase in _REASONS.items()}
cdef bytes _UAS_HEADER = _UAS.challenge.encode(), _PROXY_HEADER = _PROXY.challenge.encode()
cdef int UAS_STATUS = _UAS.status, PROXY_STATUS = _PROXY.status
cdef int _statuses[CAUSE_COUNT]
cdef Span _phrases[MOST_STATUS + 1 - LEAST_STATUS]
cdef Span _challenge_headers[2]
_challenge_headers[0] = span_of_bytes(_UAS_HEADER)
_challenge_headers[1] = span_of_bytes(_PROXY_HEADER)

if len(CAUSES) != CAUSE_COUNT or CAUSES[CAUSE_FORBIDDEN] is not _Cause.FORBIDDEN or (
        CAUSES[CAUSE_NO_IDENTITY] is not _Cause.NO_IDENTITY or CAUSES[CAUSE_OVERLOADED] is not _Cause.OVERLOADED
        or CAUSES[CAUSE_SEVERAL_ITEMS] is not _Cause.SEVERAL_ITEMS):
    raise AssertionError("rulings.pxd: its causes are not those of causes.py")
for _cause in range(CAUSE_COUNT):
    _statuses[_cause] = _RULINGS[CAUSES[_cause]].status or 0
for _status in range(LEAST_STATUS, MOST_STATUS + 1):
    _phrases[_status - LEAST_STATUS] = span_of_bytes(_PHRASES[_status]) if _status in _PHRASES else Span(NULL, 0)


cdef int status_of(int cause, bint proxy) noexcept nogil:
    """The status of the reply for a cause; 0: there is no reply.

    Args:
        cause: CAUSE_…
        proxy: whether a proxy authenticates, not a UAS.
    """
    if cause == CAUSE_CHALLENGED or cause == CAUSE_RECHALLENGED:
        return PROXY_STATUS if proxy else UAS_STATUS
    return _statuses[cause]


cdef Span phrase_of(int status) noexcept nogil:
    """The reason phrase of a status; empty for one that no decision leads to."""
    if not LEAST_STATUS <= status <= MOST_STATUS:
        return Span(NULL, 0)
    return _phrases[status - LEAST_STATUS]


cdef Span challenge_header(bint proxy) noexcept nogil:
    """The name of the header field of a challenge."""
    return _challenge_headers[proxy]
