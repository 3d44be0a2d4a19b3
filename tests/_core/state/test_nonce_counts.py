"""The memory of nonce counts: none is taken twice (RFC 7616, 3.4 and 5.5), whatever comes in which order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter._core import NonceUses, Use

NOW = 1_800_000_000.0
TOP = 0xFFFFFFFF


def add(uses: NonceUses, nonce: str, count: int = 1, *, mark: int = 0, now: float = NOW) -> Use:
    return uses.add(nonce, "siphub.net", "MD5", "", count, mark, now, NOW)


def take(uses: NonceUses, nonce: str, count: int, *, mark: int = 0, now: float = NOW) -> Use:
    return uses.take(nonce, "siphub.net", "MD5", "", count, mark, now)


def taken(uses: NonceUses, nonce: str, *counts: int) -> list[bool]:
    return [take(uses, nonce, count) is Use.FIRST for count in counts]


@pytest.fixture
def uses() -> NonceUses:
    return NonceUses(lifetime=300.0, most=100)


def test_nothing_is_stored_until_one_comes_back(uses: NonceUses) -> None:
    assert take(uses, "n", 1) is Use.UNKNOWN
    assert len(uses) == 0
    assert add(uses, "n") is Use.FIRST
    assert len(uses) == 1
    assert take(uses, "n", 1) is Use.REPLAYED
    assert take(uses, "n", 2) is Use.FIRST


@pytest.mark.parametrize(
    "bound", [("else.where", "MD5", ""), ("siphub.net", "SHA-256", ""), ("siphub.net", "MD5", "192.0.2.1")]
)
def test_of_another_realm_algorithm_or_source_it_is_not_known(
    uses: NonceUses, bound: tuple[str, ...]
) -> None:
    """Then the nonce's own mac decides."""
    add(uses, "n")
    assert uses.take("n", *bound, 2, 0, NOW) is Use.UNKNOWN  # type: ignore[call-arg, arg-type]
    assert taken(uses, "n", 2) == [True]


def test_a_realm_in_another_spelling_leads_to_the_same_counts(uses: NonceUses) -> None:
    add(uses, "n")
    assert uses.take("n", "SIPHUB.net", "MD5", "", 1, 0, NOW) is Use.UNKNOWN
    assert uses.add("n", "SIPHUB.net", "MD5", "", 1, 0, NOW, NOW) is Use.REPLAYED
    assert uses.add("n", "SIPHUB.net", "MD5", "", 2, 0, NOW, NOW) is Use.FIRST
    assert len(uses) == 1


def test_each_count_once(uses: NonceUses) -> None:
    add(uses, "n")
    assert taken(uses, "n", 2, 3, 3, 2, 1) == [True, True, False, False, False]
    assert add(uses, "another") is Use.FIRST


def test_uses_are_limited_whatever_their_counts() -> None:
    """A client may go on counting from one nonce to the next, against RFC 7616, 3.4: belle-sip does."""
    uses = NonceUses(limit=2)
    assert add(uses, "n", 7, mark=1) is Use.FIRST
    assert take(uses, "n", 5) is Use.FIRST
    assert take(uses, "n", 8) is take(uses, "n", 6) is Use.EXPIRED
    assert take(uses, "n", 5) is Use.REPLAYED
    assert take(uses, "n", 7, mark=1) is Use.AGAIN
    assert add(uses, "another", 9) is Use.FIRST


def test_counts_out_of_order(uses: NonceUses) -> None:
    """Parallel requests overtake each other; 64 of them may."""
    add(uses, "n", 100)
    assert taken(uses, "n", 37, 99, 50, 101, 37, 36, 100) == [True] * 4 + [False] * 3
    assert taken(uses, "n", 38, 38, 102) == [True, False, True]


def test_a_jump_leaves_what_is_far_behind(uses: NonceUses) -> None:
    add(uses, "n", 5)
    assert taken(uses, "n", TOP, 6, TOP - 63, TOP - 64, TOP, 1, 0) == [True, False, True] + [False] * 4


@given(st.lists(st.integers(1, 200) | st.integers(TOP - 100, TOP), min_size=1, max_size=60))
def test_counts_against_a_plain_set(numbers: list[int]) -> None:
    """Never twice; and refused for its age only where a count 64 above it was seen."""
    uses, seen = NonceUses(), set[int]()
    for number in numbers:
        expected = number not in seen and number > max(seen, default=0) - 64
        found = take(uses, "n", number) if seen else add(uses, "n", number)
        assert (found is Use.FIRST) is expected
        if expected:
            seen.add(number)


