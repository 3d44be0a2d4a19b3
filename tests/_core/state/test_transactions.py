"""Server transactions: what is known of a request that came before, and for how long (RFC 3261, 17.2)."""

import random

import pytest

from auth_diameter._core import ConfigError, SipRequest, Transactions

ADDRESS = ("192.0.2.1", 5060)
ROOM = 1 << 20


def message(number=0, size=500):
    head = (
        f"REGISTER sip:siphub.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{number}\r\n"
        "From: <sip:alice@siphub.net>;tag=1\r\nTo: <sip:alice@siphub.net>\r\nCall-ID: 1@192.0.2.1\r\n"
        "CSeq: 1 REGISTER\r\n\r\n"
    )
    return head.encode().ljust(size, b".")


def request(number=0, size=500, address=ADDRESS):
    """Read anew each time, as a retransmission is."""
    return SipRequest(message(number, size), address)


def known(transactions, numbers, now=0.0):
    """Those of which a reply is kept; the others are begun by that."""
    found = [transactions.begin(request(number), now) for number in numbers]
    return [one is not None and one[0] != b"" for one in found]


def test_a_request_is_new_once():
    transactions = Transactions()
    assert transactions.begin(request(), 0.0) is None
    assert transactions.begin(request(), 0.0) == (b"", ADDRESS), "known, and without a reply so far"
    transactions.complete(request(), b"SIP/2.0 200 OK", 5060)
    assert transactions.begin(request(), 0.0) == (b"SIP/2.0 200 OK", ADDRESS)


def test_one_that_gets_no_reply_gets_none_when_it_comes_again():
    transactions = Transactions()
    transactions.begin(request(), 0.0)
    transactions.complete(request(), b"", 5060)
    assert transactions.begin(request(), 0.0) == (b"", ADDRESS)


def test_the_reply_goes_to_another_port_where_via_says_so():
    """RFC 3261, 18.2.2: without rport."""
    transactions = Transactions()
    transactions.begin(request(), 0.0)
    transactions.complete(request(), b"reply", 5099)
    assert transactions.begin(request(), 0.0) == (b"reply", ("192.0.2.1", 5099))


def test_an_ipv6_address_keeps_flow_and_scope():
    """A link-local one is of no use without."""
    transactions = Transactions()
    address = ("fe80::1", 5060, 7, 2)
    transactions.begin(request(address=address), 0.0)
    assert transactions.begin(request(address=address), 0.0) == (b"", address)
    transactions.complete(request(address=address), b"reply", 5099)
    assert transactions.begin(request(address=address), 0.0) == (b"reply", ("fe80::1", 5099, 7, 2))


@pytest.mark.parametrize(
    "other",
    [
        (message(), ("192.0.2.2", 5060)),
        (message(), ("192.0.2.1", 5061)),
        (message(), ("192.0.2.1", 5060, 0, 1)),
        (message(), ("192.0.2.1", 5060, 1, 0)),
        (message() + b".", ADDRESS),
        (message()[:-1], ADDRESS),
        (message()[:-1] + b",", ADDRESS),
        (message()[:-1] + b"\0", ADDRESS),
    ],
    ids=["host", "port", "scope", "flow", "longer", "shorter", "last byte", "zero"],
)
def test_nobody_gets_the_reply_to_another_request(other):
    """One byte that differs, or another address, is another request, whatever its branch says."""
    transactions = Transactions()
    transactions.begin(request(), 0.0)
    transactions.complete(request(), b"secret", 5060)
    assert transactions.begin(SipRequest(*other), 0.0) is None


