"""Requests that are no questions: each ends once, with its answer or without one."""

from __future__ import annotations

from typing import Any

from auth_diameter import Message
from auth_diameter.diameter.own_requests import OwnRequests

HERE: Any = object()
THERE: Any = object()
ASKED, TOLD = Message(284, [], flags=0xC0, hop_by_hop=7), Message(284, [], hop_by_hop=7)


def begin() -> tuple[OwnRequests, list[Message | None]]:
    requests, ended = OwnRequests(2.0), []
    assert requests.add(HERE, ASKED, ended.append, 1.0) == 3.0
    return requests, ended


def test_an_answer_counts_on_the_connection_of_its_request_alone() -> None:
    """RFC 6733, 3: Hop-by-Hop Identifiers are those of a connection."""
    requests, ended = begin()
    requests.take(THERE, TOLD)
    assert ended == []
    requests.take(HERE, TOLD)
    requests.take(HERE, TOLD)
    assert ended == [TOLD]


def test_without_an_answer_it_ends_at_its_deadline() -> None:
    requests, ended = begin()
    requests.expire(2.9)
    assert ended == []
    requests.expire(3.0)
    requests.take(HERE, TOLD)
    assert ended == [None]


def test_it_ends_with_its_connection() -> None:
    requests, ended = begin()
    requests.lost(THERE)
    assert ended == []
    requests.lost(HERE)
    assert ended == [None]


def test_their_number_is_limited() -> None:
    requests, _ = begin()
    for number in range(8, 1007):
        assert not requests.is_full
        requests.add(HERE, Message(284, [], hop_by_hop=number), lambda told: None, 1.0)
    assert requests.is_full
