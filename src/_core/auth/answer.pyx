"""The answer of a back end: a value, independent of the protocol."""

cimport cython
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport uint32_t
from libc.string cimport memset

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of

from auth_diameter._core.auth.verdict import Part, Service, Verdict

cdef tuple VERDICTS = (None, *Verdict), SERVICES = (None, *Service), PARTS = (None, *Part)     # by their values
cdef const char *FAULT = b"an answer not to be used"


@cython.final
@cython.freelist(1024)
@cython.no_gc  # it refers to no object that could refer to it
cdef class Answer:
    """The answer to one `Question`.

    Args:
        verdict: Verdict.
        service: Service that it answers; None: not given.
        challenges: values of WWW-Authenticate, bytes, in the order of preference.
        response_auth: bytes, rspauth of Authentication-Info (RFC 7616, 3.5), or None.
        nextnonce: bytes, of Authentication-Info, or None.
        user_name: bytes, the name behind a hashed username (RFC 7616, 3.4.4), or None.
        refused: Part of the credentials that is refused; None: their digest, or nothing.
        code: int, the protocol's own code, such as a Result-Code of Diameter; 0: none.

    Attributes:
        fault: str, the reason not to use the answer, or None.
        message: bytes, the whole answer if it names other servers to be asked (RFC 6733, 6.1.7), or None.
        delegated: the HA1 that the server delegates, or None: a tuple of ((algorithm, HA1), …), the realm, the
            nonce or None, the User-Name or None, and the seconds for which it may be kept or None.
    """

    def __init__(self, verdict, *, service=None, tuple challenges=(), bytes response_auth=None,
                 bytes nextnonce=None, bytes user_name=None, refused=None, uint32_t code=0):
        self.verdict = verdict
        self.verdict_code = verdict.value
        self.service = service
        self.service_code = SERVICE_UNKNOWN if service is None else service.value
        self.challenges = challenges
        self.response_auth = response_auth
        self.nextnonce = nextnonce
        self.user_name = user_name
        self.refused = refused
        self.refused_code = PART_NONE if refused is None else refused.value
        self.code = code

    def __repr__(self):
        name = getattr(self.verdict, "name", None)
        return f"<Answer {name} code={self.code} challenges={len(self.challenges or ())} fault={self.fault!r}>"


cdef Answer new_answer(const AnswerFields *fields):
    """The Answer object with these values, which are copied."""
    cdef Answer a = Answer.__new__(Answer)
    cdef int i
    a.verdict_code = fields.verdict
    a.verdict = VERDICTS[fields.verdict]
    a.service_code = fields.service
    a.service = SERVICES[fields.service]
    a.refused_code = fields.refused
    a.refused = PARTS[fields.refused]
    a.code = fields.code
    a.unusable = fields.unusable
    a.challenges = PyTuple_New(fields.challenges)
    for i in range(fields.challenges):
        challenge = plain(fields.challenge[i])
        Py_INCREF(challenge)    # the tuple takes a reference
        PyTuple_SET_ITEM(a.challenges, i, challenge)
    a.response_auth = plain(fields.response_auth)
    a.nextnonce = plain(fields.nextnonce)
    a.user_name = plain(fields.user_name)
    if fields.fault != NULL:
        a.fault = fields.fault.decode("ascii")
    return a


cdef inline bytes plain(Span s):
    """The bytes of a span, or None."""
    return s.p[:s.n] if s.p != NULL else None


cdef int borrow_answer(Answer answer, AnswerFields *out) except -1:
    """Fills in `out` with the values of an Answer, and borrows its bytes while that is alive.

    Raises:
        ValueError: it has more than MAX_CHALLENGES challenges.
        TypeError: a challenge is neither bytes nor str.
    """
    memset(out, 0, sizeof(AnswerFields))
    out.verdict = answer.verdict_code
    out.service = answer.service_code
    out.refused = answer.refused_code
    out.code = answer.code
    out.unusable = answer.unusable
    cdef tuple challenges = answer.challenges or ()
    if not len(challenges) <= MAX_CHALLENGES:
        raise ValueError(f"challenges: expected {MAX_CHALLENGES} at most, not {len(challenges)}")
    for challenge in challenges:
        span_of(challenge, &out.challenge[out.challenges], "challenge")
        out.challenges += 1
    if answer.response_auth is not None:
        span_of(answer.response_auth, &out.response_auth, "response_auth")
    if answer.nextnonce is not None:
        span_of(answer.nextnonce, &out.nextnonce, "nextnonce")
    if answer.user_name is not None:
        span_of(answer.user_name, &out.user_name, "user_name")
    if answer.fault is not None:
        out.fault = FAULT
    return 0
