"""The compiled core: bytes to values and back. Python imports it only from here.

It opens no socket, reads no clock, writes no log and knows no configuration. The order of its layers is in
tests/test_layers.py, the return convention of its parsers in base/span.pxd.
"""

from __future__ import annotations

from auth_diameter._core.auth.answer import Answer
from auth_diameter._core.auth.causes import (
    FIELD_CODES,
    PROXY,
    REASONS,
    RULINGS,
    UAS,
    UNAVAILABLE,
    Cause,
    Headers,
    Role,
    Ruling,
)
from auth_diameter._core.auth.decision import Decision, authorized_as, mark_authorized
from auth_diameter._core.auth.question import Question, authentication, group_check, ha1_lookup
from auth_diameter._core.auth.verdict import Part, Service, Verdict
from auth_diameter._core.diameter.application import Application
from auth_diameter._core.diameter.avp import Avp
from auth_diameter._core.diameter.cx import CxApplication, cx_digest_of
from auth_diameter._core.diameter.cx_server import CxMarRequest
from auth_diameter._core.diameter.diameter_server import DiameterServer, DiameterStream
from auth_diameter._core.diameter.dictionary import avp_code, avp_flags, command_code, result_code
from auth_diameter._core.diameter.disc import (
    AaRequest,
    DiscApplication,
    RequestStream,
    append_answer,
    append_question,
    decode_answer,
    question_room,
)
from auth_diameter._core.diameter.message import Message, format_message
from auth_diameter._core.diameter.received import Received, mark_asker
from auth_diameter._core.diameter.sip import SipApplication
from auth_diameter._core.diameter.sip_server import MarRequest
from auth_diameter._core.diameter.stream import Framer, message_length
from auth_diameter._core.digest.algorithm import Algorithm
from auth_diameter._core.digest.algorithms import ALGORITHMS
from auth_diameter._core.digest.challenge import Challenge, format_challenge, quote
from auth_diameter._core.digest.compute import body_hash, digest_response, ha1, user_hash, verify
from auth_diameter._core.digest.credentials import QOPS, Credentials
from auth_diameter._core.digest.lanes import md5_lanes, verify_many
from auth_diameter._core.errors import ConfigError, DiscError, Error, ParseError
from auth_diameter._core.net.sockets import DatagramBatch, exchange
from auth_diameter._core.path.batch import Batch
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.decide import ask, judge
from auth_diameter._core.path.delegated import DelegatedJudge
from auth_diameter._core.path.delegated_objects import DelegatedObjects
from auth_diameter._core.path.digest_uri import fits as uri_fits
from auth_diameter._core.path.in_flight import InFlight
from auth_diameter._core.path.local_objects import LocalObjects
from auth_diameter._core.path.local_requests import LocalRequests
from auth_diameter._core.path.objects import ObjectPath, pending
from auth_diameter._core.path.remote_objects import RemoteObjects
from auth_diameter._core.path.remote_requests import RemoteRequests
from auth_diameter._core.path.requests import RequestPath
from auth_diameter._core.path.script_calls import ScriptCalls, ScriptFunction, ScriptMethod
from auth_diameter._core.path.script_requests import ScriptRequests
from auth_diameter._core.path.verify import Judge
from auth_diameter._core.path.wire import Wire, next_hop_by_hop, restart_msgids
from auth_diameter._core.path.worker_objects import WorkerObjects
from auth_diameter._core.sip.name_addr import NameAddr
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.sip.uri import Uri
from auth_diameter._core.state.breakers import Breakers
from auth_diameter._core.state.delegations import Delegations
from auth_diameter._core.state.keys import network_of
from auth_diameter._core.state.nonce_counts import NonceUses, Use
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.nonces import CLOCK_DRIFT, Nonces, NonceState
from auth_diameter._core.state.penalties import Attempt, Penalties
from auth_diameter._core.state.sharing import PENALTY_RULES, RECORDS, Sharing
from auth_diameter._core.state.transactions import Transactions
from auth_diameter._core.state.users import Users
from auth_diameter._core.state.values import BoundedValues

__all__ = [
    "ALGORITHMS",
    "CLOCK_DRIFT",
    "FIELD_CODES",
    "PENALTY_RULES",
    "PROXY",
    "QOPS",
    "REASONS",
    "RECORDS",
    "RULINGS",
    "UAS",
    "UNAVAILABLE",
    "AaRequest",
    "Algorithm",
    "Answer",
    "Application",
    "Attempt",
    "Avp",
    "Batch",
    "BoundedValues",
    "Breakers",
    "Cause",
    "Challenge",
    "ConfigError",
    "Credentials",
    "CxApplication",
    "CxMarRequest",
    "DatagramBatch",
    "Decision",
    "Decisions",
    "DelegatedJudge",
    "DelegatedObjects",
    "Delegations",
    "DiameterServer",
    "DiameterStream",
    "DiscApplication",
    "DiscError",
    "Error",
    "Framer",
    "Headers",
    "InFlight",
    "Judge",
    "LocalObjects",
    "LocalRequests",
    "MarRequest",
    "Message",
    "NameAddr",
    "NonceIssuers",
    "NonceState",
    "NonceUses",
    "Nonces",
    "ObjectPath",
    "ParseError",
    "Part",
    "Penalties",
    "Question",
    "Received",
    "RemoteObjects",
    "RemoteRequests",
    "RequestPath",
    "RequestStream",
    "Role",
    "Ruling",
    "ScriptCalls",
    "ScriptFunction",
    "ScriptMethod",
    "ScriptRequests",
    "Service",
    "Sharing",
    "SipApplication",
    "SipRequest",
    "Transactions",
    "Uri",
    "Use",
    "Users",
    "Verdict",
    "Wire",
    "WorkerObjects",
    "append_answer",
    "append_question",
    "ask",
    "authentication",
    "authorized_as",
    "avp_code",
    "avp_flags",
    "body_hash",
    "command_code",
    "cx_digest_of",
    "decode_answer",
    "digest_response",
    "exchange",
    "format_challenge",
    "format_message",
    "group_check",
    "ha1",
    "ha1_lookup",
    "judge",
    "mark_asker",
    "mark_authorized",
    "md5_lanes",
    "message_length",
    "network_of",
    "next_hop_by_hop",
    "pending",
    "question_room",
    "quote",
    "restart_msgids",
    "result_code",
    "uri_fits",
    "user_hash",
    "verify",
    "verify_many",
]
