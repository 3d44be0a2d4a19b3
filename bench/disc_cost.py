"""What a question costs DISC, in instructions: the same figure whatever else the machine does.

    python bench/disc_cost.py [--base FOLDER]

Runs itself under `valgrind --tool=callgrind` with few questions and with many, and takes the difference. With
--base, another version is counted, too: `pip install --no-deps --target FOLDER CHECKOUT` brings it there.
In the process, without a socket; users are at hand, and each nonce is used with a growing count.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

BATCH = 16  # questions in one read
FEW, MANY = 4, 64  # reads
NOW = 1_800_000_000.0
USERS = 20


def questions(work: str, nonces: object) -> Callable[[int], bytes]:
    """The n-th question, as our client writes it."""
    import auth_diameter as ad

    secrets = {f"user{i}": ad.ha1(f"user{i}", "siphub.net", "secret") for i in range(USERS)}
    challenges = {user: nonces.make("siphub.net", NOW) for user in secrets}  # type: ignore[attr-defined]

    def question(n: int) -> bytes:
        user = f"user{n % USERS}"
        avps = [
            ad.Avp(400, "siphub.net"),
            ad.Avp(283, "siphub.net"),
            ad.Avp(404, b"6"),
            ad.Avp(406, n.to_bytes(4, "big"), flags=0),
            ad.Avp(1, f"{user}@siphub.net"),
        ]
        if work == "verify":
            nonce, count = challenges[user], f"{n // USERS + 1:08x}"
            response = ad.digest_response(
                secrets[user], "REGISTER", "sip:siphub.net", nonce, qop="auth", nc=count, cnonce="abcd"
            )
            value = (
                f'Digest username="{user}", realm="siphub.net", nonce="{nonce}", uri="sip:siphub.net", '
                f'algorithm=MD5, qop=auth, nc={count}, cnonce="abcd", response="{response}"'
            )
            avps += [ad.Avp(401, value), ad.Avp(403, "REGISTER")]
        return ad.Message(265, avps, application_id=1, hop_by_hop=n, end_to_end=n + 1).encode()

    return question


def parts() -> tuple[Any, Any, Any, Any]:
    """DISC, its nonces, and what creates and what opens a store; older versions have them elsewhere."""
    from auth_diameter.disc.server import Disc

    try:
        from auth_diameter.store.accounts import Accounts
        from auth_diameter.store.sqlite import SqliteStore
        from auth_diameter.verifier.nonces import Nonces
    except ModuleNotFoundError:
        from auth_diameter.disc.nonce import Nonces
        from auth_diameter.disc.store import Store

        return Disc, Nonces, Store.create, Store.open
    return Disc, Nonces, Accounts.create, SqliteStore.open


def play(work: str, reads: int) -> None:
    """So many reads, each answered; all questions are made before, for both numbers of reads alike."""
    import auth_diameter as ad
    from auth_diameter._core import RequestStream

    Disc, Nonces, create, open_store = parts()  # noqa: N806 - classes
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/users.sqlite"
        with create(path) as store:
            for i in range(USERS):
                store.add_user(f"user{i}", "siphub.net", "secret")
        nonces = Nonces(b"sixteen secret bytes")
        question = questions(work, nonces)
        received = [b"".join(map(question, range(n * BATCH, (n + 1) * BATCH))) for n in range(MANY)]
        with open_store(path) as store:
            disc = Disc(store, None, nonces)
            for data in received[:reads]:
                out = bytearray()
                disc.answer(RequestStream().feed(data), out, NOW)
        codes = {ad.Message.decode(answer).find(268).value for answer in ad.Framer().feed(out)}
        assert codes == {2001 if work == "verify" else 4001}, codes
        # A retransmission gets 2001 as well, and costs less.
        counts = {outcome.name: n for outcome, n in disc.counts.items()}
        assert counts == {"AUTHORIZED" if work == "verify" else "CHALLENGED": reads * BATCH}, counts


def count(work: str, reads: int, folder: str | None) -> int:
    """Instructions of a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    python = sys.executable
    if folder is not None:
        # Outside of any virtual environment, where an editable install would come first.
        environment["PYTHONPATH"], python = folder, os.path.realpath(python)
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, python, "-P", __file__]
    done = subprocess.run(
        [*command, "--work", work, "--reads", str(reads)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])  # type: ignore[index]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--base", metavar="FOLDER", help="an installation to compare with")
    parser.add_argument("--work", choices=["verify", "challenge"], help=argparse.SUPPRESS)
    parser.add_argument("--reads", type=int, default=MANY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        play(options.work, options.reads)
        return
    print(f"{'question':<12} {'instructions':>12}" + (f" {'base':>12} {'ratio':>6}" if options.base else ""))
    for work in ("verify", "challenge"):
        figures = []
        for folder in (None, *([options.base] if options.base else [])):
            few, many = (count(work, reads, folder) for reads in (FEW, MANY))
            figures.append((many - few) // ((MANY - FEW) * BATCH))
        row = f"{work:<12} {figures[0]:>12,}"
        if options.base:
            row += f" {figures[1]:>12,} {figures[0] / figures[1]:>6.2f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
