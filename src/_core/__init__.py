"""The compiled core: bytes to values and back. This is its one door; Python imports from here only.

It opens no socket, reads no clock, writes no log and knows no configuration.
"""

from __future__ import annotations

from auth_diameter._core.avp import Avp
from auth_diameter._core.decision import Decision
from auth_diameter._core.digest import Challenge, Credentials, format_challenge, quote
from auth_diameter._core.disc_dialect import (
    AaRequest,
    Answer,
    AnswerStream,
    Question,
    RequestStream,
    append_answer,
    append_question,
    authentication,
    group_check,
)
from auth_diameter._core.errors import ConfigError, DiscError, Error, ParseError
from auth_diameter._core.message import Framer, Message, format_message, message_length
from auth_diameter._core.name_addr import NameAddr
from auth_diameter._core.nonces import NonceUses, Use
from auth_diameter._core.penalties import Attempt, Penalties
from auth_diameter._core.response import (
    body_hash,
    digest_response,
    ha1,
    md5_lanes,
    user_hash,
    verify,
    verify_many,
)
from auth_diameter._core.sip import SipRequest
from auth_diameter._core.sockets import DatagramBatch, exchange
from auth_diameter._core.transactions import Transactions
from auth_diameter._core.uri import Uri

__all__ = [
    "AaRequest",
    "Answer",
    "AnswerStream",
    "Attempt",
    "Avp",
    "Challenge",
    "ConfigError",
    "Credentials",
    "DatagramBatch",
    "Decision",
    "DiscError",
    "Error",
    "Framer",
    "Message",
    "NameAddr",
    "NonceUses",
    "ParseError",
    "Penalties",
    "Question",
    "RequestStream",
    "SipRequest",
    "Transactions",
    "Uri",
    "Use",
    "append_answer",
    "append_question",
    "authentication",
    "body_hash",
    "digest_response",
    "exchange",
    "format_challenge",
    "format_message",
    "group_check",
    "ha1",
    "md5_lanes",
    "message_length",
    "quote",
    "user_hash",
    "verify",
    "verify_many",
]
