"""The way of a SipRequest through a client of threads whose servers delegate HA1, as far as nobody is asked.

::

    bytes ─► parse_request ─► ask_about ─► judge_message ─┬─► Decision: it is let in
                                │ no credentials          ├─► policy ─┬─► Decision: it is refused
                                │                         │           └─► Question for the server
                                ▼                         ▼ not judged
                              None: the client goes on as without this

Bytes need no SipRequest if their credentials are right.
"""

cimport cython

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes, text_of
from auth_diameter._core.digest.credentials cimport new_credentials, user_text
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport ASK, Asking, ask_about, is_bypassed
from auth_diameter._core.path.delegated cimport DelegatedJudge, Judged, is_right, question_judged
from auth_diameter._core.path.objects cimport ObjectPath, bytes_of
from auth_diameter._core.path.realm cimport REALM_TEMPLATE, Realm, set_realm
from auth_diameter._core.sip.parse cimport SipMessage, clear_request, parse_request, release_request
from auth_diameter._core.sip.request cimport SipRequest, request_with
from auth_diameter._core.state.penalties cimport ADMITTED, Penalties


@cython.final
cdef class DelegatedObjects(ObjectPath):
    """The way of SipRequests through one client of threads; thread-safe. It has no `ask`: see `decide`.

    Args:
        policy: what Python decides. Its methods are `compile`, as for `ObjectPath`, and

            - judged(question, outcome, now): the Decision on credentials with that outcome, which are not let in;
              or the Question for the server. Its attempt, if it has one, is under way;
            - released(): is called when held questions may be asked.

        delegated: DelegatedJudge.
        decisions: Decisions, in which the decisions are counted.
        penalties: Penalties, or None: guesses are not counted.
        clock: function that returns seconds, of the clock of the delegations.
        tells_source: whether servers are told where a request came from.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
    """

    def __cinit__(self, policy, DelegatedJudge delegated not None, Decisions decisions not None,
                  Penalties penalties, clock, *, bint tells_source, **settings):
        self.delegated = delegated
        self.decisions = decisions
        self.penalties = penalties
        self.clock = clock
        self.tells_source = tells_source

    def decide(self, request, realm, bint proxy):
        """The Decision on a request, counted; or the Question for the server; None: nothing was decided.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        cdef Realm named = self.realm_named(realm)
        cdef SipMessage message
        cdef SipRequest taken
        cdef bytes data
        cdef object found = None
        if type(request) is SipRequest:
            taken = request
            found = self.decide_message(&taken.m, taken, None, named, proxy)
        elif named.origin != REALM_TEMPLATE:
            data = bytes_of(request)
            clear_request(&message)
            try:
                if parse_request(&message, span_of_bytes(data).p, span_of_bytes(data).n, self.max_size,
                                 self.max_headers):
                    found = self.decide_message(&message, None, data, named, proxy)
            finally:
                release_request(&message)
        if type(found) is Decision:
            self.add_up(found)
        return found

    cdef object decide_message(self, SipMessage *m, SipRequest request, bytes data, Realm realm, bint proxy):
        """As `decide`; `request` is None if nobody has the request as an object, but its `data`."""
        cdef Asking asking
        cdef Judged judged
        cdef Question question
        cdef double now
        cdef object found
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
        now = self.clock()
        if not self.delegated.judge_message(m, &asking, request, self.penalties, now, &judged):
            return None
        if is_right(judged.outcome):
            if judged.trial.state == ADMITTED:
                self.penalties.right_trial(&judged.trial, now)
            if request is not None:
                request.mark_authorized(new_credentials(request.data, &asking.credentials), proxy)
            found = self.authorized(user_text(&asking.credentials), text_of(asking.realm))
        else:
            if request is None:
                request = request_with(data, m, NULL)
            question = question_judged(request, &asking, self.tells_source, self.penalties, &judged, now)
            found = self.policy.judged(question, judged.outcome, now)
        if self.penalties is not None and self.penalties.any_released():
            self.policy.released()
        return found
