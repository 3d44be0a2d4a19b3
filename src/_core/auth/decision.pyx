"""The result of an authorization or a group check."""

cimport cython

from auth_diameter._core.auth.answer cimport Answer
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.sip.request cimport SipRequest

from auth_diameter._core.auth.causes import REASONS as _REASONS


def mark_authorized(Question question not None, Answer answer not None):
    """Marks the credentials of a question as verified on its request, for a group check of "Credentials".

    Args:
        question: Question with credentials, which are right.
        answer: Answer to it.

    Returns:
        The username, str; if the credentials hold only its hash, the name in the answer (RFC 7616, 3.4.4).
    """
    cdef str name = None
    if answer.user_name is not None and question.credentials.userhash:
        name = answer.user_name.decode("utf-8", "surrogateescape")
    question.request.mark_authorized(question.credentials, question.proxy, name)
    return name if name is not None else question.credentials.username


def authorized_as(SipRequest request not None):
    """The verified credentials of a request with the name of their user, whatever another thread marks meanwhile.

    Args:
        request: SipRequest.

    Returns:
        (Credentials, str), or (None, None).
    """
    return request.verified()


@cython.final
@cython.freelist(1024)
cdef class Decision:
    """Decision(return_code, cause, status=None, reply=None, username=None, realm=None, headers=())\n--\n
    What to do with a request; true only if the request is let through.

    Attributes:
        return_code: int, the return code of the OpenSER function.
        status: int, SIP status of the reply, or None if there is no reply.
        reply: bytes, the complete stateless reply, for ``request.reply_address``; None: send nothing.
        cause: Cause, the reason of the decision.
        username: str, from the credentials that decided, or None.
        realm: str, used for authentication, or None.
        reason: str, the reason phrase of `status` (RFC 3261, 21), or None.
        headers: pairs (name, value), for a reply that the caller builds.
    """

    def __init__(self, int return_code, cause, status=None, reply=None, username=None, realm=None, headers=()):
        self.return_code = return_code
        self.cause = cause
        self.status = status
        self.reply = reply
        self.username = username
        self.realm = realm
        self.headers = headers

    @property
    def reason(self):
        """The reason phrase that belongs to `status`, str (RFC 3261, 21); None if there is no reply."""
        return _REASONS.get(self.status)

    @property
    def authorized(self):
        """Whether the request is let through, bool."""
        return self.return_code == 1

    def __bool__(self):
        return self.return_code == 1

    def __reduce__(self):
        # For another process. The pickling that Cython generates would skip the checks of __init__.
        return Decision, (
            self.return_code, self.cause, self.status, self.reply, self.username, self.realm, self.headers)

    def __repr__(self):
        cause = getattr(self.cause, "name", None)
        return (f"<Decision {cause} return_code={self.return_code} status={self.status} "
                f"username={self.username!r} realm={self.realm!r}>")
