"""Cx of 3GPP (TS 29.228 and 29.229) as a client speaks it: MAR and MAA with the scheme ``SIP Digest``.

An HSS delegates HA1. It makes no nonces and checks no digests, so a question here is about a user, not about a SIP
request::

    MAR   Session-Id
          Vendor-Specific-Application-Id      Vendor-Id 10415, Auth-Application-Id 16777216
          Auth-Session-State                  NO_STATE_MAINTAINED
          Origin-Host, Origin-Realm, Destination-Realm, [Destination-Host]
          User-Name                           the username of the digest, as it is spelled
          Public-Identity                     its address, a SIP URI
          SIP-Number-Auth-Items               1
          SIP-Auth-Data-Item                  SIP-Authentication-Scheme "SIP Digest"
          Server-Name                         our SIP URI

    MAA   Session-Id, Result-Code or Experimental-Result, [User-Name], and with success:
          SIP-Auth-Data-Item
              SIP-Authentication-Scheme       "SIP Digest"
              SIP-Digest-Authenticate         Digest-Realm, [Digest-Algorithm], [Digest-QoP], Digest-HA1,
                                              [Alternate-Digest-Algorithm, Alternate-Digest-HA1]

The AVPs from 600 on have the vendor 3GPP. An absent Digest-Algorithm is MD5. FHoSS leaves Digest-QoP out.
"""

import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memset

from auth_diameter._core.auth.answer cimport (
    UNUSABLE_HA1, UNUSABLE_ITEMS, UNUSABLE_OTHERWISE, UNUSABLE_SCHEME,
    VERDICT_FAILURE, VERDICT_REJECTED, VERDICT_SUCCESS, AnswerFields,
)
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.base.chars cimport ad_is_hex
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of, span_of_bytes, text_of
from auth_diameter._core.diameter.answer_fault cimport (
    begin_maa, check_result, fail, is_unknown, match_session, read_group, read_whole,
)
from auth_diameter._core.diameter.application cimport (
    AnswerView, Application, Asked, Delegation, continue_flight, keep_identifiers,
)
from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AVP_VENDOR_HEADER, AvpView, avp_put, avp_put_in_place, avp_put_u32,
)
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX, AVP_AUTHORIZATION_LIFETIME, AVP_AUTH_SESSION_STATE,
    AVP_CX_ALTERNATE_ALGORITHM, AVP_CX_ALTERNATE_HA1, AVP_CX_PUBLIC_IDENTITY, AVP_CX_SERVER_NAME,
    AVP_CX_SIP_AUTHENTICATION_SCHEME, AVP_CX_SIP_AUTH_DATA_ITEM, AVP_CX_SIP_DIGEST_AUTHENTICATE,
    AVP_CX_SIP_NUMBER_AUTH_ITEMS, AVP_DIGEST_ALGORITHM, AVP_DIGEST_HA1, AVP_DIGEST_REALM,
    AVP_EXPERIMENTAL_RESULT, AVP_EXPERIMENTAL_RESULT_CODE, AVP_MANDATORY, AVP_ORIGIN_HOST, AVP_RESULT_CODE,
    AVP_SESSION_ID, AVP_USER_NAME,
    COMMAND_CX_MULTIMEDIA_AUTH, NO_STATE_MAINTAINED, RESULT_CX_IDENTITIES_DONT_MATCH, RESULT_CX_USER_UNKNOWN,
    RESULT_SUCCESS, VENDOR_3GPP,
)
from auth_diameter._core.diameter.cx_avp cimport put_3gpp, put_3gpp_group, put_3gpp_u32, put_cx_application
from auth_diameter._core.diameter.header cimport HEADER_SIZE, Header, get_u32
from auth_diameter._core.diameter.sip_request cimport Route, put_request_header, put_route, put_session
from auth_diameter._core.diameter.stream cimport frame
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, ad_algorithms
from auth_diameter._core.digest.params cimport ALGORITHM, DigestFields, classify_algorithm

cdef enum:
    # Header, the headers and padding of all AVPs, and the values of a known size
    FRAME_ROOM = HEADER_SIZE + 24 * 16

cdef Span SCHEME = Span(<const uint8_t *>b"SIP Digest", 10)


