"""The command ``auth-diameter``; ``python -m auth_diameter`` is the same."""

from __future__ import annotations

import sys

from auth_diameter import signals


def main() -> None:
    """Runs the command line; if a package is missing, says how to install it."""
    signals.hold()
    try:
        from auth_diameter.cli import run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich", "sqlalchemy"):
            raise
        print(
            f"auth-diameter: the command needs {error.name}; pip install 'auth-diameter[server]'",
            file=sys.stderr,
        )
        sys.exit(2)
    finally:
        signals.hold()  # while the interpreter ends, too, which takes a moment


if __name__ == "__main__":
    main()
