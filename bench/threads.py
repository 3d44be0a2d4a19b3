"""Row 10: `AuthDiameter` from 8 threads beside a client as one writes it in an afternoon.

That one has one socket, one lock held from the question to its answer, and python-diameter for both. It
asks from values that it has at hand, while ours begins with the bytes of a SIP request: so it has less to
do. DISC is the stub, and must have been asked for each decision; a second table gives it some time to
think, as a DISC across a network has. `diameter_www_authorize_many` decides 64 in a call.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import common
import diameter.message as pd

import auth_diameter as ad

Decide = Callable[[], object]
MANY = 64  # requests of one call of _many
HAS_MANY = hasattr(ad.AuthDiameter, "diameter_www_authorize_many")
TARGETS = {"ours": 4, "ours, _many": 12}


class NaiveClient:
    """A user's own: blocking, one question at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((common.LOOPBACK, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()
        self._next = 0
        request = ad.SipRequest(common.request())
        credentials = request.credentials("siphub.net")
        assert credentials is not None
        self._response = credentials.value

    def authorize(self) -> bool:
        with self._lock:
            self._next += 1
            message = pd.Message(
                pd.MessageHeader(
                    command_flags=0x80,
                    command_code=265,
                    application_id=1,
                    hop_by_hop_identifier=self._next,
                    end_to_end_identifier=self._next,
                ),
                [
                    pd.Avp(400, 0, b"siphub.net", 0x40),
                    pd.Avp(283, 0, b"siphub.net", 0x40),
                    pd.Avp(404, 0, b"6", 0x40),
                    pd.Avp(406, 0, self._next.to_bytes(4), 0),
                    pd.Avp(1, 0, b"alice@siphub.net", 0x40),
                    pd.Avp(401, 0, self._response, 0x40),
                    pd.Avp(403, 0, b"REGISTER", 0x40),
                ],
            )
            self._socket.sendall(message.as_bytes())
            data = self._socket.recv(65536)
        answer = pd.Message.from_bytes(data, plain_msg=True)
        return any(avp.code == 268 and avp.value == 2001 for avp in answer.avps)

    def close(self) -> None:
        self._socket.close()


def measure(decide: Decide, threads: int, count: int, each: int = 1) -> dict[str, Any]:
    """`count` decisions, or somewhat fewer, by so many threads together; a call makes `each` of them."""
    failed = []
    calls = count // threads // each

    def caller() -> None:
        for _ in range(calls):
            if not decide():
                failed.append(1)

    crowd = [threading.Thread(target=caller) for _ in range(threads)]
    start, cpu = time.perf_counter(), time.process_time()
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert not failed
    done = calls * threads * each
    return {"done": done, "per_s": done / took, "cpu_us": cpu / done * 1e6}


def alternate(disc: common.Stub, threads: int, turns: int, count: int) -> dict[str, list[dict[str, Any]]]:
    data = common.request()
    naive = NaiveClient(disc.port)
    config = ad.Config(diameter_client_host=common.LOOPBACK, diameter_client_port=disc.port)
    with ad.AuthDiameter(config) as auth:

        def ours() -> ad.Decision:
            return auth.diameter_www_authorize(data, "$fd")

        def ours_many() -> bool:
            decisions = auth.diameter_www_authorize_many(batch, "$fd")
            return len(decisions) == MANY and all(decisions)

        sides: dict[str, tuple[Decide, int]] = {"ours": (ours, 1)}
        if HAS_MANY:
            batch = [common.request(serial) for serial in range(MANY)]
            sides["ours, _many"] = ours_many, MANY
        sides["naive"] = naive.authorize, 1
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for decide, each in sides.values():
            measure(decide, threads, max(count // 10, threads * each), each)
        for _ in range(turns):
            for name, (decide, each) in sides.items():
                before = disc.asked()
                found[name].append(measure(decide, threads, max(count, threads * each), each))
                common.check_asked(disc.asked() - before, found[name][-1]["done"])
    naive.close()
    return found


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--count", type=int, default=16_000, help="decisions of a turn")
    parser.add_argument("--delay", type=int, default=200, help="µs that DISC thinks, in the second table")
    options = parser.parse_args()
    results = {}
    with common.tools("discstub") as folder:
        for delay in (0, options.delay):
            count = options.count if not delay else options.count // 4
            with common.Stub(folder, "-d", delay) as disc:
                found = alternate(disc, options.threads, options.turns, count)
            naive = common.median(found["naive"], "per_s")
            ratios = {name: common.median(runs, "per_s") / naive for name, runs in found.items()}
            results[f"delay_{delay}_us"] = {"ratios": ratios, **found}
            print(f"row 10, {options.threads} threads, DISC answers after {delay} µs")
            common.table(
                ("side", "decisions/s", "CPU µs each", "ratio", "target", ""),
                [
                    (
                        name, f"{common.median(runs, 'per_s'):.0f}", f"{common.median(runs, 'cpu_us'):.1f}",
                        f"{ratios[name]:.2f}",
                        *((f"≥ {TARGETS[name]}", common.verdict(ratios[name], TARGETS[name]))
                          if name in TARGETS else ("", "")),
                    )
                    for name, runs in found.items()
                ],
            )  # fmt: skip
            print()
    if not HAS_MANY:
        print("skipped: _many, which this version's AuthDiameter does not have")
    common.finish(options, {"row": "10", **results})


if __name__ == "__main__":
    main()
