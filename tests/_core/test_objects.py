"""Objects that nobody filled, and arguments that nobody would give: exceptions, never a crash or a hang.

Python lets anybody make an object by ``__new__`` alone. Compiled code that trusts what ``__init__`` or a
parser would have put there reads where nothing is.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.answer_stream import AnswerStream

import auth_diameter._core
from auth_diameter._core import (
    AaRequest,
    Answer,
    Attempt,
    Avp,
    Cause,
    Challenge,
    ConfigError,
    Credentials,
    DatagramBatch,
    Decision,
    Framer,
    Message,
    NonceUses,
    Penalties,
    Question,
    RequestStream,
    SipRequest,
    Transactions,
    Uri,
    Verdict,
    append_answer,
    append_question,
    authentication,
    body_hash,
    group_check,
    judge,
    verify,
    verify_many,
)

REGISTER = (
    b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
    b"To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n"
)
SOURCE = ("192.0.2.1", 5060)


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(auth_diameter._core.__path__, "auth_diameter._core."):
        yield importlib.import_module(found.name)


def compiled_classes() -> list[type]:
    """Of all modules of the core, those that no other module and nobody but the core uses included."""
    return [
        value
        for module in modules()
        if module.__spec__.origin.endswith(".so")
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not hasattr(value, "__members__")
    ]


# Those whose `__new__` wants objects, each of its class: there is none that nobody filled.
FILLED = {
    "CxApplication", "DatagramPath", "DelegatedJudge", "DelegatedObjects", "DiameterServer", "LocalObjects",
    "LocalRequests", "ObjectPath", "RemoteObjects", "RemoteRequests", "RequestPath", "ScriptCalls",
    "ScriptFunction", "ScriptMethod", "ScriptRequests", "SipApplication", "WorkerObjects",
}  # fmt: skip
CLASSES = [kind for kind in compiled_classes() if kind.__name__ not in FILLED]


def made(kind: type) -> Any:
    """An object that nobody filled; where `__new__` wants an argument, with 0."""
    try:
        return kind.__new__(kind)
    except TypeError:
        return kind.__new__(kind, 0)


def test_the_others_are_made_only_with_what_they_need() -> None:
    for kind in compiled_classes():
        if kind.__name__ in FILLED:
            for arguments in ((), (0,), (None,) * 5, (0, *(None,) * 7)):
                with pytest.raises(TypeError):
                    kind.__new__(kind, *arguments)


def test_the_classes_are_found() -> None:
    names = {kind.__name__ for kind in CLASSES}
    assert names >= {
        "AaRequest", "Answer", "Avp", "Challenge", "Credentials", "DatagramBatch", "Decision",
        "Framer", "InFlight", "Message", "NonceUses", "Penalties", "Question", "RequestStream", "SipRequest",
        "Transactions", "Uri", "MessageStream",
    }  # fmt: skip


ODD: tuple[Any, ...] = (None, 0, -1, 2**31, 2**63, 2**64, 1.5, "", "from", b"", (), [], {}, object())


def arguments() -> Iterator[tuple[Any, ...]]:
    yield ()
    yield from ((one,) for one in ODD)
    empty: tuple[Any, ...] = tuple(map(made, CLASSES))
    yield from ((one,) for one in empty)
    yield from itertools.product((*empty, "x", b"x", bytearray()), ("", b"", 1, {}, ()))
    for one in empty:
        for address in (None, (), (None,), ("192.0.2.1",), SOURCE):
            yield one, "realm", address, 0.0
        yield bytearray(), one, 1
        yield one, b"reply", 5060
        yield one, 0.0
    for odd in ODD:
        yield "n", "r", "a", "s", odd, odd, 0.0
        yield "n", "r", "a", "s", 1, 1, odd, odd


ARGUMENTS = list(arguments())


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_object_that_nobody_filled(kind: type) -> None:
    """Each attribute is read, each method called: what comes is a value or an exception."""
    for name in dir(kind):
        if name in ("__class__", "__new__", "__subclasshook__", "__init_subclass__", "__dir__"):
            continue
        found = made(kind)
        try:
            value = getattr(found, name)
        except Exception:  # noqa: BLE001 - any will do
            continue
        if not callable(value) or name == "__reduce_ex__":
            continue
        for each in ARGUMENTS:
            try:
                value(*each)
            except Exception:  # noqa: BLE001
                continue
    found = made(kind)
    for function in (repr, str, bool, hash, len, iter, next, vars, lambda one: one == made(kind)):
        try:
            function(found)
        except Exception:  # noqa: BLE001
            continue


@pytest.mark.parametrize(
    "function",
    [
        function
        for module in modules()
        for function in vars(module).values()
        if inspect.isroutine(function) and getattr(function, "__module__", "") == module.__name__
        and function.__name__ != "exchange"  # it waits for a socket
    ],
    ids=lambda function: function.__name__,
)  # fmt: skip
def test_a_function_that_gets_such_objects(function: Callable[..., Any]) -> None:
    for each in ARGUMENTS:
        try:
            function(*each)
        except Exception:  # noqa: BLE001
            continue


def test_what_an_empty_object_says() -> None:
    credentials = Credentials.__new__(Credentials)
    assert (credentials.username, credentials.realm, credentials.parameters) == ("", None, ())
    assert (credentials.value, credentials.nonce_count, credentials.qop) == (b"", 1, None)
    assert not verify(credentials, "REGISTER", "0" * 32)
    assert verify_many([(credentials, "REGISTER", "0" * 32)]) == b"\0"
    assert body_hash(credentials, b"")
    assert Challenge.__new__(Challenge).parameters == ()
    request = SipRequest.__new__(SipRequest)
    assert (request.method, request.from_, request.to, request.contacts) == ("", None, None, ())
    assert (request.reply(200, "OK"), request.reply_address) == (b"", None)
    assert request.credentials("realm") is None
    assert repr(Uri.__new__(Uri)) == "<Uri None>"
    assert Message.__new__(Message).encode()[:4] == b"\x01\x00\x00\x14"
    assert Avp.__new__(Avp).encode() == bytes(4) + b"\0\0\0\x08"
    assert AaRequest.__new__(AaRequest).question is None
    assert not Penalties().begin(credentials, "realm", SOURCE, 0.0, None).is_refused
    attempt = Attempt.__new__(Attempt)
    assert not attempt.is_held
    assert not attempt.is_refused
    for end in (Penalties().right, Penalties().wrong, Penalties().neither):
        end(attempt, 0.0)


def test_questions_about_such_objects() -> None:
    empty, credentials = SipRequest.__new__(SipRequest), Credentials.__new__(Credentials)
    for request in (empty, SipRequest(REGISTER, SOURCE)):
        for question in (
            authentication(request, "realm", None, False),
            authentication(request, "realm", credentials, False),
            group_check(request, "realm", "user", "group"),
        ):
            out = bytearray()
            append_question(out, question, 1)
            assert len(RequestStream().feed(bytes(out))) == 1
            assert judge(question, Answer.__new__(Answer))[0] not in (Cause.AUTHORIZED, Cause.MEMBER)
    with pytest.raises(TypeError):
        append_question(bytearray(), Question.__new__(Question), 1)


def test_an_answer_of_anything_else_than_bytes_leaves_the_answers_before_it() -> None:
    asked = bytearray()
    append_question(asked, authentication(SipRequest(REGISTER, SOURCE), "realm", None, False), 1)
    for request in (*RequestStream().feed(bytes(asked)), AaRequest.__new__(AaRequest)):
        out = bytearray(b"before")
        append_answer(out, request, Answer(Verdict.SUCCESS))
        empty = len(out)
        append_answer(out, request, Answer(Verdict.SUCCESS, challenges=(b"Digest",)))
        assert out.endswith(b"Digest\r\n")
        assert len(out) == 2 * empty - len(b"before") + 16
        for wrong in ((None,), ("x", 5), (object(),)):
            out = bytearray(b"before")
            with pytest.raises(TypeError):
                append_answer(out, request, Answer(Verdict.SUCCESS, challenges=wrong))  # type: ignore[arg-type]
            assert out == b"before"
        with pytest.raises((TypeError, KeyError)):
            append_answer(out, request, Answer.__new__(Answer))
        assert out == b"before"
    for name in ("challenges", "response_auth", "nextnonce", "user_name"):
        with pytest.raises(TypeError):
            Answer(Verdict.SUCCESS, **{name: 5})  # type: ignore[arg-type]


def test_an_avp_is_made_once() -> None:
    """It does not change: a message that holds it has its size from it."""
    avp = Avp(1, b"x")
    message = Message(265, (avp,))
    with pytest.raises(TypeError):
        avp.__init__(1, b"x" * 100_000)  # type: ignore[misc]
    for found in (*message.avps, *Message.decode(message.encode()).avps):
        with pytest.raises(TypeError):
            found.__init__(1, b"x" * 100_000)  # type: ignore[misc]
    assert Message.decode(message.encode()) == message


@pytest.mark.parametrize("max_size", [2**63, 2**64 - 1, 2**64, -1, -(2**63), "1", None])
def test_absurd_sizes_of_a_request(max_size: Any) -> None:
    try:
        assert SipRequest(REGISTER, max_size=max_size).method == "REGISTER"
    except (OverflowError, TypeError):
        assert not isinstance(max_size, int) or not 0 <= max_size < 2**64


@pytest.mark.parametrize("max_headers", [2**31 - 1, 2**31, 2**63, -1, -(2**31), None])
@pytest.mark.parametrize("lines", [0, 100, 2000])
def test_absurd_numbers_of_header_fields(max_headers: Any, lines: int) -> None:
    data = REGISTER.replace(b"\r\n\r\n", b"\r\n" + b"X: 1\r\n" * lines + b"\r\n")
    try:
        assert len(SipRequest(data, max_headers=max_headers).headers("x")) == lines
    except (OverflowError, TypeError, ConfigError):
        assert max_headers != 2**31 - 1


@pytest.mark.parametrize("limit", [2**63, 2**64 - 1, 2**64, 0, 1, -1])
@pytest.mark.parametrize("kind", [AnswerStream, RequestStream, Framer])
def test_absurd_limits_of_a_stream(kind: Any, limit: int) -> None:
    try:
        stream = kind(limit=limit)
        for _ in range(3):
            stream.feed(b"\x01\xff\xff\xfc" + bytes(100), *([{}] if kind is AnswerStream else []))
    except (OverflowError, ConfigError):
        assert limit in (2**63, 2**64 - 1, 2**64, 0, 1, -1)


@pytest.mark.parametrize("room", [2**40 + 1, 2**62, 2**63, 2**64 - 1, 2**64, 0, -1])
def test_absurd_rooms_for_transactions(room: int) -> None:
    with pytest.raises((ConfigError, OverflowError)):
        Transactions(room=room)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63 - 1, 2**63, -(2**63)])
def test_absurd_numbers_to_remember(number: int) -> None:
    try:
        uses = NonceUses(most=number)
        for nonce in "abc":
            uses.add(nonce, "r", "MD5", "", 1, 1, 0.0, 0.0)
    except (OverflowError, ConfigError, IndexError):
        pass
    try:
        penalties = Penalties(most_sources=number, most_users=number)
        credentials = Credentials.parse(
            f'Digest username="a", realm="r", nonce="n", uri="u", response="{"0" * 32}"'
        )
        for _ in range(3):
            for end in (penalties.wrong, penalties.right, penalties.neither):
                attempt = penalties.begin(credentials, "r", SOURCE, 0.0, None)
                assert attempt is not None
                end(attempt, 0.0)
    except (OverflowError, ConfigError):
        pass


@pytest.mark.parametrize("address", [(), (None,), (5,), (b"x",), ("192.0.2.1",)])
def test_an_address_that_is_none(address: Any) -> None:
    credentials = Credentials.__new__(Credentials)
    penalties = Penalties()
    for _ in range(2):
        try:
            penalties.begin(credentials, "r", address, 0.0, None)
        except (TypeError, ValueError, IndexError):
            assert address != ("192.0.2.1",)


class Calling:
    """A number that calls back when it is asked for."""

    def __init__(self, *calls: Callable[[], object]) -> None:
        self.calls = calls
        self.answers: list[object] = []

    def __index__(self) -> int:
        for call in self.calls:
            try:
                self.answers.append(call())
            except Exception as error:  # noqa: BLE001
                self.answers.append(error)
        return 5060

    __int__ = __index__


def test_a_port_that_calls_back_into_the_request() -> None:
    request = SipRequest.__new__(SipRequest)
    port = Calling(
        lambda: request.reply(200, "OK"),
        lambda: request.__init__(REGISTER, SOURCE),  # type: ignore[misc]
        lambda: (request.method, request.headers("Via"), request.credentials("r"), request.contacts),
        lambda: Transactions().begin(request, 0.0),
        lambda: repr(request),
    )
    request.__init__(REGISTER, ("192.0.2.1", port))  # type: ignore[misc]
    assert request.source == SOURCE
    assert request.reply(200, "OK").startswith(b"SIP/2.0 200 OK\r\n")
    assert port.answers[0] == b""
    assert isinstance(port.answers[1], TypeError)


def test_an_address_that_calls_back_into_the_batch() -> None:
    """While one reply's port is asked for, another call of `send` must not take the places of its bytes."""
    batch = DatagramBatch(-1)
    port = Calling(lambda: batch.send([(b"y" * 50, ("192.0.2.1", 5060))] * 64), batch.receive)
    for address in (("192.0.2.1", port), ("::1", 5060, port, 0), ("::1", 5060, 0, port)):
        with pytest.raises((ValueError, TypeError)):
            batch.send([(b"x" * 50, SOURCE), (b"x", address)])  # type: ignore[list-item]
    assert port.answers == []


def test_a_decision_can_go_to_another_process_and_nothing_else_can() -> None:
    decision = Decision(-5, Cause.FORBIDDEN, 403, b"reply", "alice", "realm", (("A", "b"),))
    for again in (copy.copy(decision), pickle.loads(pickle.dumps(decision))):
        assert again.cause is Cause.FORBIDDEN
        assert (again.return_code, again.status, again.reply) == (-5, 403, b"reply")
        assert (again.username, again.realm, again.headers) == ("alice", "realm", (("A", "b"),))
    for kind in CLASSES:
        if kind is not Decision:
            assert not hasattr(kind, "__setstate__")
            with pytest.raises(TypeError):
                pickle.dumps(made(kind))


def test_a_decision_without_a_cause() -> None:
    decision = Decision.__new__(Decision)
    assert not decision
    assert repr(decision).startswith("<Decision None ")
