"""SECURITY.md names tests and options that there are."""

from __future__ import annotations

import re

from click.testing import CliRunner
from kit.places import ROOT

from auth_diameter.cli import main

TEXT = (ROOT / "SECURITY.md").read_text()


def test_every_test_is_there():
    # hostile/test_corpora_{api,udp,tcp}.py stands for three.
    found = re.findall(r"`((?:\w+/)?[\w{},]+\.(?:py|sh)|\w+/)`", TEXT)
    assert len(found) > 15
    for name in found:
        before, brace, rest = name.partition("{")
        choices, _, after = rest.partition("}")
        for choice in choices.split(",") if brace else [""]:
            path = before + choice + after
            assert (ROOT / "tests" / path).exists() or (ROOT / path).exists(), path


def test_every_option_is_there():
    commands = ("disc", "serve", "user add", "demo")
    helps = "".join(CliRunner().invoke(main, [*command.split(), "--help"]).output for command in commands)
    for option in set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--version"}:
        assert option in helps, option
