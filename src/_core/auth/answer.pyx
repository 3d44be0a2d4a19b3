"""The answer of a back end: a value, independent of the protocol."""

cimport cython
from libc.stdint cimport uint32_t


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
    """

    def __init__(self, verdict, *, service=None, tuple challenges=(), bytes response_auth=None,
                 bytes nextnonce=None, bytes user_name=None, refused=None, uint32_t code=0):
        self.verdict = verdict
        self.service = service
        self.challenges = challenges
        self.response_auth = response_auth
        self.nextnonce = nextnonce
        self.user_name = user_name
        self.refused = refused
        self.code = code

    def __repr__(self):
        name = getattr(self.verdict, "name", None)
        return f"<Answer {name} code={self.code} challenges={len(self.challenges or ())} fault={self.fault!r}>"
