"""The way of a SipRequest through a client of threads whose servers delegate HA1, as far as nobody is asked.

::

    bytes ─► parse_request ─► ask_about ─► DelegatedJudge.lets_in ─┬─► Decision
                                                                   └─► None: the client goes on as without this

Here is what happens for right credentials whose nonce came with HA1. Bytes need no SipRequest.
"""

cimport cython

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes, text_of
from auth_diameter._core.digest.credentials cimport new_credentials, user_text
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, Asking, ask_about, is_bypassed
from auth_diameter._core.path.delegated cimport DelegatedJudge
from auth_diameter._core.path.objects cimport ObjectPath, bytes_of
from auth_diameter._core.path.realm cimport REALM_TEMPLATE, Realm, set_realm
from auth_diameter._core.sip.parse cimport SipMessage, clear_request, parse_request, release_request
from auth_diameter._core.sip.request cimport SipRequest, host_of_source
from auth_diameter._core.state.penalties cimport Penalties


@cython.final
cdef class DelegatedObjects(ObjectPath):
    """The way of SipRequests through one client of threads; thread-safe. It has no `ask`: see `decide`.

    Args:
        policy: what Python decides. Its methods are `compile`, as for `ObjectPath`, and

            - released(): is called when held questions may be asked.

        delegated: DelegatedJudge.
        decisions: Decisions, in which the decisions are counted.
        penalties: Penalties, or None: guesses are not counted.
        clock: function that returns seconds, of the clock of the delegations.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
    """

    def __cinit__(self, policy, DelegatedJudge delegated not None, Decisions decisions not None,
                  Penalties penalties, clock, **settings):
        self.delegated = delegated
        self.decisions = decisions
        self.penalties = penalties
        self.clock = clock

    def decide(self, request, realm, bint proxy):
        """The Decision that lets a request in, counted; None: nothing was decided.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef Realm named = self.realm_named(realm)
        cdef SipMessage message
        cdef SipRequest taken = None
        cdef Decision decision = None
        cdef bytes data
        if type(request) is SipRequest:
            taken = request
            decision = self.decide_message(&taken.m, taken, named, proxy)
        elif named.origin != REALM_TEMPLATE:
            data = bytes_of(request)
            clear_request(&message)
            try:
                if parse_request(&message, span_of_bytes(data).p, span_of_bytes(data).n, self.max_size,
                                 self.max_headers):
                    decision = self.decide_message(&message, None, named, proxy)
            finally:
                release_request(&message)
        if decision is not None:
            count(self.decisions, CAUSE_AUTHORIZED)
        return decision

    cdef Decision decide_message(self, const SipMessage *m, SipRequest request, Realm realm, bint proxy):
        """The Decision that lets a request in, or None; `request` is None if nobody has it as an object."""
        cdef Asking asking
        cdef Span source = Span(NULL, 0)
        asking.proxy = proxy
        asking.has_credentials = False
        asking.realm = Span(NULL, 0)
        _kept = realm
        if realm.origin != REALM_TEMPLATE:
            set_realm(realm, m, &asking)
        else:
            _kept = self.expand_realm(realm, request, &asking)
        if is_bypassed(m) or ask_about(m, &asking) != ASK or not asking.has_credentials:
            return None
        if request is not None:
            source = host_of_source(request)
        if not self.delegated.lets_in(m, &asking, source, request, self.penalties, self.clock()):
            return None
        if source.n and self.penalties is not None and self.penalties.any_released():
            self.policy.released()
        if request is not None:
            request.mark_authorized(new_credentials(request.data, &asking.credentials), proxy)
        return self.authorized(user_text(&asking.credentials), text_of(asking.realm))
