"""Any bytes as UAR, SAR or LIR to DISC, and as PPR or RTR to a SIP server: 3GPP TS 29.228, 6.1 and 6.2.

The same is fuzzed with the guidance of what was covered, see fuzz/peers.py.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from kit.cx_targets import SEEDS, take_cx

from auth_diameter._core import Avp, Message

MESSAGES = [Message.decode(seed) for seed in SEEDS]
AVPS = [avp for message in MESSAGES for avp in message.avps]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request of which AVPs are missing, doubled, in another order, or have other data."""
    message = draw(st.sampled_from(MESSAGES))
    avps = [avp for avp in message.avps if draw(st.integers(0, 9))]
    avps += draw(st.lists(st.sampled_from(AVPS), max_size=2))
    changed = [
        avp
        if draw(st.integers(0, 9))
        else Avp(avp.code, draw(st.binary(max_size=8)), flags=avp.flags, vendor_id=avp.vendor_id)
        for avp in avps
    ]
    flags = draw(st.sampled_from([0x80, 0xC0, 0xC0, 0xE0]))
    return Message(message.command, changed, application_id=message.application_id, flags=flags).encode()


def test_each_kind() -> None:
    for seed in SEEDS:
        take_cx(seed)


@given(requests())
@settings(max_examples=1000)
def test_whatever_is_asked(data: bytes) -> None:
    take_cx(data)
