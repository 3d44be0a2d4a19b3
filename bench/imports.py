"""`user import` of 1,000,000 users into SQLite, PostgreSQL and MariaDB, each in an empty database and again.

    python bench/imports.py [--users N] [--kinds sqlite,postgresql,mysql]

The servers are started for it, with Kamailio's own tables and the columns of `db upgrade`. Each command is a
process of its own, as an operator starts it; its CPU time is ours alone, the server's is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kit.databases import DatabaseServer, MariaDb, PostgreSql

OURS = [sys.executable, "-m", "auth_diameter"]
SERVERS: dict[str, type[DatabaseServer]] = {"postgresql": PostgreSql, "mysql": MariaDb}


def write(path: Path, users: int, *, password: str = "p", every: int = 1) -> Path:
    """A file with users of ten domains; `every` so many are left."""
    with path.open("w") as file:
        file.write("username,domain,password\n")
        file.writelines(f"u{n:07d},d{n % 10}.example.net,{password}{n}\n" for n in range(0, users, every))
    return path


def timed(what: str, *words: object) -> None:
    """Runs one of our commands and prints how long it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run([*OURS, *map(str, words)], capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = done.stdout.strip() if done.returncode == 0 else done.stderr.strip()
    print(
        f"{what:28} {took:6.1f} s  {cpu:6.1f} s CPU  {after.ru_maxrss / 1024:5.0f} MiB  {said[-90:]}",
        flush=True,
    )


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """What --db names."""
    if kind == "sqlite":
        yield str(folder / "users.sqlite")
        return
    with SERVERS[kind]() as server:
        name = server.database()
        for column in ("ha1_sha256", "ha1_sha512t256"):
            server.run(f"ALTER TABLE subscriber ADD COLUMN {column} VARCHAR(64) DEFAULT '' NOT NULL", name)
        yield server.url(name)


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--kinds", default="sqlite,postgresql,mysql")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        files = {
            "all": write(folder / "all.csv", given.users),
            "new": write(folder / "new.csv", given.users, password="q"),
            "half": write(folder / "half.csv", given.users, password="q", every=2),
        }
        for kind in given.kinds.split(","):
            print(kind)
            with database(kind, folder) as db:
                timed("  into an empty table", "user", "import", files["all"], "--db", db)
                timed("  the same again", "user", "import", files["all"], "--db", db)
                timed("  the same, --dry-run", "user", "import", files["all"], "--db", db, "--dry-run")
                timed("  other passwords, --replace", "user", "import", files["new"], "--db", db, "--replace")
                timed(
                    "  half of them, --sync", "user", "import", files["half"], "--db", db, "--sync", "--yes"
                )


if __name__ == "__main__":
    main()
