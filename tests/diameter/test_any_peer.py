"""Any bytes as CER and CEA, and anything that can happen to a peer: RFC 6733, 5.3 and 5.6.

The same is fuzzed with the guidance of what was covered, see fuzz/peers.py.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from kit.peer_targets import MESSAGES, every_state, read_capabilities, run_machine

from auth_diameter._core import Avp, Message


@given(st.binary(max_size=64))
@settings(max_examples=2000)
def test_whatever_happens(happened: bytes) -> None:
    run_machine(happened)


def test_everything_in_every_state() -> None:
    """No order of events breaks what must hold, however many there are; and a peer can always come back."""
    found = every_state(5.0)
    assert found.states > 5000
    assert found.dead_ends == 0


@st.composite
def exchanges(draw: st.DrawFn) -> bytes:
    """A CER or CEA of which AVPs are missing, doubled, in another order, or have other data."""
    message = draw(st.sampled_from(MESSAGES))
    avps = draw(st.lists(st.sampled_from(message.avps or MESSAGES[0].avps), max_size=12))
    changed = [
        Avp(avp.code, draw(st.binary(max_size=8)), flags=avp.flags, vendor_id=avp.vendor_id)
        if draw(st.booleans())
        else avp
        for avp in avps
    ]
    return Message(257, changed, flags=draw(st.sampled_from([0, 0x80, 0xC0, 0x20]))).encode()


@given(exchanges())
@settings(max_examples=1000)
def test_whatever_it_tells_of_itself(message: bytes) -> None:
    read_capabilities(message)
