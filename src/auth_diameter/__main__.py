"""The command ``auth-diameter``; ``python -m auth_diameter`` is the same."""

from __future__ import annotations

import sys

from auth_diameter import signals


def main() -> None:
    """Runs the command line; without the packages it needs, says how to get them."""
    signals.hold()
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
    finally:
        signals.hold()  # for the end of the interpreter, which takes a moment, too


if __name__ == "__main__":
    main()
