"""The two decisions about a request: whether a back end must be asked, and what its answer means.

::

    request ──► ask_about ─┬─► CAUSE_…    refused at once
                           └─► ASK ──► back end ──► answer ──► cause_of ──► CAUSE_…

Both work on structs, without the GIL: for requests in slots (turn.pyx), and for objects, by the functions at the
end. The tables of causes.py say what a CAUSE_… leads to.
"""

from auth_diameter._core.auth.answer cimport (
    PART_NONE, PART_SOURCE, SERVICE_OF_AUTHENTICATION, SERVICE_OF_GROUP_CHECK, SERVICE_UNKNOWN, UNUSABLE_HA1,
    UNUSABLE_ITEMS, UNUSABLE_SCHEME, UNUSABLE_SESSION, VERDICT_CHALLENGE, VERDICT_FAILURE, VERDICT_REJECTED,
    VERDICT_SUCCESS, Answer, AnswerFields, borrow_answer,
)
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.auth.rulings cimport (
    CAUSE_AUTHORIZED, CAUSE_BYPASSED, CAUSE_CHALLENGED, CAUSE_DISC_REFUSED, CAUSE_DISC_UNUSABLE, CAUSE_FORBIDDEN,
    CAUSE_MALFORMED_CREDENTIALS, CAUSE_MALFORMED_QOP, CAUSE_MALFORMED_RESPONSE, CAUSE_MEMBER, CAUSE_NO_IDENTITY,
    CAUSE_NOT_MEMBER, CAUSE_OTHER_SCHEME, CAUSE_OTHER_SESSION, CAUSE_PENALIZED, CAUSE_REALM_NOT_SERVED,
    CAUSE_RECHALLENGED, CAUSE_SEVERAL_ITEMS, CAUSE_TOO_LARGE, CAUSE_UNASKED_SUCCESS, CAUSE_UNFIT_HA1,
    CAUSE_UNKNOWN_ALGORITHM, CAUSE_UNKNOWN_QOP, CAUSES,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.diameter.application cimport Application
from auth_diameter._core.diameter.disc cimport DIALECT
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN
from auth_diameter._core.digest.challenge cimport is_stale_challenge
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport (
    BAD_QOP, BAD_RESPONSE, OK, OTHER_SCHEME, QOP_UNKNOWN, DigestFields,
)
from auth_diameter._core.sip.fields cimport AUTHORIZATION, PROXY_AUTHORIZATION
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, SipMessage, find_credentials, identity,
)
from auth_diameter._core.sip.request cimport SipRequest

from auth_diameter._core.auth.question import authentication


cdef bint is_bypassed(const SipMessage *m) noexcept nogil:
    """Whether the request is never challenged: an ACK or a CANCEL (RFC 3261, 22.1)."""
    return m.method == METHOD_ACK or m.method == METHOD_CANCEL


cdef Span domain_of_user(const SipMessage *m, bint proxy) noexcept nogil:
    """The realm that an empty one stands for; empty where the request lacks it.

    A proxy takes the host of From. A UAS takes the host of To for a REGISTER, whose To is the user to be
    registered (RFC 3261, 10.2), otherwise the host of From.
    """
    return m.from_.host if proxy else identity(m).host


cdef int ask_about(const SipMessage *m, Asking *asking) noexcept nogil:
    """Finds the credentials to ask about; realm and role are given.

    Returns:
        ASK, with the credentials found; or the CAUSE_… why the request is refused.
    """
    cdef size_t offset = 0
    cdef int status
    asking.has_credentials = False
    # Unless the realm comes from it, From may be a URI without a host, such as tel: or urn:. To of a REGISTER
    # is a SIP or SIPS URI (RFC 3261, 10.2) and must have a host.
    if asking.realm.n == 0 or (identity(m).host.n == 0 and (
            m.method == METHOD_REGISTER or m.from_.text.p == NULL)):
        return CAUSE_NO_IDENTITY
    status = find_credentials(m, PROXY_AUTHORIZATION if asking.proxy else AUTHORIZATION, asking.realm,
                              &asking.credentials, &offset)
    if status == OTHER_SCHEME:
        return ASK
    if status == OK:
        asking.has_credentials = True
        return ASK
    if status == BAD_QOP:
        return CAUSE_MALFORMED_QOP
    return CAUSE_MALFORMED_RESPONSE if status == BAD_RESPONSE else CAUSE_MALFORMED_CREDENTIALS