@pytest.mark.parametrize("size", range(300, 317))
def test_every_byte_counts(size):
    """Whatever the length is; the fingerprint takes 16 at a time."""
    transactions = Transactions(4 * ROOM)
    data = message(size=size)
    transactions.begin(SipRequest(data, ADDRESS), 0.0)
    for at in range(data.index(b"\r\n\r\n") + 4, size):
        for bit in (0x01, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            assert transactions.begin(SipRequest(bytes(changed), ADDRESS), 0.0) is None
    assert transactions.begin(SipRequest(data, ADDRESS), 0.0) is not None


def test_it_is_forgotten_after_64_t1():
    """RFC 3261, 17.1.1.2 and 17.1.2.2: a client gives up after 32 seconds, and may begin anew."""
    transactions = Transactions()
    transactions.begin(request(), 100.0)
    transactions.complete(request(), b"first", 5060)
    assert transactions.begin(request(), 131.9) == (b"first", ADDRESS)
    assert transactions.begin(request(), 132.0) is None
    assert transactions.begin(request(), 132.0) == (b"", ADDRESS)
    transactions.complete(request(), b"second", 5060)
    assert transactions.begin(request(), 163.9) == (b"second", ADDRESS)


def test_what_is_new_takes_the_place_of_what_is_oldest():
    transactions = Transactions(ROOM)
    for number in range(10_000):
        transactions.begin(request(number), 0.0)
        transactions.complete(request(number), b"r" * 400, 5060)
    most = ROOM // 400
    found = known(transactions, range(9_999, 9_999 - most - 100, -1))
    assert sum(found) > 0.95 * most, "few at most met seven newer ones in their set"
    assert not any(found[most:])


def test_requests_without_a_reply_take_no_room_from_replies():
    transactions = Transactions(ROOM)
    transactions.begin(request(), 0.0)
    transactions.complete(request(), b"r" * 1000, 5060)
    for number in range(1, 1000):
        transactions.begin(request(number), 0.0)
    assert transactions.begin(request(), 0.0) == (b"r" * 1000, ADDRESS)


def test_large_replies_cost_no_more_memory():
    transactions = Transactions(ROOM)
    for number in range(40):
        transactions.begin(request(number), 0.0)
        transactions.complete(request(number), b"r" * 65_000, 5060)
    found = known(transactions, range(40))
    assert sum(found) == sum(found[-16:]) >= 15  # what remains at the end of the ring is lost


def test_replies_have_48_mib_unless_told_otherwise():
    transactions = Transactions()
    for number in range(1000):
        transactions.begin(request(number), 0.0)
        transactions.complete(request(number), b"r" * 64_000, 5060)
    assert sum(known(transactions, range(1000))) == pytest.approx((48 << 20) // 64_000, abs=1)


def test_a_reply_to_what_is_forgotten_is_dropped():
    """More came meanwhile than there is room for; its place is another's now."""
    transactions = Transactions(ROOM)
    transactions.begin(request(), 0.0)
    for number in range(1, 60_000):
        transactions.begin(request(number), 0.0)
    transactions.complete(request(), b"late", 5060)
    assert transactions.begin(request(), 0.0) is None


def test_against_a_dict():
    """Sizes, addresses and ends at random: a reply is the right one, or there is none."""
    rng = random.Random(3261)
    transactions = Transactions(ROOM)
    replies = {}
    hits = 0
    for number in range(20_000):
        key = (rng.randrange(150), rng.choice([250, 300, 700, 3000]), (f"10.0.0.{rng.randrange(4)}", 9))
        found = transactions.begin(request(*key), 0.0)
        if found is not None:
            hits += 1
            assert found == (replies.get(key, b""), key[2])
            continue
        replies.pop(key, None)
        if rng.random() < 0.9:
            replies[key] = f"reply {number}".encode() * rng.randrange(1, 60)
            transactions.complete(request(*key), replies[key], 9)
    assert hits > 1000


def test_more_than_a_datagram_is_not_kept():
    transactions = Transactions(ROOM)
    transactions.begin(request(), 0.0)
    transactions.complete(request(), b"x" * ROOM, 5060)
    assert transactions.begin(request(), 0.0) == (b"", ADDRESS)


def test_too_little_room():
    with pytest.raises(ConfigError, match="expected 1048576 to 1099511627776 bytes"):
        Transactions(ROOM - 1)


def test_a_request_without_its_source_is_refused():
    """From the same bytes somebody else would learn what he was not told."""
    with pytest.raises(TypeError, match="its source"):
        Transactions(ROOM).begin(SipRequest(message()), 0.0)
    with pytest.raises(TypeError):
        Transactions(ROOM).begin(message(), 0.0)
