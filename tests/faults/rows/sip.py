"""What telephones do to `serve`: they send again, and more than can be served."""

from __future__ import annotations

import time

from faults.load import Record, UdpLoad
from faults.proxy import FaultProxy
from faults.report import Report, row
from faults.rows.common import each
from faults.world import World


@row(
    "retransmissions",
    "each request is sent again seven times",
    "the same reply bytes; one question to DISC",
    seconds=30.0,
)
def retransmissions(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """A tenth of a second from one to the next, so that the first ones find the reply sent."""
    proxy = world.enter(FaultProxy(world.disc().address))
    load = world.enter(UdpLoad(world.serve(proxy.port).port, copies=8))
    time.sleep(seconds)
    record = load.stop()
    time.sleep(0.2)  # for the last replies
    whole = Record(record[: -8 * 20])  # of the others not all eight were sent
    report.note("requests", len(record))
    report.exactly("not answered as DISC says", len(record.bad), 0)
    report.exactly("replies to each", {len(entry.answers) for entry in whole}, {8})
    different = sum(len({answer.reply for answer in entry.answers}) > 1 for entry in record)
    report.exactly("with different replies", different, 0)
    report.exactly("questions to DISC for a request", proxy.asked / len(record), 1.0)
    report.at_most("slowest", each({"serve": record}, Record.slowest), 0.250)
