"""The streams of questions that the tests of the listener share."""

import asyncio
import contextlib
import socket
import struct

from kit.machine import PATIENCE

import auth_diameter as ad
from auth_diameter.disc.admission import ConnectionEvent

REALM = "siphub.net"


def question(number=0):
    """A question without credentials, whose answer is a challenge."""
    return ad.Message(
        265,
        [
            ad.Avp(283, REALM),
            ad.Avp(404, b"6"),
            ad.Avp(406, number.to_bytes(4, "big"), flags=0),
            ad.Avp(1, f"alice@{REALM}"),
        ],
        application_id=1,
        hop_by_hop=number,
    ).encode()


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.001)


async def read_answers(reader, count):
    """As many answers as that, as Messages."""
    framer, answers = ad.Framer(), []
    while len(answers) < count:
        data = await asyncio.wait_for(reader.read(65536), PATIENCE)
        assert data, f"closed after {len(answers)} of {count} answers"
        answers += [ad.Message.decode(message) for message in framer.feed(data)]
    return answers


async def end_closed(reader, writer):
    writer.close()


async def end_reset(reader, writer):
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def writer_gone(writer):
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def open_connections(listener, count, source="127.0.0.1"):
    """Connections that DISC has taken, with nothing asked on them."""
    opened = [await asyncio.open_connection(*listener.address, local_addr=(source, 0)) for _ in range(count)]
    await until(lambda: listener.open + refused(listener) >= count)
    return opened


def refused(listener):
    return sum(
        listener.counts[event]
        for event in (
            ConnectionEvent.TOO_MANY,
            ConnectionEvent.TOO_MANY_FROM_SOURCE,
            ConnectionEvent.NOT_ALLOWED,
        )
    )


async def close_all(opened):
    for _, writer in opened:
        writer.close()
    for _, writer in opened:
        await writer_gone(writer)
