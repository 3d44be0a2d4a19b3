"""The command line: all commands, and their exit status.

Exit status: 0 done; 1 refused (`check`), or a step failed (`demo`); 2 unusable arguments or configuration,
with one line that names the error and its place.
"""

from __future__ import annotations

import logging
import os
import sys

import click

import auth_diameter as ad
from auth_diameter import signals
from auth_diameter.commands import bench, check, db, decode, demo, disc, serve, subscribers
from auth_diameter.commands.options import Group
from auth_diameter.commands.terminal import fail, write_plainly
from auth_diameter.logs import Formatter


def run() -> None:
    """The entry point: reports every expected failure as one line on stderr."""
    try:
        signals.release()
        write_plainly()
        status = main.main(prog_name="auth-diameter", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            sys.exit(130)
        fail("no password was given")  # nothing else is prompted for
    except click.UsageError as error:
        fail(_what_to_write(error))
    except click.ClickException as error:
        fail(error.format_message())
    except ad.Error as error:
        fail(str(error))
    except BrokenPipeError:
        # The reader closed the pipe; flushing the rest at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # as click has it
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _what_to_write(error: click.UsageError) -> str:
    if error.ctx is None:
        return error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in ("-v", "--verbose"):
        program, _, command = error.ctx.command_path.partition(" ")
        return f"{error.option_name} stands before the command: {program} {error.option_name} {command} …"
    return f"{error.format_message()} ({error.ctx.command_path} --help)"


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ad.__version__, message="auth-diameter %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log more; disc logs every question.")
def main(verbose: bool) -> None:
    """SIP digest authentication with a Diameter back end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


for command in (
    bench.bench,
    check.check,
    db.db,
    decode.decode,
    demo.demo,
    disc.disc,
    serve.serve,
    subscribers.group,
    subscribers.user,
):
    main.add_command(command)
