"""The command ``auth-diameter``; ``python -m auth_diameter`` is the same."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without the packages it needs, says how to get them."""
    try:
        from auth_diameter.cli import run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        print(
            f"auth-diameter: the command needs {error.name}; pip install 'auth-diameter[server]'",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
