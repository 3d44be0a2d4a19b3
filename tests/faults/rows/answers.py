"""DISC's answers are late, doubled, torn, no answers at all, or such that no reply may be made of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping

from faults.load import Load, Record
from faults.proxy import Change, FaultProxy, Faults, corrupted, duplicated, garbage, halved, with_unknown_id
from faults.report import Report, row
from faults.rows.common import each, recovered_after, settle, whole
from faults.world import World

from auth_diameter import Avp, Message
from auth_diameter.diameter.base import avp_named

_RESULT_CODE, _CHALLENGE, _SIP_MSGID = 268, 402, 406
_SUCCESS, _AUTHENTICATION_REJECTED = 2001, 4001
_TIMEOUT = 0.5
_LATE = 0.2  # seconds; later than `Config.max_delay`, DISC counts as overloaded
_SLACK = 0.25  # seconds for a machine with two cores and much else to do

# Bytes at a time. More of them come with standard Diameter, and the proxy has to keep up.
_PIECE = {"disc": 1, "sip": 4, "cx": 16}


def _play(
    loads: Iterable[Load], proxy: FaultProxy, faults: Faults, seconds: float
) -> tuple[float, float, float]:
    """So long with faulty answers, then without until all is good again.

    Returns:
        When the fault began, when it ended, and when all was good.
    """
    start = time.monotonic()
    proxy.answers = faults
    time.sleep(seconds)
    proxy.answers = Faults()
    end = time.monotonic()
    settle(loads)
    return start, end, time.monotonic()


@row(
    "answers-odd",
    "answers slow, out of order, byte by byte, doubled, with an unknown id",
    "each request gets its own answer, in the time that the answer takes",
    standard=True,
    seconds=4.0,
)
def odd_answers(world: World, report: Report, *, seconds: float = 0.7) -> None:
    """What is odd, but framed right: nothing may be refused for it."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port)
    settle(loads)
    kinds = {
        "0.2 s late": Faults(delay=_LATE),
        "in any order": Faults(jitter=_LATE, overtake=True),
        # Messages of standard Diameter are longer: the proxy would be late with single bytes.
        "byte by byte": Faults(piece=_PIECE[world.application]),
        "doubled": Faults(change=duplicated),
        "with an unknown id": Faults(change=with_unknown_id),
    }
    times = {kind: _play(loads, proxy, faults, seconds) for kind, faults in kinds.items()}
    records = whole(report, loads)
    for kind, (start, end, _) in times.items():
        during = {name: record.between(start, end) for name, record in records.items()}
        report.none(f"{kind}: refused", sum(len(record.bad) for record in during.values()))
        report.at_most(f"{kind}: slowest", each(during, Record.slowest), _LATE + _SLACK)
    counted = [stats.unknown for load in loads if (stats := load.stats()) is not None]  # "cx" has none
    doubled = [len(record.between(*times["doubled"][:2])) for record in records.values()][: len(counted)]
    report.at_least("counted and dropped", sum(counted), sum(doubled))


@row(
    "answers-late",
    "answers later than the deadline",
    "503 at the deadline; late ones counted and dropped, never taken for another's",
    standard=True,
    seconds=4.0,
)
def late_answers(world: World, report: Report, *, seconds: float = 1.0) -> None:
    """All answers come, every second one after its question was given up."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port, settings={"timeout": _TIMEOUT})[:2]
    settle(loads)
    start, end, _ = _play(loads, proxy, Faults(jitter=2 * _TIMEOUT, overtake=True), seconds)
    records = whole(report, loads)
    during = {name: record.between(start, end - _TIMEOUT) for name, record in records.items()}
    report.at_most("slowest", each(during, Record.slowest), _TIMEOUT + _SLACK)
    # In the dialect, a thread that waits no longer closes its connection: there, none can be late.
    late = {load.name: stats.late for load in loads if (stats := load.stats()) is not None}
    if late:
        report.at_least("late ones counted", late["asyncio"], 1)
    report.at_most("all good again after", each(records, recovered_after(end)), 2.0)


@row(
    "answers-torn",
    "answers half-written, garbage, with wrong bits, cut in the middle",
    "doubtful framing closes the connection; nobody is let in by it; back within 2 s",
    standard=True,
    seconds=4.0,
)
def torn_answers(world: World, report: Report, *, seconds: float = 0.7) -> None:
    """What cannot be relied on: who is refused meanwhile is counted, and nobody is let in by it."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port, settings={"timeout": _TIMEOUT})
    settle(loads)
    one_bit = corrupted(random.Random(1), 0.1)
    if world.application == "disc":
        one_bit = _but_for_the_id(one_bit)
    kinds = {
        "half-written": Faults(change=halved),
        "garbage": Faults(change=garbage),
        "one bit of each tenth": Faults(change=one_bit),
        "cut after 1,000 bytes": Faults(cut_at=1000),
        "reset after 1,000 bytes": Faults(cut_at=1000, cut_with_reset=True),
    }
    times = {kind: _play(loads, proxy, faults, seconds) for kind, faults in kinds.items()}
    records = whole(report, loads, swaps=False)
    for kind, (start, end, good) in times.items():
        during = {name: world.asking(record.between(start, end)) for name, record in records.items()}
        report.note(f"{kind}: answered as DISC says", each(during, lambda r: len(r.good) / len(r)), "%")
        report.at_most(f"{kind}: slowest", each(during, Record.slowest), 2.0 + _SLACK)
        back = each(records, recovered_after(end, good))
        report.at_most(f"{kind}: all good again after", back, 2.0)


