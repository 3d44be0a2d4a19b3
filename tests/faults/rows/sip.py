"""What telephones do to `serve`: they send again, and more than can be served."""

from __future__ import annotations

import time

from faults.load import LOOPBACK, Record, UdpLoad, wait_until
from faults.proxy import FaultProxy, Faults
from faults.report import Report, row
from faults.rows.common import each
from faults.world import World


@row(
    "retransmissions",
    "each request is sent again seven times",
    "the same reply bytes; one question to DISC",
    seconds=10.0,
)
def retransmissions(world: World, report: Report, *, seconds: float = 2.0) -> None:
    """A tenth of a second from one to the next, so that the first ones find the reply sent."""
    proxy = world.enter(FaultProxy(world.disc().address))
    load = world.telephones(world.serve(proxy.port), copies=8)
    time.sleep(seconds)
    record = load.stop()
    whole = Record(record[: -8 * 20])  # of the others not all eight were sent
    wait_until(lambda: {len(entry.answers) for entry in whole} == {8})
    report.note("requests", len(record))
    report.none("not answered as DISC says", len(record.bad))
    report.exactly("replies to each", {len(entry.answers) for entry in whole}, {8})
    different = sum(len({answer.reply for answer in entry.answers}) > 1 for entry in record)
    report.exactly("with different replies", different, 0)
    report.exactly("questions to DISC for a request", proxy.asked / len(record), 1.0)
    report.at_most("slowest", each({"serve": record}, Record.slowest), 0.250)


@row(
    "overload",
    "five times more requests than DISC answers",
    "goodput ≥ 80 % of the peak; the excess gets 503 with Retry-After at once; p99 of the accepted ≤ 500 ms",
    seconds=60.0,
    capacity=600.0,
)
def overload(world: World, report: Report, *, seconds: float = 4.0, capacity: float = 300.0) -> None:
    """A proxy lets so many questions a second through; the others wait in front of DISC."""
    proxy = world.enter(FaultProxy(world.disc().address))
    proxy.questions = Faults(rate=capacity)
    _play(report, world.telephones(world.serve(proxy.port), 5 * capacity), seconds, capacity)


_SLOW_ROUTE = """
import time

async def request_route(request, auth):
    time.sleep(0.004)  # as a computation would
    decision = await auth.diameter_www_authorize(request, "$fd")
    return decision if not decision else request.reply(200, "OK")
"""


@row(
    "overload-route",
    "five times more requests than the SIP host has time for",
    "goodput ≥ 80 % of the peak; the excess gets 503 with Retry-After; p99 of the accepted ≤ 500 ms",
    seconds=20.0,
)
def overload_of_the_route(world: World, report: Report, *, seconds: float = 3.0) -> None:
    """A route that keeps the loop for 4 ms a request. The peak is the best of three loads around that."""
    route = world.folder / "route.py"
    route.write_text(_SLOW_ROUTE)
    disc = f"{LOOPBACK}:{world.disc().port}"
    serve = world.daemon("serve", "--no-penalty", "--disc", disc, "--route", route)
    peak = 0.0
    for rate in (175.0, 200.0, 225.0):
        with UdpLoad(serve.port, rate) as load:
            time.sleep(1.0)
            record = load.stop()
            peak = max(peak, len(record.good) / (record.good[-1].answers[0].at - record[0].due))
    _play(report, world.telephones(serve, 5 * peak), seconds, peak)


def _play(report: Report, load: UdpLoad, seconds: float, peak: float) -> None:
    """Judges a load beyond the peak, which is in requests a second."""
    time.sleep(1.0)  # until it is full
    start = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    record = load.stop().between(start, end)
    good, refused = record.good, record.with_status(503)
    report.note("peak, requests a second", round(peak))
    report.note("offered, requests a second", round(len(record) / (end - start)))
    report.at_least("goodput, of the peak", len(good) / (end - start) / peak, 0.8, "%")
    report.note("accepted: median", good.slowest(0.5), "ms")
    report.at_most("accepted: 99 of 100", good.slowest(0.99), 0.500)
    report.note("refused", len(refused) / len(record), "%")
    report.at_most("refused: 99 of 100", refused.slowest(0.99), 0.500)
    without = sum(b"\r\nRetry-After: " not in entry.answers[0].reply for entry in refused)
    report.exactly("503 without Retry-After", without, 0)
    report.exactly("lost", record.lost, 0)
    report.exactly("with another's verdict", record.swapped, 0)
