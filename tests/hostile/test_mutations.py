"""Small damage to good messages: every prefix, every byte left out, every byte changed.

Whatever is damaged is accepted, or refused with a documented exception whose offset lies within, or becomes
a Decision; and damage never makes wrong credentials right. `mutants.py`, run as a script, does the same with
all 256 values of every byte.
"""

from __future__ import annotations

import pytest
from hostile.mutants import BASES, STREAMS, mutations, try_out, try_stream

SOME = b'\x00\n\r "%,:;<=@\\a8\xff'  # those that mean something, and a few others


@pytest.mark.parametrize("name", BASES)
def test_damage(name):
    base = BASES[name]
    try_out(name, base)
    for data in mutations(base, SOME):
        try_out(name, data)


@pytest.mark.parametrize("name", STREAMS)
def test_pieces_are_as_good_as_the_whole(name):
    try_stream(name, STREAMS[name])
