"""What a back end answers: a value, whichever back end it is."""

cimport cython
from libc.stdint cimport uint32_t


@cython.final
@cython.freelist(1024)
@cython.no_gc  # it holds no object that could hold it
cdef class Answer:
    """What a back end says to one `Question`.

    Args:
        verdict: Verdict.
        service: Service that it answers for; None: it does not say.
        challenges: values of WWW-Authenticate, bytes, in the order of preference.
        response_auth: bytes, rspauth of Authentication-Info (RFC 7616, 3.5), or None.
        nextnonce: bytes, of Authentication-Info, or None.
        user_name: bytes, whose hashed username it was (RFC 7616, 3.4.4), or None.
        refused: Part of the credentials that was refused; None: the digest was, or nothing.
        code: int, the protocol's own code, such as a Result-Code of Diameter; 0: there is none.

    Attributes:
        fault: str, why the answer must not be used, or None.
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
        name = None if self.verdict is None else self.verdict.name
        return f"<Answer {name} code={self.code} challenges={len(self.challenges or ())} fault={self.fault!r}>"