def _but_for_the_id(change: Change) -> Change:
    """Changes what leaves SIP-MSGID as it is: with another id, it would be a right answer to another.

    Standard Diameter needs no such care: an answer has the Session-Id of its question as well.
    """

    def checked(message: bytes) -> bytes:
        changed = change(message)
        try:
            same = Message.decode(changed).find(_SIP_MSGID) == Message.decode(message).find(_SIP_MSGID)
        except Exception:  # noqa: BLE001 - whatever it is now, it is no answer with another id
            return changed
        return changed if same else message

    return checked


def _rewritten(code: int, result_code: int, challenge: bytes | None) -> Change:
    """Turns answers with the Result-Code `code` into others."""

    def change(data: bytes) -> bytes:
        message = Message.decode(data)
        found = message.find(_RESULT_CODE)
        if found is None or int.from_bytes(found.data, "big") != code:
            return data
        avps = [avp for avp in message.avps if avp.code not in (_RESULT_CODE, _CHALLENGE)]
        avps.append(Avp(_RESULT_CODE, result_code.to_bytes(4, "big")))
        if challenge is not None:
            avps.append(Avp(_CHALLENGE, challenge))
        return _like(message, avps).encode()

    return change


def _like(message: Message, avps: Iterable[Avp]) -> Message:
    """The same with other AVPs."""
    return Message(
        message.command,
        avps,
        application_id=message.application_id,
        flags=message.flags,
        hop_by_hop=message.hop_by_hop,
        end_to_end=message.end_to_end,
    )


def _of_dialect() -> dict[str, Change]:
    injected = b'Digest realm="d00.example", nonce="1"\r\nContact: <sip:eve@example.com>'
    huge = b'Digest realm="d00.example", nonce="' + b"n" * (65536 - 200) + b'"'
    kinds: dict[str, tuple[int, bytes | None]] = {
        "2001 without credentials": (_SUCCESS, None),
        "4001 without a Challenge": (_AUTHENTICATION_REJECTED, None),
        "4001, CRLF in the Challenge": (_AUTHENTICATION_REJECTED, injected),
        "4001, 64 KiB of Challenge": (_AUTHENTICATION_REJECTED, huge),
    }
    return {kind: _rewritten(_AUTHENTICATION_REJECTED, *answer) for kind, answer in kinds.items()}


def _with_item(changes: Mapping[str, Callable[[Avp], list[Avp]]]) -> Change:
    """Turns answers of standard Diameter with SIP-Auth-Data-Item into others: challenges, or with "cx" HA1.

    Args:
        changes: by the names of AVPs, however deep in groups, what stands in the place of each.
    """

    def changed(avps: Iterable[Avp]) -> list[Avp]:
        made: list[Avp] = []
        for avp in avps:
            if avp.name in changes:
                made += changes[avp.name](avp)
            elif isinstance(avp.value, tuple):
                made.append(Avp(avp.code, changed(avp.value), flags=avp.flags, vendor_id=avp.vendor_id))
            else:
                made.append(avp)
        return made

    def change(data: bytes) -> bytes:
        message = Message.decode(data)
        has_item = any(avp.name == "SIP-Auth-Data-Item" for avp in message.avps)
        return _like(message, changed(message.avps)).encode() if has_item else data

    return change


_SHORT = avp_named("Digest-HA1", "0" * 31)
_OF_STANDARD = {
    "success without an item": _with_item(
        {
            "Result-Code": lambda _: [avp_named("Result-Code", _SUCCESS)],
            "SIP-Auth-Data-Item": lambda _: [],
        }
    ),
    "of another session": _with_item({"Session-Id": lambda _: [avp_named("Session-Id", "disc.test;1;1")]}),
    "HA1 of a wrong length": _with_item(
        {"Digest-Realm": lambda avp: [avp, _SHORT], "Digest-HA1": lambda _: []}
    ),
    "two items": _with_item({"SIP-Auth-Data-Item": lambda avp: [avp, avp]}),
}


@row(
    "answers-unusable",
    "2001 without credentials; 4001 without a Challenge, with CRLF in it, with 64 KiB",
    "500; no header injected; never 200",
    standard=True,
    seconds=4.0,
)
def unusable_answers(world: World, report: Report, *, seconds: float = 0.6) -> None:
    """A proxy changes the answers to those who sent no credentials; with "cx" to all others, who need HA1."""
    disc = world.disc()
    proxy = world.enter(FaultProxy(disc.address))
    loads = world.loads(proxy.port)
    settle(loads)
    changes = _of_dialect() if world.application == "disc" else _OF_STANDARD
    times = {kind: _play(loads, proxy, Faults(change=change), seconds) for kind, change in changes.items()}
    records = whole(report, loads)
    for kind, (start, end, _) in times.items():
        # Those at the edges may have met the other answers.
        inside = {name: record.between(start + 0.1, end - 0.1) for name, record in records.items()}
        entries = [entry for record in inside.values() for entry in record]
        concerned = [e for e in entries if (e.subscriber.expected == 401) != (world.application == "cx")]
        report.none(f"{kind}: other than 500", sum(entry.status != 500 for entry in concerned))
        others = [entry for entry in entries if entry not in concerned and not entry.good]
        report.none(f"{kind}: other requests refused", len(others))
    replies = [one.reply for record in records.values() for entry in record for one in entry.answers]
    report.exactly("replies with a header of DISC's making", sum(b"eve@" in reply for reply in replies), 0)
