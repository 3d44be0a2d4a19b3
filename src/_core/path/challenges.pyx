"""What an answer holds besides its verdict: the challenge, and Authentication-Info (RFC 7616, 3.3 and 3.5)."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.base.quoting cimport put_escaped, put_span, put_text
from auth_diameter._core.base.scratch cimport ad_scratch_take
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport QOP_NONE
from auth_diameter._core.digest.responses cimport MAX_DIGITS, Response, is_computable, put_hash, put_response
from auth_diameter._core.path.case cimport response_of
from auth_diameter._core.path.outcome cimport is_stale
from auth_diameter._core.path.settings cimport QOP_ROOM, name_of_algorithm
from auth_diameter._core.state.nonces cimport NONCE_SIZE, nonce_made_at
from auth_diameter._core.state.values cimport Key, values_copy, values_put

cdef enum:
    CHALLENGE_ROOM = 128    # bytes of a challenge besides the values in it

cdef Span NOTHING = Span(<const uint8_t *>b"", 0)


cdef Binding binding_of(const Rules *rules, const Case *case, Span realm, Span algorithm) noexcept nogil:
    """What a nonce for this case is bound to."""
    cdef Binding binding
    binding.realm = realm
    binding.algorithm = algorithm
    binding.source = NOTHING
    if rules.bind_source:
        binding.source = case.ask.told.source
    return binding


cdef bint add_challenge(const Rules *rules, Nonces nonces, Work *work, Case *case,
                        const Offered *one) noexcept nogil:
    """Adds the value of a WWW-Authenticate header (RFC 7616, 3.3), which ends with a quoted parameter.

    Returns:
        False if there is no memory.
    """
    cdef Span realm = case.challenged_realm
    cdef Binding bound = binding_of(rules, case, realm, one.name)
    cdef Span qop = Span(<const uint8_t *>rules.qop, rules.qop_size)
    cdef uint8_t *out = <uint8_t *>ad_scratch_take(
        &work.scratch, CHALLENGE_ROOM + 2 * realm.n + NONCE_SIZE + one.name.n + QOP_ROOM)
    cdef uint8_t *q = out
    if out == NULL:
        return False
    q = put_text(q, b'Digest realm="')
    q = put_escaped(q, realm)
    q = put_text(q, b'", nonce="')
    nonces.put_nonce(q, &bound, work.now)
    q = put_text(q + NONCE_SIZE, b'"')
    if is_stale(case.outcome):
        q = put_text(q, b", stale=true")
    if rules.userhash:
        q = put_text(q, b", userhash=true")
    q = put_text(q, b", algorithm=")
    q = put_span(q, one.name)
    q = put_text(q, b', qop="')
    # A SIP server without extensions sends no hash of the body.
    q = put_span(q, qop) if case.ask.extended else put_text(q, b"auth")
    q = put_text(q, b'"')
    case.answer.challenge[case.answer.challenges] = Span(out, <size_t>(q - out))
    case.answer.challenges += 1
    return True


cdef void put_authentication_info(const Rules *rules, Nonces nonces, Values *following, Work *work,
                                  Case *case) noexcept nogil:
    """Adds rspauth to a success, and the next nonce if this one is soon at its end (RFC 7616, 3.5).

    With auth-int the proof is for a reply without a body, as the reply is not known here.
    """
    cdef Response proof = response_of(case, case.ha1)
    cdef uint8_t of_nothing[MAX_DIGITS]
    cdef uint8_t *room = <uint8_t *>ad_scratch_take(&work.scratch, MAX_DIGITS + NONCE_SIZE)
    cdef bint used_up = case.ask.credentials.qop == QOP_NONE or 0 < rules.nonce_uses <= case.count
    cdef Key key
    cdef Binding bound
    if room == NULL:
        return
    proof.method = NOTHING      # A2 of the proof has none
    proof.body_hash = Span(<const uint8_t *>of_nothing, put_hash(of_nothing, proof.algorithm, NOTHING))
    if is_computable(&proof):
        case.answer.response_auth = Span(room, put_response(room, &proof))
    # A retransmission must get the same next nonce.
    memset(&key, 0, sizeof(key))
    key.part[0] = case.nonce
    key.part[1] = Span(<const uint8_t *>&case.count, sizeof(case.count))
    if not case.again and (used_up or work.now - nonce_made_at(case.nonce) > nonces.lifetime / 2):
        bound = binding_of(rules, case, case.realm, name_of_algorithm(proof.algorithm, proof.sess))
        case.answer.nextnonce = Span(room + MAX_DIGITS, NONCE_SIZE)
        nonces.put_nonce(room + MAX_DIGITS, &bound, work.now)
        values_put(following, &key, case.answer.nextnonce)
    elif values_copy(following, &key, &work.scratch, &case.answer.nextnonce) <= 0:
        case.answer.nextnonce = Span(NULL, 0)
