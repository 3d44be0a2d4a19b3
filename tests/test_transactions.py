"""Server transactions: what is known of a request that came before, and for how long (RFC 3261, 17.2)."""

import random

import pytest

from auth_diameter._core import ConfigError, Transactions

ADDRESS = ("192.0.2.1", 5060)
ROOM = 1 << 20


def request(number=0, size=500, address=ADDRESS):
    return (f"REGISTER {number} ".encode().ljust(size, b"."), address)


def known(transactions, requests, now=0.0):
    return [transactions.find(one, now) is not None for one in requests]


def test_a_request_is_new_once():
    transactions = Transactions()
    assert transactions.find(request(), 0.0) is None
    place = transactions.begin(request(), 0.0)
    assert place > 0
    assert transactions.find(request(), 0.0) == (b"", ADDRESS), "known, and without a reply so far"
    transactions.complete(place, b"SIP/2.0 200 OK", 5060)
    assert transactions.find(request(), 0.0) == (b"SIP/2.0 200 OK", ADDRESS)


def test_the_reply_goes_to_another_port_where_via_says_so():
    """RFC 3261, 18.2.2: without rport."""
    transactions = Transactions()
    transactions.complete(transactions.begin(request(), 0.0), b"reply", 5099)
    assert transactions.find(request(), 0.0) == (b"reply", ("192.0.2.1", 5099))


def test_an_ipv6_address_keeps_flow_and_scope():
    transactions = Transactions()
    address = ("fe80::1", 5060, 7, 2)
    transactions.complete(transactions.begin(request(address=address), 0.0), b"reply", 5099)
    assert transactions.find(request(address=address), 0.0) == (b"reply", ("fe80::1", 5099, 7, 2))


@pytest.mark.parametrize(
    "other",
    [
        (request()[0], ("192.0.2.2", 5060)),
        (request()[0], ("192.0.2.1", 5061)),
        (request()[0], ("192.0.2.1", 5060, 0, 1)),
        (request()[0] + b".", ADDRESS),
        (request()[0][:-1], ADDRESS),
        (request()[0][:-1] + b",", ADDRESS),
        (b"", ADDRESS),
    ],
    ids=["host", "port", "scope", "longer", "shorter", "last byte", "empty"],
)
def test_nobody_gets_the_reply_to_another_request(other):
    """One byte that differs, or another address, is another request, whatever its branch says."""
    transactions = Transactions()
    transactions.complete(transactions.begin(request(), 0.0), b"secret", 5060)
    assert transactions.find(other, 0.0) is None


@pytest.mark.parametrize("size", range(70))
def test_every_byte_counts(size):
    """Whatever the length is; the hash takes them 32 at a time."""
    transactions = Transactions(ROOM)
    data = bytes(range(size))
    transactions.begin((data, ADDRESS), 0.0)
    assert transactions.find((data, ADDRESS), 0.0) is not None
    for at in range(size):
        changed = bytearray(data)
        changed[at] ^= 0x80
        assert transactions.find((bytes(changed), ADDRESS), 0.0) is None


def test_it_is_forgotten_after_64_t1():
    """RFC 3261, 17.1.1.2 and 17.1.2.2: a client gives up after 32 seconds."""
    transactions = Transactions()
    transactions.complete(transactions.begin(request(), 100.0), b"reply", 5060)
    assert transactions.find(request(), 131.9) is not None
    assert transactions.find(request(), 132.0) is None


def test_it_may_come_anew_after_that():
    transactions = Transactions()
    transactions.complete(transactions.begin(request(), 0.0), b"first", 5060)
    place = transactions.begin(request(), 40.0)
    assert transactions.find(request(), 40.0) == (b"", ADDRESS)
    transactions.complete(place, b"second", 5060)
    assert transactions.find(request(), 40.0) == (b"second", ADDRESS)


def test_what_is_new_takes_the_place_of_what_is_oldest():
    transactions = Transactions(ROOM)
    requests = [request(number) for number in range(10_000)]
    for one in requests:
        transactions.complete(transactions.begin(one, 0.0), b"r" * 300, 5060)
    found = known(transactions, requests)
    most = ROOM // 800  # each takes some bytes more
    assert sum(found) <= most
    assert sum(found[-most // 2 :]) > 0.99 * most / 2, "few at most met too many of the same hash"
    assert not any(found[:-most])


def test_large_requests_cost_no_more_memory():
    transactions = Transactions(ROOM)
    requests = [request(number, 65_000) for number in range(40)]
    for one in requests:
        transactions.complete(transactions.begin(one, 0.0), b"r" * 65_000, 5060)
    found = known(transactions, requests)
    assert sum(found) == sum(found[-8:]) >= 7  # of 130 KB each; what remains at the end of the ring is lost


def test_a_reply_to_what_is_forgotten_is_dropped():
    """More came meanwhile than there is room for; its place is another's now."""
    transactions = Transactions(ROOM)
    place = transactions.begin(request(), 0.0)
    others = [request(number) for number in range(1, 5000)]
    for one in others:
        transactions.begin(one, 0.0)
    transactions.complete(place, b"late", 5060)
    assert transactions.find(request(), 0.0) is None
    assert sum(known(transactions, others[-1000:])) > 990


def test_a_reply_that_overwrites_its_own_request_is_no_reply():
    transactions = Transactions(ROOM)
    for number in range(3000):
        place = transactions.begin(request(), 0.0)
        for other in range(number % 40):
            transactions.begin(request(1 + other, 30_000), 0.0)
        transactions.complete(place, b"r" * 60_000, 5060)
        assert transactions.find(request(), 0.0) in (None, (b"", ADDRESS), (b"r" * 60_000, ADDRESS))


def test_against_a_dict():
    """Sizes, addresses and ends at random: a reply is the right one, or there is none."""
    rng = random.Random(3261)
    transactions = Transactions(ROOM)
    replies = {}
    places = {}
    hits = 0
    for number in range(20_000):
        one = request(rng.randrange(150), rng.choice([20, 300, 700, 3000]), (f"10.0.0.{rng.randrange(4)}", 9))
        found = transactions.find(one, 0.0)
        if found is not None:
            hits += 1
            assert found == (replies.get(one, b""), one[1])
            continue
        replies.pop(one, None)
        places[one] = transactions.begin(one, 0.0)
        if rng.random() < 0.9:
            replies[one] = f"reply {number}".encode() * rng.randrange(1, 60)
            transactions.complete(places[one], replies[one], 9)
    assert hits > 1000


def test_a_place_of_nothing_is_no_place():
    transactions = Transactions(ROOM)
    transactions.complete(0, b"reply", 5060)
    assert transactions.find(request(), 0.0) is None


def test_more_than_a_datagram_is_not_kept():
    transactions = Transactions(ROOM)
    big = (b"x" * ROOM, ADDRESS)
    assert transactions.begin(big, 0.0) == 0
    place = transactions.begin(request(), 0.0)
    transactions.complete(place, b"x" * ROOM, 5060)
    assert transactions.find(request(), 0.0) == (b"", ADDRESS)


def test_too_little_room():
    with pytest.raises(ConfigError, match="expected 1048576 bytes or more"):
        Transactions(ROOM - 1)


@pytest.mark.parametrize(
    "wrong", [(), (b"x",), (b"x", None), (None, ADDRESS), (b"x", ("a",)), ("x", ADDRESS)]
)
def test_what_is_no_datagram_is_refused(wrong):
    with pytest.raises(TypeError):
        Transactions(ROOM).find(wrong, 0.0)