cdef int cause_of(const AnswerFields *says, const DigestFields *credentials, bint is_group_check) noexcept nogil:
    """The decision on a question that was answered.

    A success lets nobody in that answers another service, or a question without credentials.

    Args:
        says: the answer.
        credentials: those that were asked about; NULL: none.
        is_group_check: whether the question was about a group.

    Returns:
        CAUSE_…; CAUSE_AUTHORIZED or CAUSE_MEMBER for a request that is let through.
    """
    if says.fault != NULL:
        return cause_of_fault(says.unusable)
    if says.verdict == VERDICT_FAILURE:
        return CAUSE_DISC_REFUSED
    if is_group_check:
        if says.verdict != VERDICT_SUCCESS:
            return CAUSE_NOT_MEMBER
        return CAUSE_MEMBER if answers_service(says, SERVICE_OF_GROUP_CHECK) else CAUSE_DISC_UNUSABLE
    if says.verdict == VERDICT_SUCCESS:
        if credentials == NULL:
            return CAUSE_UNASKED_SUCCESS
        return CAUSE_AUTHORIZED if answers_service(says, SERVICE_OF_AUTHENTICATION) else CAUSE_DISC_UNUSABLE
    if says.verdict == VERDICT_CHALLENGE:
        if says.challenges == 0:
            return CAUSE_DISC_UNUSABLE
        return CAUSE_CHALLENGED if credentials == NULL or has_stale(says) else CAUSE_RECHALLENGED
    if credentials == NULL:
        return CAUSE_REALM_NOT_SERVED if says.verdict == VERDICT_REJECTED else CAUSE_FORBIDDEN
    if says.refused == PART_SOURCE:
        return CAUSE_PENALIZED
    # DISC does not say whether the user is unknown or the password wrong. The rest the credentials tell.
    if credentials.algorithm == ALGORITHM_UNKNOWN:
        return CAUSE_UNKNOWN_ALGORITHM
    return CAUSE_UNKNOWN_QOP if credentials.qop == QOP_UNKNOWN else CAUSE_FORBIDDEN


cdef inline int cause_of_fault(int unusable) noexcept nogil:
    """The CAUSE_… of an answer that must not be used."""
    if unusable == UNUSABLE_SESSION:
        return CAUSE_OTHER_SESSION
    if unusable == UNUSABLE_SCHEME:
        return CAUSE_OTHER_SCHEME
    if unusable == UNUSABLE_HA1:
        return CAUSE_UNFIT_HA1
    return CAUSE_SEVERAL_ITEMS if unusable == UNUSABLE_ITEMS else CAUSE_DISC_UNUSABLE


cdef inline bint answers_service(const AnswerFields *says, int service) noexcept nogil:
    return says.service == SERVICE_UNKNOWN or says.service == service


cdef bint has_stale(const AnswerFields *says) noexcept nogil:
    """Whether DISC calls the nonce stale but the digest right (RFC 7616, 3.3)."""
    cdef int i
    for i in range(says.challenges):
        if is_stale_challenge(says.challenge[i]):
            return True
    return False


cdef bint is_guess(int cause, int refused) noexcept nogil:
    """Whether a refusal counts as a wrong password; not if another part of the credentials was refused."""
    return refused == PART_NONE and (
        cause == CAUSE_RECHALLENGED or cause == CAUSE_FORBIDDEN or cause == CAUSE_UNKNOWN_ALGORITHM
        or cause == CAUSE_UNKNOWN_QOP)


# ---------------------------------------------------------------------------------- for objects


def ask(SipRequest request not None, str realm, bint proxy, bint tells_source, size_t most,
        Application application=None):
    """Decides whether DISC must be asked about a request.

    Args:
        request: SipRequest.
        realm: the realm, str; "": the domain of the user; None: the request lacks it.
        proxy: whether a proxy authenticates, not a UAS.
        tells_source: whether DISC is told the source address of the request.
        most: bytes that the question may have.
        application: Application, in which it has them; None: the DISC dialect.

    Returns:
        (Question, realm); or (Cause, realm), if the request is let through or refused at once.
    """
    cdef Asking asking
    cdef Credentials credentials = None
    cdef Question question
    cdef int cause
    if is_bypassed(&request.m):
        return CAUSES[CAUSE_BYPASSED], realm
    if realm is None:
        return CAUSES[CAUSE_NO_IDENTITY], realm
    _kept = borrow(realm, &asking.realm, "realm")
    asking.proxy = proxy
    if asking.realm.n == 0:
        asking.realm = domain_of_user(&request.m, proxy)
        realm = request.from_host if proxy else request.identity_host
    cause = ask_about(&request.m, &asking)
    if cause != ASK:
        return CAUSES[cause], realm
    if asking.has_credentials:
        credentials = new_credentials(request.data, &asking.credentials)
    question = authentication(request, realm, credentials, proxy, tells_source)
    if application is None:
        application = DIALECT
    if application.room_of(question) > most:
        return CAUSES[CAUSE_TOO_LARGE], realm
    return question, realm


def judge(Question question not None, Answer answer not None):
    """The decision on a question that was answered.

    Args:
        question: Question that was asked.
        answer: Answer to it.

    Returns:
        (Cause, bool): the cause, and whether the credentials count as a guess.
    """
    cdef AnswerFields says
    cdef const DigestFields *credentials = NULL
    cdef int cause
    borrow_answer(answer, &says)
    if question.credentials is not None:
        credentials = &question.credentials.fields
    cause = cause_of(&says, credentials, question.is_group_check)
    return CAUSES[cause], is_guess(cause, says.refused)