@pytest.mark.parametrize(
    ("mark", "later", "use"),
    [
        (7, 0.5, Use.AGAIN),
        (7, 32.0, Use.AGAIN),
        (7, 33.0, Use.REPLAYED),
        (7, -1.0, Use.REPLAYED),
        (8, 0.5, Use.REPLAYED),
        (0, 0.5, Use.REPLAYED),
    ],
)
def test_a_retransmission_is_no_replay(uses: NonceUses, mark: int, later: float, use: Use) -> None:
    """It is the very question within 64 × T1 (RFC 3261, 17.1.2.2), and uses up nothing."""
    assert add(uses, "n", 1, mark=7) is Use.FIRST
    assert take(uses, "n", 1, mark=mark, now=NOW + later) is use
    assert take(uses, "n", 2, mark=9, now=NOW + later) is Use.FIRST


def test_the_last_four_requests_may_come_again(uses: NonceUses) -> None:
    add(uses, "n", 1, mark=1)
    for count in range(2, 7):
        take(uses, "n", count, mark=count)
    again = [take(uses, "n", count, mark=count) for count in range(1, 7)]
    assert again == [Use.REPLAYED] * 2 + [Use.AGAIN] * 4


def test_after_many_replays_it_is_known_again_from_the_next_request_on(uses: NonceUses) -> None:
    """Who replays what he has overheard ends the retransmissions of one request, not of all to come."""
    add(uses, "n", 1, mark=7)
    for other in range(100, 116):
        assert take(uses, "n", 1, mark=other) is Use.REPLAYED
    assert take(uses, "n", 1, mark=7) is Use.REPLAYED
    assert take(uses, "n", 2, mark=8) is Use.FIRST
    assert take(uses, "n", 2, mark=8) is Use.AGAIN


def test_a_retransmission_is_of_its_own_count(uses: NonceUses) -> None:
    add(uses, "n", 1, mark=7)
    take(uses, "n", 2, mark=9)
    assert take(uses, "n", 2, mark=7) is Use.REPLAYED
    assert take(uses, "n", 2, mark=9) is Use.AGAIN


def test_a_question_that_cannot_be_told_is_never_a_retransmission(uses: NonceUses) -> None:
    add(uses, "n", 1, mark=0)
    assert take(uses, "n", 1, mark=0) is Use.REPLAYED


def test_it_expires(uses: NonceUses) -> None:
    add(uses, "n")
    assert take(uses, "n", 2, now=NOW + 300.0) is Use.FIRST
    assert take(uses, "n", 3, now=NOW + 300.5) is Use.EXPIRED


def test_out_of_memory_no_replay_gets_in(uses: NonceUses) -> None:
    """What is forgotten counts as used, and so does every nonce as old as it: a new challenge follows."""

    def add_made(nonce: str, made: float) -> Use:
        return uses.add(nonce, "siphub.net", "MD5", "", 1, 0, NOW + 1, made)

    assert [add_made(f"early{i}", NOW) for i in range(100)] == [Use.FIRST] * 100
    assert [add_made(f"late{i}", NOW + 1) for i in range(50)] == [Use.FIRST] * 50
    assert len(uses) == 100
    # 50 of the early ones are forgotten; none of the early ones that are not remembered is trusted.
    assert [add_made(f"early{i}", NOW) for i in range(50)] == [Use.REPLAYED] * 50
    assert [add_made(f"unused{i}", NOW) for i in range(50)] == [Use.REPLAYED] * 50
    assert taken(uses, "early50", 1, 2) == taken(uses, "early99", 1, 2) == [False, True]
    assert add_made("later", NOW + 1) is Use.FIRST


def test_expired_nonces_need_no_memory() -> None:
    uses = NonceUses(lifetime=10.0)
    for second in range(1000):
        now = NOW + second
        assert uses.add(f"n{second}", "r", "MD5", "", 1, 0, now, now) is Use.FIRST
        assert len(uses) <= 12


def test_after_the_clock_stepped_back_new_nonces_are_good() -> None:
    uses = NonceUses(most=1)
    for name, later in (("a", 3600), ("b", 3601), ("c", 0)):
        assert uses.add(name, "r", "MD5", "", 1, 0, NOW + later, NOW + later) is Use.FIRST


def test_many_nonces_at_the_limit_cost_no_more_each() -> None:
    """A queue has the order: to find the first of a dict that lost many costs time for each of them."""
    uses = NonceUses(most=50_000)
    for made, number in itertools.product(range(4), range(50_000)):
        uses.add(f"{made} {number}", "r", "MD5", "", 1, 0, NOW + made, NOW + made)
    assert len(uses) == 50_000
