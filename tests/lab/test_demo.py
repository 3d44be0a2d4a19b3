"""The demo: DISC, a SIP server and a telephone on loopback, and their ladder."""

import asyncio
import dataclasses
import io
import itertools
import logging
import re

import pytest
from rich.console import Console

from auth_diameter.lab import demo


def play(*, full=False, width=120, application="disc"):
    """The exit status and all that was printed."""
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    status = asyncio.run(demo.play(console, full=full, application=application))
    return status, console.file.getvalue()


def scene(text, title):
    """What was printed between one title and the mark at its end."""
    return text.partition(title)[2].partition("\n  ✓")[0].partition("\n  ✗")[0]


def arrows_of(text):
    """Labels and directions, as (label, ▶ or ◀)."""
    lines = text.splitlines()
    found = []
    for above, line in itertools.pairwise(lines):
        if "►" in line or "◄" in line:
            label = next(part.strip() for part in above.split("│") if part.strip())
            found.append((label, "►" if "►" in line else "◄"))
    return found


def test_every_scene_goes_as_it_should():
    status, text = play()
    assert status == 0
    assert text.count("✓") == 3
    assert "✗" not in text
    assert text.rstrip().endswith("All 3 scenes went as they should.")


def test_the_ladder_of_rfc_4740():
    """RFC 4740, 6.2; without SIP-Server-URI the results are 2008 and 2006 (figure 2)."""
    status, text = play(application="sip")
    assert status == 0
    assert arrows_of(scene(text, "Register: a challenge, then the right password")) == [
        ("REGISTER sip:siphub.net", "►"),
        ("CER", "►"),
        ("CEA 2001 (success)", "◄"),
        ("MAR, no credentials", "►"),
        ("MAA 2008 + challenge", "◄"),
        ("401 Unauthorized", "◄"),
        ("REGISTER with credentials", "►"),
        ("MAR, credentials", "►"),
        ("MAA 2006 (success)", "◄"),
        ("200 OK", "◄"),
    ]


def test_the_ladder_of_cx():
    """TS 29.228, 6.3: the HSS has HA1, and the SIP server makes the nonce and checks."""
    status, text = play(application="cx")
    assert status == 0
    assert arrows_of(scene(text, "Register: a challenge, then the right password")) == [
        ("REGISTER sip:siphub.net", "►"),
        ("401 Unauthorized", "◄"),
        ("REGISTER with credentials", "►"),
        ("CER", "►"),
        ("CEA 2001 (success)", "◄"),
        ("MAR, HA1 of alice", "►"),
        ("MAA 2001 + HA1", "◄"),
        ("200 OK", "◄"),
    ]


def test_the_ladder_of_digest_authentication():
    """RFC 7616, 3.1, and RFC 3261, 22: request, challenge, request with credentials, success."""
    _, text = play()
    assert arrows_of(scene(text, "Register: a challenge, then the right password")) == [
        ("REGISTER sip:siphub.net", "►"),
        ("AA-Request, no credentials", "►"),
        ("AA-Answer 4001 + Challenge", "◄"),
        ("401 Unauthorized", "◄"),
        ("REGISTER with credentials", "►"),
        ("AA-Request, credentials", "►"),
        ("AA-Answer 2001 (success)", "◄"),
        ("200 OK", "◄"),
    ]


def test_a_wrong_password_and_a_group_check():
    _, text = play()
    wrong = arrows_of(scene(text, "Register with a wrong password"))
    assert wrong[-2:] == [("AA-Answer 5003 (refused)", "◄"), ("403 Forbidden", "◄")]
    call = arrows_of(scene(text, "Call: a challenge"))
    assert ("407 Proxy Authentication Required", "◄") in call
    assert call[-3:] == [
        ("AA-Request, in group voicemail?", "►"),
        ("AA-Answer 2001 (success)", "◄"),
        ("200 OK", "◄"),
    ]


def test_full_shows_every_message_whole():
    status, text = play(full=True)
    assert status == 0
    for part in (
        "REGISTER sip:siphub.net SIP/2.0",
        "SIP/2.0 401 Unauthorized",
        'WWW-Authenticate: Digest realm="siphub.net"',
        'Authorization: Digest username="alice"',
        "Result-Code",
        "voicemail",
    ):
        assert part in text
    # As many as there are arrows.
    assert len(re.findall(r"^  \d+\. ", text, re.MULTILINE)) == len(arrows_of(text))


def test_the_lines_of_the_ladder_are_not_broken_in_a_narrow_terminal():
    assert arrows_of(play(width=40)[1]) == arrows_of(play(width=200)[1])


def test_no_line_of_the_ladder_is_wider_than_a_terminal():
    _, text = play()
    assert max(len(line) for line in text.splitlines() if "│" in line) <= 80


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"password": "guess"}, "401 → 403 instead of 401 → 200"),
        ({"expected": (401, 403)}, "401 → 200 instead of 401 → 403"),
    ],
)
def test_a_step_that_goes_wrong_is_status_1(monkeypatch, change, seen):
    scenes = (dataclasses.replace(demo._SCENES[0], **change), *demo._SCENES[1:])
    monkeypatch.setattr(demo, "_SCENES", scenes)
    status, text = play()
    assert status == 1
    assert seen in text
    assert "1 of 3 scenes went wrong." in text


def test_no_reply_is_a_step_that_goes_wrong(monkeypatch):
    async def silent(request, auth):
        return None

    monkeypatch.setattr(demo, "_PATIENCE", 0.05)
    monkeypatch.setattr(demo, "request_route", silent)
    status, text = play()
    assert status == 1
    assert text.count("✗ no reply instead of") == 3


def test_the_command_leaves_the_log_of_refusals_as_it_was(cli):
    """It is quiet while the ladder shows who is refused, and no longer."""
    refused = logging.getLogger("auth_diameter.refused")
    refused.setLevel(logging.INFO)
    try:
        assert cli("demo").status == 0
        assert refused.level == logging.INFO
    finally:
        refused.setLevel(logging.NOTSET)
