"""The dialect of DISC: what DISC gets and judges, and what our client gets."""

import types

from libc.stdint cimport uint32_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from auth_diameter._core.auth.answer cimport SERVICE_OF_AUTHENTICATION, SERVICE_UNKNOWN, VERDICT_SUCCESS
from auth_diameter._core.base.chars cimport ad_find_control, ad_find_quote
from auth_diameter._core.base.scratch cimport ad_scratch_release
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport AnswerView, MAX_CHALLENGE
from auth_diameter._core.diameter.codes cimport (
    FLAG_REQUEST, RESULT_AUTHENTICATION_REJECTED, RESULT_SUCCESS, SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.diameter.disc cimport read_response
from auth_diameter._core.diameter.disc_answer cimport (
    Known, answer_size, challenge_size, put_answer, put_challenge, put_whole_answer, read_answer,
    whole_answer_size,
)
from auth_diameter._core.diameter.disc_question cimport QuestionView, read_question
from auth_diameter._core.diameter.header cimport get_u32
from auth_diameter._core.diameter.received cimport GOOD_CREDENTIALS, NO_CREDENTIALS
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, frame
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.path.inquiry cimport Case, STAGE_DONE, Work, begin_case
from auth_diameter._core.path.outcome cimport MALFORMED_CREDENTIALS, OUTCOMES, OUTCOME_NONE
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.nonce_counts cimport NonceUses
from auth_diameter._core.state.nonces cimport Nonces
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.users cimport Users

from targets.messages cimport each_message
from targets.promises cimport equal, hold, inside, span_of
from targets.requests cimport check_challenges


# ---------------------------------------------------------------------------------- disc_session

# A DISC that knows alice and, of siphub.net, what is offered to whom; of all else it lacks the keys.
_NAMES = ("MD5", "SHA-256", "SHA-512-256")
_CONFIG = types.SimpleNamespace(
    algorithms=tuple(name + sess for name in _NAMES for sess in ("", "-sess")), qop=("auth", "auth-int"),
    uri_policy="host", nonce_uses=2, max_challenges=2, limit_accounts=True, bind_source=False,
    userhash=True, authentication_info=True, rechallenge=True)
_users = Users({kind: 1 << 20 for kind in ("realm", "user", "hashed", "algorithms")})
_users.put(("siphub.net", "realm"), ("siphub.net",))
for _name in _NAMES:
    _users.put(("alice", "siphub.net", _name, "user"), (True, "0" * (32 if _name == "MD5" else 64)))
_users.put(("alice", "siphub.net", "algorithms"), (("MD5",), _NAMES))
cdef Judge _judge = Judge(
    _users, Nonces(b"sixteen secret bytes"), NonceUses(), Penalties(shared=True), _CONFIG, 1 << 16, 1 << 16)


cdef Span CHALLENGE = span_of('Digest realm="siphub.net", nonce="0123456789abcdef", algorithm=MD5, qop="auth"')


cdef void check_answer(const QuestionView *question, uint32_t result_code, int challenges) noexcept nogil:
    """What DISC answers is what our own client reads."""
    cdef size_t more = <size_t>challenges * challenge_size(CHALLENGE)
    cdef size_t n = answer_size(question) + more
    cdef uint8_t *out = <uint8_t *>malloc(n)
    cdef uint8_t *q = out + put_answer(out, question, result_code, more)
    cdef AnswerView answer
    cdef int i
    for _i in range(challenges):
        q = put_challenge(q, CHALLENGE)
    hold(q == out + n, "an answer has the size it says")
    hold(n >= DEFAULT_LIMIT or frame(out, n, DEFAULT_LIMIT) == <Py_ssize_t>n, "an answer is a message")
    hold(not out[4] & FLAG_REQUEST, "and no question")
    read_answer(out, n, NULL, &answer)
    hold((answer.says.service == SERVICE_OF_AUTHENTICATION) == (question.service_type == SERVICE_AUTHENTICATION)
         and (answer.says.service == SERVICE_UNKNOWN) == (question.service_type == 0),
         "the Service-Type is repeated")
    hold(answer.says.challenges == challenges, "the Challenges come through")
    for i in range(challenges):
        hold(equal(answer.says.challenge[i], CHALLENGE), "as they are")
    if question.msgid.n == 4:
        hold(answer.says.code == result_code, "the Result-Code comes through")
        hold(answer.msgid == get_u32(question.msgid.p), "the SIP-MSGID is repeated")
    elif question.msgid.n == 0:
        hold(answer.msgid == question.header.hop_by_hop, "else the Hop-by-Hop Identifier is")
    else:
        hold(answer.msgid == -1 and answer.says.fault != NULL, "a SIP-MSGID of another size is nobody's")
    free(out)


cdef void check_case(const Case *case, const QuestionView *q) noexcept nogil:
    """What a judged question is answered with has the size that was made room for, and our client reads it."""
    cdef AnswerView answer
    cdef size_t n
    cdef uint8_t *out
    hold(case.stage == STAGE_DONE or case.lacks, "a question has an answer, or lacks a key")
    if case.stage != STAGE_DONE:
        return
    hold(OUTCOME_NONE < case.outcome < OUTCOMES, "an answer has an outcome")
    hold(case.answer.verdict != VERDICT_SUCCESS or q.service_type == SERVICE_GROUP_CHECK,
         "nobody guesses a digest")
    n = whole_answer_size(q, &case.answer)
    out = <uint8_t *>malloc(n)
    hold(put_whole_answer(out, q, &case.answer) == out + n, "an answer has the size it says")
    if n < DEFAULT_LIMIT:
        hold(frame(out, n, DEFAULT_LIMIT) == <Py_ssize_t>n, "an answer is a message")
        read_answer(out, n, NULL, &answer)
        hold(answer.says.challenges == case.answer.challenges or answer.says.fault != NULL,
             "the Challenges come through")
    free(out)


cdef void judge(const QuestionView *q, const DigestFields *credentials, int malformed) noexcept nogil:
    """A question is judged, with the realm and the user in it at hand or not."""
    cdef Work work
    cdef Case case
    memset(&work, 0, sizeof(work))
    begin_case(&case)
    case.ask.credentials = credentials
    case.ask.told = q.told
    case.ask.malformed = malformed
    case.ask.is_group_check = q.service_type == SERVICE_GROUP_CHECK
    case.ask.extended = q.told.serial != 0
    case.ask.one_challenge = q.told.serial & 1
    work.cases = &case
    work.count = 1
    work.now = 1_800_000_000.0
    hold(_judge.judge_to_the_end(&work), "there is memory")
    check_case(&case, q)
    ad_scratch_release(&work.scratch)


cdef void ask_disc(const uint8_t *p, size_t n) noexcept nogil:
    """A message that DISC gets: what is in a question, how it is judged, and the answer to it."""
    cdef QuestionView q
    cdef DigestFields credentials
    cdef const uint8_t *end = p + n
    cdef size_t offset = 0
    cdef int status
    if not p[4] & FLAG_REQUEST:
        return
    read_question(p, n, &q)
    hold(inside(q.msgid, p, end) and inside(q.told.user_name, p, end) and inside(q.told.realm, p, end)
         and inside(q.told.resource, p, end) and inside(q.response, p, end)
         and inside(q.told.method, p, end) and inside(q.told.group, p, end)
         and inside(q.told.body_hash, p, end) and inside(q.told.source, p, end),
         "what is asked lies inside the message")
    if q.fault:
        hold(3000 < q.fault < 6000, "a refusal is a Result-Code")
        check_answer(&q, q.fault, 0)
        return
    hold(q.told.user_name.n > 0 and q.told.realm.p != NULL, "a question has a user and a realm")
    status = read_response(&q, &credentials, &offset)
    hold(offset <= q.response.n, "an error lies inside the Response")
    hold(q.response.p != NULL or status == NO_CREDENTIALS, "there are no credentials without a Response")
    judge(&q, &credentials if status == GOOD_CREDENTIALS else NULL,
          0 if status == GOOD_CREDENTIALS or status == NO_CREDENTIALS else MALFORMED_CREDENTIALS)
    check_answer(&q, RESULT_SUCCESS if q.response.p != NULL else RESULT_AUTHENTICATION_REJECTED,
                 0 if q.response.p != NULL else 1 + (q.told.user_name.n & 1))


cdef int disc_session(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a TCP connection to DISC: questions, what is in them, and the answers to them."""
    each_message(data, size, ask_disc)
    return 0


cdef Judge the_judge():
    """The rules and the users of that DISC."""
    return _judge


# ---------------------------------------------------------------------------------- client_answers

# What the reader remembers, from one input to the next one.
cdef Known _known


cdef void answer_client(const uint8_t *p, size_t n) noexcept nogil:
    """A message that our client gets: what is in an answer, and the SIP reply that carries its Challenges."""
    cdef AnswerView answer, same
    cdef const uint8_t *end = p + n
    cdef Span text
    cdef size_t total = 0
    cdef int i
    if p[4] & FLAG_REQUEST:
        return
    read_answer(p, n, NULL, &answer)
    read_answer(p, n, &_known, &same)
    hold(memcmp(&answer, &same, sizeof(answer) - sizeof(answer.text)) == 0, "what is remembered changes nothing")
    hold(inside(answer.says.response_auth, p, end) and inside(answer.says.nextnonce, p, end)
         and inside(answer.says.user_name, p, end), "what comes with a success lies inside the message")
    if answer.says.nextnonce.p != NULL:
        hold(ad_find_quote(answer.says.nextnonce.p, answer.says.nextnonce.p + answer.says.nextnonce.n)
             == answer.says.nextnonce.p + answer.says.nextnonce.n, "a nonce to come fits between quotes")
    hold(answer.msgid == -1 or answer.msgid == <uint32_t>answer.msgid, "an id of 32 bits, or none")
    hold(answer.says.fault != NULL or answer.msgid >= 0, "an answer of nobody is not to be used")
    for i in range(answer.says.challenges):
        text = answer.says.challenge[i]
        hold(text.n > 0 and inside(text, p, end), "a Challenge lies inside the message")
        hold(ad_find_control(text.p, text.p + text.n) == text.p + text.n,
             "no CR, LF or NUL becomes part of a header")
        total += text.n
    hold(total <= MAX_CHALLENGE, "Challenges are no longer than a reply takes")
    check_challenges(answer.says.challenge, answer.says.challenges)


cdef int client_answers(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a TCP connection from DISC: answers, and the SIP replies that carry their Challenge."""
    each_message(data, size, answer_client)
    return 0


TARGETS = {
    "disc_session": <uintptr_t>&disc_session,
    "client_answers": <uintptr_t>&client_answers,
}