@cython.final
cdef class CxApplication(Application):
    """CxApplication(origin_host, origin_realm, first, server_name, *, \
destination_realm="", destination_host="")\n--\n
    Cx as a client speaks it: it looks HA1 up.

    Args:
        origin_host: DiameterIdentity of the client, str.
        origin_realm: its realm, str.
        first: the first End-to-End Identifier, int.
        server_name: SIP URI of the client, str.
        destination_realm: realm of the HSS, str; "": the realm that is asked about.
        destination_host: DiameterIdentity of the HSS, str; "": any of the realm.
    """

    cdef Route route            # its server_uri is the Server-Name
    cdef tuple kept             # the texts of `route`
    cdef uint32_t sessions[2]   # the numbers of the next Session-Id

    def __cinit__(self, str origin_host not None, str origin_realm not None, uint32_t first,
                  str server_name not None, *, str destination_realm not None="",
                  str destination_host not None=""):
        self.is_standard = True
        texts = origin_host, origin_realm, destination_realm, destination_host, server_name
        self.kept = tuple([text.encode() for text in texts])
        span_of(self.kept[0], &self.route.origin_host, "origin_host")
        span_of(self.kept[1], &self.route.origin_realm, "origin_realm")
        span_of(self.kept[2], &self.route.destination_realm, "destination_realm")
        span_of(self.kept[3], &self.route.destination_host, "destination_host")
        span_of(self.kept[4], &self.route.server_uri, "server_name")
        self.next_end_to_end = first
        self.sessions[0] = <uint32_t>int.from_bytes(os.urandom(4), "little")

    cdef size_t room_of(self, Question q) except 0:
        cdef Span realm, user_name, identity
        if not q.is_ha1_lookup:
            raise TypeError("question: about a SIP request, and Cx is asked about users")
        _kept = (borrow(q.realm_name, &realm, "realm"), borrow(q.user, &user_name, "user_name"),
                 borrow(q.group_name, &identity, "public_identity"))
        return (FRAME_ROOM + 2 * self.route.origin_host.n + self.route.origin_realm.n + realm.n
                + self.route.destination_realm.n + self.route.destination_host.n + self.route.server_uri.n
                + user_name.n + identity.n)

    cdef size_t write(self, Question q, uint8_t *out, uint32_t msgid) except 0:
        cdef Span realm, user_name, identity
        cdef Asked asked
        cdef size_t n
        memset(&asked, 0, sizeof(asked))
        _kept = (borrow(q.realm_name, &realm, "realm"), borrow(q.user, &user_name, "user_name"),
                 borrow(q.group_name, &identity, "public_identity"))
        asked.realm = realm
        asked.msgid = msgid
        continue_flight(&q.flight, &asked)
        if not asked.end_to_end:
            asked.end_to_end = self.claim_end_to_end()
            self.sessions[1] += 1
            asked.session[0] = self.sessions[0]
            asked.session[1] = self.sessions[1]
        n = put_mar(out, &asked, &self.route, user_name, identity)
        keep_identifiers(&asked, &q.flight)
        return n

    cdef bint read(self, const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
        return read_maa(p, n, out)

    cdef void match(self, const Flight *flight, AnswerView *view) noexcept nogil:
        match_session(flight, &self.route, view)


# ---------------------------------------------------------------------------------- written


cdef size_t put_mar(uint8_t *out, const Asked *asked, const Route *route, Span user_name,
                    Span identity) noexcept nogil:
    """Writes the MAR about a user.

    Returns:
        The size.
    """
    cdef uint8_t *q = out + HEADER_SIZE
    cdef uint8_t *end
    q = avp_put_in_place(q, AVP_SESSION_ID, put_session(q + AVP_HEADER, route.origin_host, asked.session))
    q = put_cx_application(q)
    q = avp_put_u32(q, AVP_AUTH_SESSION_STATE, AVP_MANDATORY, NO_STATE_MAINTAINED)
    q = put_route(q, route, asked.realm)
    q = avp_put(q, AVP_USER_NAME, AVP_MANDATORY, user_name.p, user_name.n)
    q = put_3gpp(q, AVP_CX_PUBLIC_IDENTITY, identity)
    q = put_3gpp_u32(q, AVP_CX_SIP_NUMBER_AUTH_ITEMS, 1)
    end = put_3gpp(q + AVP_VENDOR_HEADER, AVP_CX_SIP_AUTHENTICATION_SCHEME, SCHEME)
    q = put_3gpp_group(q, AVP_CX_SIP_AUTH_DATA_ITEM, AVP_MANDATORY, end)
    q = put_3gpp(q, AVP_CX_SERVER_NAME, route.server_uri)
    return put_request_header(out, q, asked, COMMAND_CX_MULTIMEDIA_AUTH, APPLICATION_CX)


# ---------------------------------------------------------------------------------- read


def cx_digest_of(bytes answer not None):
    """What a MAA of Cx tells the S-CSCF (3GPP TS 29.229, 6.3.36).

    Args:
        answer: bytes, one whole message.

    Returns:
        Tuple of str, Digest-Realm and Digest-HA1; or None: it holds no HA1, or must not be used.
    """
    cdef AnswerView view
    cdef Span message = span_of_bytes(answer)
    if (frame(message.p, message.n, 1 << 24) != <Py_ssize_t>message.n
            or not read_maa(message.p, message.n, &view) or not view.delegation.ha1.n):
        return None
    return text_of(view.delegation.realm), text_of(view.delegation.ha1)


cdef struct Reading:
    # A MAA that is being read
    AnswerView *out
    bint result             # whether it has a Result-Code or an Experimental-Result
    bint experimental       # which of them
    int items               # how many SIP-Auth-Data-Item
    bint scheme             # whether the item has its scheme
    bint digest             # and a SIP-Digest-Authenticate
    Span algorithm
    Span alternate


cdef bint read_maa(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
    """Reads one whole MAA, as framed.

    Returns:
        Whether the answer may be used; if not, `out.says.fault` is the reason.
    """
    cdef Header header
    cdef Reading reading
    cdef AnswerFields *says = &out.says
    memset(&reading, 0, sizeof(reading))
    reading.out = out
    begin_maa(p, COMMAND_CX_MULTIMEDIA_AUTH, APPLICATION_CX, &header, out)
    read_whole(p, n, read_avp, &reading, says)
    check_result(&header, reading.result, says)
    says.verdict = VERDICT_FAILURE
    if says.fault != NULL:
        return False
    if not reading.experimental and says.code == RESULT_SUCCESS:
        check_delegation(&reading)
        if says.fault == NULL:
            says.verdict = VERDICT_SUCCESS
    elif reading.experimental and (
            says.code == RESULT_CX_USER_UNKNOWN or says.code == RESULT_CX_IDENTITIES_DONT_MATCH):
        says.verdict = VERDICT_REJECTED
    if says.verdict != VERDICT_SUCCESS:     # nobody has checked them
        out.delegation.ha1 = out.delegation.alternate_ha1 = Span(NULL, 0)
    return says.fault == NULL


cdef void check_delegation(Reading *reading) noexcept nogil:
    """Checks what HA1 a success delegates."""
    cdef Delegation *given = &reading.out.delegation
    cdef AnswerFields *says = &reading.out.says
    if not reading.digest:
        fail(says, UNUSABLE_SCHEME, "no SIP-Digest-Authenticate")
        return
    if given.ha1.p == NULL or given.realm.p == NULL:
        fail(says, UNUSABLE_OTHERWISE, "SIP-Digest-Authenticate without Digest-Realm or Digest-HA1")
        return
    given.algorithm = algorithm_named(reading.algorithm)
    given.alternate_algorithm = ALGORITHM_UNKNOWN
    if reading.alternate.p != NULL:
        given.alternate_algorithm = algorithm_named(reading.alternate)
    if not is_ha1(given.ha1, given.algorithm):
        fail(says, UNUSABLE_HA1, "Digest-HA1 is none of its algorithm")
    elif given.alternate_ha1.p != NULL and not is_ha1(given.alternate_ha1, given.alternate_algorithm):
        fail(says, UNUSABLE_HA1, "Alternate-Digest-HA1 is none of its algorithm")


cdef inline int algorithm_named(Span name) noexcept nogil:
    """The algorithm with that name; ALGORITHM_UNKNOWN also for a session algorithm, whose HA1 has a cnonce.

    No name means MD5.
    """
    cdef DigestFields fields
    memset(&fields, 0, sizeof(fields))
    fields.value[ALGORITHM] = name
    classify_algorithm(&fields)
    return ALGORITHM_UNKNOWN if fields.sess else fields.algorithm


cdef inline bint is_ha1(Span text, int algorithm) noexcept nogil:
    return (algorithm != ALGORITHM_UNKNOWN and text.n == ad_algorithms[algorithm].digits
            and ad_is_hex(text.p, text.n))


cdef void read_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of the message itself."""
    cdef Reading *reading = <Reading *>to
    cdef AnswerView *out = reading.out
    cdef AnswerFields *says = &out.says
    if is_unknown(avp, says):
        return
    if avp.vendor_id == VENDOR_3GPP and avp.code == AVP_CX_SIP_AUTH_DATA_ITEM:
        reading.items += 1
        if reading.items > 1:
            fail(says, UNUSABLE_ITEMS, "more than one SIP-Auth-Data-Item")
            return
        read_group(avp.data, read_item_avp, reading, says)
        if not reading.scheme:
            fail(says, UNUSABLE_SCHEME, "no SIP-Authentication-Scheme")
    elif avp.vendor_id:
        return
    elif avp.code == AVP_SESSION_ID:
        if out.session_id.p != NULL:
            fail(says, UNUSABLE_OTHERWISE, "Session-Id twice")
        out.session_id = avp.data
    elif avp.code == AVP_ORIGIN_HOST:
        out.origin_host = avp.data
    elif avp.code == AVP_USER_NAME:
        out.delegation.user_name = avp.data
    elif avp.code == AVP_RESULT_CODE:
        read_result(avp, reading)
    elif avp.code == AVP_EXPERIMENTAL_RESULT:
        reading.experimental = True
        read_group(avp.data, read_experimental_avp, reading, says)
    elif avp.code == AVP_AUTHORIZATION_LIFETIME and avp.data.n == 4:
        out.delegation.lifetime = get_u32(avp.data.p)


cdef inline void read_result(const AvpView *avp, Reading *reading) noexcept nogil:
    cdef AnswerFields *says = &reading.out.says
    if avp.data.n != 4 or reading.result:
        fail(says, UNUSABLE_OTHERWISE, "the result has a wrong size, or is there twice")
    else:
        says.code = get_u32(avp.data.p)
    reading.result = True


cdef void read_experimental_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of Experimental-Result (RFC 6733, 7.6)."""
    if not avp.vendor_id and avp.code == AVP_EXPERIMENTAL_RESULT_CODE:
        read_result(avp, <Reading *>to)


cdef void read_item_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Auth-Data-Item (TS 29.229, 6.3.13)."""
    cdef Reading *reading = <Reading *>to
    cdef AnswerFields *says = &reading.out.says
    if is_unknown(avp, says) or avp.vendor_id != VENDOR_3GPP:
        return
    if avp.code == AVP_CX_SIP_AUTHENTICATION_SCHEME:
        if reading.scheme or avp.data.n != SCHEME.n or memcmp(avp.data.p, SCHEME.p, SCHEME.n) != 0:
            fail(says, UNUSABLE_SCHEME, "SIP-Authentication-Scheme is not SIP Digest")
        reading.scheme = True
    elif avp.code == AVP_CX_SIP_DIGEST_AUTHENTICATE:
        if reading.digest:
            fail(says, UNUSABLE_ITEMS, "SIP-Digest-Authenticate twice")
            return
        reading.digest = True
        read_group(avp.data, read_digest_avp, reading, says)


cdef void read_digest_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Digest-Authenticate (TS 29.229, 6.3.36)."""
    cdef Reading *reading = <Reading *>to
    cdef Delegation *given = &reading.out.delegation
    cdef Span *place = NULL
    if is_unknown(avp, &reading.out.says):
        return
    if avp.vendor_id == VENDOR_3GPP:
        if avp.code == AVP_CX_ALTERNATE_ALGORITHM:
            place = &reading.alternate
        elif avp.code == AVP_CX_ALTERNATE_HA1:
            place = &given.alternate_ha1
    elif avp.code == AVP_DIGEST_REALM:
        place = &given.realm
    elif avp.code == AVP_DIGEST_ALGORITHM:
        place = &reading.algorithm
    elif avp.code == AVP_DIGEST_HA1:
        place = &given.ha1
    if place == NULL:
        return
    if place.p != NULL:
        fail(&reading.out.says, UNUSABLE_OTHERWISE, "an AVP of SIP-Digest-Authenticate twice")
    place[0] = avp.data
