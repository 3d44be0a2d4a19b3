"""README is true: what it shows runs, what it names exists, and what exists is named."""

import asyncio
import dataclasses
import inspect
import io
import itertools
import logging
import os
import re
import shutil
import sys
import tomllib

import click
import pytest
from kit.answer_stream import AnswerStream
from kit.machine import unused_udp_port
from kit.places import ROOT
from kit.pool import new_question
from kit.process import Program, Server, assert_one_line, run_command, run_ours, run_python
from kit.sip import ACCOUNT, PASSWORD
from kit.uac import Account, Uac
from kit.wire import build_answer
from rich.console import Console

import auth_diameter as ad
from auth_diameter.cli import main
from auth_diameter.client import pseudovars
from auth_diameter.host import limits
from auth_diameter.lab import demo
from auth_diameter.lab.uac import authorization, make_request, parse_reply
from auth_diameter.logs import Formatter
from auth_diameter.refusals import Refusals
from auth_diameter.standard import StandardConfig
from auth_diameter.store.accounts import Accounts
from auth_diameter.verifier.config import VerifierConfig

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def blocks(language):
    """The contents of all fences of that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def tables():
    """Lines of each table, with the lines' ends cut off."""
    found, lines = [], []
    for line in [*TEXT.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            found.append(lines)
            lines = []
    return found


def table(first_head):
    """The rows below the head that begins with this cell; each a list of cells."""
    for lines in tables():
        head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
        if head[0] == first_head:
            return rows
    raise AssertionError(f"README has no table of {first_head}")


def code(text):
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text.replace("\\|", "|"))


SERVER, ASYNCIO, KAMAILIO, LOCAL, STANDARD, BELOW, ROUTE = blocks("python")


ALICE = Account()
BOB = "sip:bob@siphub.net"


def register(*headers):
    return ALICE.request("REGISTER", *headers)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme") / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", PASSWORD)
        store.add_group("alice", "siphub.net", "voicemail")
    return path


@pytest.fixture(scope="module")
def disc(db):
    """A DISC that knows alice."""
    with Server("disc", "--db", db) as server:
        yield server


# --- what can be pasted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", blocks("python"))
def test_python_is_complete(source):
    """Each compiles, and imports what it uses."""
    compile(source, "README.md", "exec")
    assert "ad." not in source or "import auth_diameter as ad\n" in source


def test_a_server_takes_fifteen_lines_at_most():
    assert len([line for line in SERVER.splitlines() if line.strip()]) <= 15


def test_the_server_lets_alice_in_and_tells_it(disc, tmp_path):
    port = unused_udp_port()
    source = (
        SERVER.replace("5060", str(port))
        .replace("3000", str(disc.port))
        .replace('"localhost"', '"127.0.0.1"')
    )
    with (
        Program(sys.executable, "-W", "error", "-u", "-c", source) as program,
        Uac(("127.0.0.1", port)) as phone,
    ):
        (challenged,) = phone.exchange(phone.request())  # sent again until it is there
        assert challenged.status == 401
        assert phone.call("REGISTER", phone.answer(challenged)).status == 200
        program.kill()
        assert program.err() == ""
        lines = program.out().splitlines()
    assert lines[0] == "REGISTER CHALLENGED None"
    assert lines[-1] == "REGISTER AUTHORIZED alice"


def test_asyncio_judges_many_at_once(disc):
    names = {}
    exec(ASYNCIO.replace('"localhost"', f'"{disc.where}"'), names)

    def invite(*headers):
        return ad.SipRequest(make_request("INVITE", "sip:bob@siphub.net", ACCOUNT, headers=headers))

    (challenged,) = asyncio.run(names["judge"]([invite()]))
    assert challenged.status == 407
    challenge = parse_reply(challenged.reply).challenge()
    values = [
        authorization(challenge, "alice", PASSWORD, "INVITE", "sip:bob@siphub.net", nc=nc)
        for nc in range(1, 21)
    ]
    decisions = asyncio.run(names["judge"]([invite(("Proxy-Authorization", value)) for value in values]))
    assert {decision.cause for decision in decisions} == {ad.Cause.MEMBER}


def test_without_disc_alice_is_challenged(db, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.sqlite").symlink_to(db)
    found = {"datagram": register()}
    exec(LOCAL, found)
    reply = parse_reply(found["decision"].reply)
    assert [challenge.algorithm for challenge in reply.challenges()] == ["SHA-256", "MD5"]


def test_the_codecs_print_what_their_comments_say(capsys):
    exec(BELOW, {})
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == re.findall(r"print\(ad\.verify.*# (True|bytearray\(.*?\))", BELOW)
    assert out[2].startswith("Device-Watchdog-Request(280)")


def test_the_route_serves(disc, tmp_path):
    path = tmp_path / "route.py"
    path.write_text(ROUTE)
    with Server("serve", "--disc", disc.where, "--route", path) as serve, Uac(serve.address) as phone:
        challenged = phone.call()
        assert challenged.status == 401
        bound = ("Contact", "<sip:alice@192.0.2.1>;expires=60")
        registered = phone.call("REGISTER", phone.answer(challenged), bound)
        assert registered.status == 200
        assert bound in registered.headers
        invite = phone.answer(phone.call("INVITE", uri=BOB), "INVITE", uri=BOB)
        assert phone.call("INVITE", invite, uri=BOB).reason == "Not Allowed"  # she is not in pstn


@pytest.fixture(scope="module")
def two_domains(tmp_path_factory):
    """A DISC with an alice in each of two domains, of whom one is in the groups."""
    path = tmp_path_factory.mktemp("readme") / "domains.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", PASSWORD)
        store.add_user("alice", "other.example", PASSWORD)
        for group in ("voicemail", "pstn"):
            store.add_group("alice", "siphub.net", group)
    with Server("disc", "--db", path) as server:
        yield server


@pytest.mark.parametrize(
    ("realm", "options", "reason"),
    [
        ("siphub.net", (), "Forbidden"),
        ("$fd", (), "Not Allowed"),
        ("$fd", ("--no-use-domain",), "OK"),  # which is why there is a REALM, and why use_domain is on
    ],
)
def test_the_route_does_not_take_alice_for_alice_of_another_domain(
    two_domains, tmp_path, realm, options, reason
):
    path = tmp_path / "route.py"
    path.write_text(ROUTE.replace('"siphub.net"', f'"{realm}"'))
    with (
        Server("serve", "--disc", two_domains.where, "--route", path, *options) as serve,
        Uac(serve.address, domain="other.example") as phone,
    ):
        challenged = phone.call("INVITE", uri=BOB)
        # Whatever the realm, it is the password of alice@other.example's own.
        own = "of another domain" if challenged.challenge().realm == "siphub.net" else PASSWORD
        invite = phone.answer(challenged, "INVITE", uri=BOB, password=own)
        assert phone.call("INVITE", invite, uri=BOB).reason == reason


def test_asyncio_does_not_take_alice_for_alice_of_another_domain(two_domains):
    names = {}
    exec(ASYNCIO.replace('"localhost"', f'"{two_domains.where}"'), names)
    request = ("INVITE", "sip:bob@siphub.net", "alice@other.example")
    (challenged,) = asyncio.run(names["judge"]([make_request(*request)]))
    value = authorization(parse_reply(challenged.reply).challenge(), "alice", PASSWORD, *request[:2])
    invite = ad.SipRequest(make_request(*request, headers=[("Proxy-Authorization", value)]))
    (decision,) = asyncio.run(names["judge"]([invite]))
    assert decision.cause is ad.Cause.NOT_MEMBER


# Of a configuration with the C module, and of the same one with our package instead.
(DIFF,) = blocks("diff")
BEFORE, AFTER = ([line[1:] for line in DIFF.splitlines() if line[:1] in (sign, " ")] for sign in "-+")


def kamailio_cfg(lines):
    """A whole configuration with these lines: those that load modules, and those of the route."""
    modules = ["sl", "pv", "textops"]
    head = [f'loadmodule "{name}.so"' for name in modules]
    body = [line for line in lines if line.startswith(" ")]
    head += [line for line in lines if not line.startswith(" ")]
    return "\n".join([*head, "request_route {", *body, '    sl_send_reply("200", "OK");', "}", ""])


def test_five_lines_of_kamailio_change():
    assert len([line for line in DIFF.splitlines() if line.startswith("+")]) == 5


@pytest.mark.peers
@pytest.mark.parametrize(
    "script",
    [
        next(block for block in blocks("text") if "modparam" in block),
        kamailio_cfg(BEFORE),
        kamailio_cfg(AFTER),
    ],
    ids=["our DISC", "the C module", "our package"],
)
def test_kamailio_reads_the_script(tmp_path, script):
    kamailio = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if kamailio is None:
        if os.environ.get("AUTH_DIAMETER_REQUIRE_PEERS") == "1":
            pytest.fail("kamailio is not installed (Debian: kamailio, kamailio-python3-modules)")
        pytest.skip("kamailio is not installed (Debian: kamailio, kamailio-python3-modules)")
    path = tmp_path / "kamailio.cfg"
    path.write_text(f"listen=udp:127.0.0.1:5060\n{script}")
    done = run_command(kamailio, "-c", "-f", path)
    assert done.status == 0, done.err
    assert "CRITICAL" not in done.err


def test_the_ladder_is_what_the_demo_prints():
    console = Console(file=io.StringIO(), width=120, highlight=False, soft_wrap=True)
    assert asyncio.run(demo.play(console)) == 0
    (ladder,) = (block for block in blocks("text") if "UAC" in block)
    assert f"\n\n{ladder}\n" in console.file.getvalue()


def test_the_two_commands_name_extras_and_the_program():
    extras = re.findall(r"pip install '(?:\.|auth-diameter)\[(\w+)\]'", TEXT)
    assert set(extras) == {"server", "test"}
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert set(PROJECT["scripts"]) == {"auth-diameter"}


def test_pythons_are_those_of_the_package():
    named = set(re.search(r"Python (3[^a-z]*(?:or 3\.\d+)?)", TEXT)[1].replace(" or ", ", ").split(", ")) - {
        ""
    }
    classifiers = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text}
    assert named == classifiers


# --- commands -------------------------------------------------------------------------------------------


def command(*path):
    """The command of that name, such as user, add."""
    found = main
    for name in path:
        found = found.commands[name]
    return found


def options_of(found):
    return {text for option in found.params for text in [*option.opts, *option.secondary_opts]} | {"--help"}


def leaves(group, path=()):
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from leaves(found, (*path, name))
        else:
            yield (*path, name)


def listed():
    """Each row of the commands: their paths, and the names of the options."""
    for usage, _, options in table("command"):
        name, *more = code(usage)[0].split(" ", 1)
        if isinstance(command(name), click.Group):
            yield [(name, part) for part in more[0].split("|")], set(code(options))
        else:
            yield [(name,)], set(code(options))


def test_every_command_is_listed_and_exists():
    assert sorted(path for paths, _ in listed() for path in paths) == sorted(leaves(main))


def test_every_option_listed_exists():
    for paths, options in listed():
        assert options <= set().union(*(options_of(command(*path)) for path in paths)), paths


def test_every_command_line_is_one():
    """In fences and in sentences: ``auth-diameter user add … --db FILE``."""
    fences = "".join(blocks("sh"))
    lines = [line.partition("  #")[0] for line in fences.splitlines()]
    lines += code(re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL))
    found = [words for line in lines for words in re.findall(r"auth-diameter((?: [^&\s]+)+)", line)]
    assert len(found) >= 10
    for words in found:
        path, at = [], main
        for word in words.split():
            if word.startswith("-"):
                assert word in options_of(at), words
            elif isinstance(at, click.Group):
                at = at.commands[word]
                path.append(word)


def test_addresses_are_the_defaults():
    for name in ("disc", "serve"):
        default = next(option.default for option in command(name).params if option.name == "listen")
        (about,) = (row[1] for row in table("command") if code(row[0]) == [name])
        assert default in about


def test_csv_is_read_as_shown(tmp_path, db):
    columns = re.search(r"`(username,domain,password)\[,(groups)\]`", TEXT)
    path = tmp_path / "users.csv"
    path.write_text(f"{columns[1]},{columns[2]}\nbob,siphub.net,swordfish,pstn;voicemail\n")
    copy = tmp_path / "copy.sqlite"
    shutil.copy(db, copy)
    done = run_ours("user", "import", path, "--db", copy)
    assert (done.status, done.err) == (0, "")
    with Accounts.open(copy) as store:
        assert sorted(store.groups("bob", "siphub.net")) == ["pstn", "voicemail"]


# --- names ----------------------------------------------------------------------------------------------


def own_fields():
    """The fields of Config with their defaults, without those that it shares with DISC."""
    fields = ad.Config.__dataclass_fields__
    return {name: fields[name].default for name in ad.Config.__annotations__}


def test_parameters_are_those_of_config():
    rows = [(code(name)[0], code(default)[0]) for name, default, _ in table("parameter")]
    assert rows == [(name, repr(default).replace("'", '"')) for name, default in own_fields().items()]


def test_settings_for_standard_diameter_are_accepted():
    names = {}
    exec(STANDARD, names)
    assert (names["config"].diameter_client_port, names["hss"].application) == (5868, "cx")


def test_settings_of_standard_diameter_are_all_listed():
    rows = [(code(name)[0], code(default)[0]) for name, default, _ in table("setting")]
    fields = StandardConfig.__dataclass_fields__
    assert rows == [(name, repr(fields[name].default).replace("'", '"')) for name in fields]


def test_serve_has_the_parameters_as_options():
    """But for those that --disc has; and it says which of them differ. Those of DISC are options as well."""
    (sentence,) = re.findall(r"`serve` has an option for each,[^.]*\.", TEXT)
    options = {option.name: option for option in command("serve").params}
    assert {field.name for field in dataclasses.fields(VerifierConfig)} <= set(options)
    fields = {
        name: default
        for name, default in own_fields().items()
        if name not in ("db", "db_password", "nonce_key", "state")
    }
    assert {"db", "nonce_key"} <= set(options)
    assert set(fields) - set(options) == {"diameter_client_host", "diameter_client_port", "peers"}
    other = {name for name, default in fields.items() if name in options and options[name].default != default}
    assert other == {name.lstrip("-").replace("-", "_") for name in code(sentence.rpartition(";")[2])} - {
        "no_"
    }


def test_options_of_disc_are_all_listed():
    listed = {name.replace("--no-", "--") for row in table("option of `disc`") for name in code(row[0])}
    options = {name for name in options_of(command("disc")) if "--no-" not in name}
    assert options - listed == {"--listen", "--db", "--help"}
    assert listed <= options


def test_refusals_are_logged_as_shown():
    (shown,) = (block for block in blocks("text") if "INFO refused" in block)
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(Formatter())
    log = logging.getLogger("auth_diameter.test.readme")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    refused = Refusals(log)
    refused.note(ACCOUNT, "192.0.2.1", "FORBIDDEN", 0.0, proven=False)
    refused = Refusals(log)
    for number in range(43):
        refused.note(ACCOUNT, "192.0.2.1", "WRONG_DIGEST", number / 42, "10.0.0.5", proven=True)
    log.removeHandler(handler)
    first, _, last = (line.partition("INFO ")[2] for line in text.getvalue().splitlines())
    assert [line.partition("INFO ")[2] for line in shown.splitlines()] == [first, last]
    named = [name for row in table("field") for name in code(row[0])]
    assert re.findall(r"(\w+)=", last) == named


def test_functions_have_these_arguments():
    rows = [code(row[0])[0] for row in table("function")]
    for text in rows:
        name, *arguments = re.findall(r"\w+", text)
        assert list(inspect.signature(getattr(ad, name)).parameters) == arguments
    assert len(rows) == 3


def test_attributes_exist():
    decision = ad.Decision(1, ad.Cause.BYPASSED)
    for row in table("attribute"):
        assert all(hasattr(decision, name) for name in code(row[0])), row
    request = ad.SipRequest(register())
    for row in table("of a `SipRequest`"):
        for text in code(row[0]):
            assert hasattr(request, text.partition("(")[0]), text


def _field(size):
    value = "x" * size
    return f'Digest username="{value}", realm="a", nonce="b", uri="c", response="{"0" * 32}"'


def _unknown(count):
    more = "".join(f", x{number}=1" for number in range(count))
    return f'Digest username="a", realm="a", nonce="b", uri="c", response="{"0" * 32}"' + more


def _answer(*challenges):
    more = tuple(ad.Avp(402, value) for value in challenges)
    return AnswerStream().feed(build_answer(1, 4001, more=more), {1: new_question()})[0][1].fault


def _grouped(depth):
    avp = ad.Avp(297, b"")
    for _ in range(depth - 1):
        avp = ad.Avp(297, [avp])
    while avp.avps:
        (avp,) = avp.avps


def _of_size(size):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    return data + b"x" * (size - len(data))


def _with_fields(count):
    data = make_request("REGISTER", "sip:siphub.net", ACCOUNT)
    return data.replace(b"\r\n\r\n", b"\r\nX: 1" * (count - data.count(b"\r\n") + 2) + b"\r\n\r\n")


def _with_contacts(count):
    contact = ("m", ",".join(["sip:a@h"] * count))
    assert ad.SipRequest(make_request("REGISTER", "sip:h", ACCOUNT, headers=[contact])).contacts


def _message(size):
    return ad.Message(265, [ad.Avp(1, b"x" * (size - 28))]).encode()


LIMITS = {
    "bytes of a SIP request": lambda n: ad.SipRequest(_of_size(n)),
    "its header fields": lambda n: ad.SipRequest(_with_fields(n)),
    # The request has one more of its own.
    "addresses in its Contact fields": lambda n: _with_contacts(n - 1),
    "bytes of a digest parameter": lambda n: ad.Credentials.parse(_field(n)),
    "digest parameters that no RFC names": lambda n: ad.Credentials.parse(_unknown(n)),
    "bytes of a Diameter message": lambda n: ad.Message.decode(_message(n + (n > 65536) * 3)),
    "challenges in an answer of DISC": lambda n: _answer(*[b'Digest realm="a", nonce="b"'] * n),
    "bytes of them all": lambda n: _answer(b'Digest realm="a", nonce="b", x=' + b"y" * 1000, *[
        b'Digest realm="a", nonce="b", x=' + b"y" * size for size in (1000, 1000, n - 3000 - 4 * 31)
    ]),
    "nesting depth of Grouped AVPs": _grouped,
}  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_are_those_of_the_program(limit):
    """So much is taken, and no more."""
    (value,) = (int(code(row[1])[0]) for row in table("limit") if row[0] == limit)
    read = LIMITS[limit]
    assert not isinstance(read(value), str)
    try:
        fault = read(value + 1)
    except ad.ParseError:
        return
    assert isinstance(fault, str)  # of an answer that must not be used


def test_limits_of_a_reply_are_those_of_the_host():
    values = {row[0]: row[1] for row in table("limit")}
    assert values["bytes of a reply of `serve` to strangers"] == "twice those of the request"
    assert limits.AMPLIFICATION == 2
    assert values["and of one with a single challenge"] == f"`{limits.ONE_CHALLENGE}`"
    assert len(values) == len(LIMITS) + 2


def test_every_name_of_the_module_exists():
    for name in re.findall(r"\bad\.(\w+)", TEXT):
        assert hasattr(ad, name), name


FULL = ad.SipRequest(
    b"INVITE sips:bob@biloxi.example:5071 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@siphub.net>;tag=f1\r\nTo: <sip:bob@biloxi.example>;tag=t1\r\n"
    b"Call-ID: c1\r\nCSeq: 7 INVITE\r\nContact: <sip:c>\r\nUser-Agent: u\r\nRefer-To: <sip:r>\r\n"
    b"Diversion: <sip:d>\r\nP-Asserted-Identity: <sip:ai>\r\nP-Preferred-Identity: <sip:pu>\r\n"
    b"Remote-Party-ID: <sip:re>\r\nX-Realm: x\r\n"
    b'Proxy-Authorization: Digest username="alice@home", realm="r", nonce="n", uri="sip:u", response="%s",'
    b" algorithm=MD5\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi" % (b"0" * 32),
    ("192.0.2.7", 5099),
)
VALUES = {
    **{"$fd": "siphub.net", "$fu": "sip:alice@siphub.net", "$fU": "alice", "$ft": "f1"},
    **{"$td": "biloxi.example", "$tu": "sip:bob@biloxi.example", "$tU": "bob", "$tt": "t1"},
    **{"$rd": "biloxi.example", "$ru": "sips:bob@biloxi.example:5071", "$rU": "bob", "$rp": "5071"},
    **{"$od": "biloxi.example", "$ou": "sips:bob@biloxi.example:5071", "$oU": "bob", "$rz": "sips"},
    **{"$rm": "INVITE", "$rv": "SIP/2.0", "$ci": "c1", "$cs": "7"},
    **{"$ct": "<sip:c>", "$ua": "u", "$rt": "<sip:r>", "$di": "<sip:d>"},
    **{"$ai": "<sip:ai>", "$pu": "<sip:pu>", "$re": "<sip:re>"},
    **{"$cT": "text/plain", "$cl": "2", "$rb": "hi", "$bs": "2", "$ml": str(FULL.data_size)},
    **{"$si": "192.0.2.7", "$sp": "5099"},
    **{"$aU": "alice@home", "$au": "alice", "$ad": "home", "$ar": "r", "$adu": "sip:u", "$aa": "MD5"},
    **{"$hdr(Name)": None, "$$": "$"},
}


def test_no_pseudo_variable_is_missing():
    named = [name for row in table("in a realm") for name in code(row[0])]
    assert sorted(named) == sorted(VALUES)
    assert {name[1:] for name in named} - {"hdr(Name)", "$"} == set(pseudovars._VARIABLES)


@pytest.mark.parametrize("name", VALUES)
def test_pseudo_variables_work(name):
    text, value = (name, VALUES[name]) if VALUES[name] is not None else ("$hdr(X-Realm)", "x")
    assert pseudovars.compile_template(text)(FULL) == value
    if re.fullmatch(r"\$\w+", name):
        assert pseudovars.compile_template(f"$({name[1:]})")(FULL) == value


# --- when something goes wrong --------------------------------------------------------------------------


def causes():
    return {code(row[0])[0]: row[1] for row in table("cause")}


def test_every_cause_is_named():
    (no_trouble,) = (line for line in TEXT.splitlines() if line.startswith("Three are no trouble: "))
    fine = [name for name in code(no_trouble) if name in ad.Cause.__members__]
    assert sorted([*causes(), *fine]) == sorted(ad.Cause.__members__)
    assert len(fine) == 3


def credentials(rest):
    """An Authorization header for alice, which ends with `rest`."""
    return "Authorization", f'Digest username="alice", realm="siphub.net", nonce="n", uri="sip:h", {rest}'


def refusals(disc, closed):
    """Decisions that can be had without a DISC that is told to fail."""
    invite = make_request("INVITE", "sip:bob@siphub.net", ACCOUNT)
    with ad.AuthDiameter(ad.Config(diameter_client_host=disc.where)) as auth:
        yield auth.diameter_www_authorize(register(), "$fd")
        yield auth.diameter_proxy_authorize(invite, "$fd")
        yield auth.diameter_www_authorize(register(), "nobody.example")
        yield auth.diameter_www_authorize(b"junk", "$fd")
        broken = ("Authorization", "Digest username=")
        yield auth.diameter_www_authorize(register(broken), "$fd")
        yield auth.diameter_www_authorize(register(credentials('response="0"')), "$fd")
        zeros = f'response="{"0" * 32}"'
        yield auth.diameter_www_authorize(register(credentials(f"qop=auth, {zeros}")), "$fd")
        yield auth.diameter_www_authorize(register(credentials(f"algorithm=SHA-1, {zeros}")), "$fd")
        counted = f'qop=auth-conf, nc=00000001, cnonce="", {zeros}'
        yield auth.diameter_www_authorize(register(credentials(counted)), "$fd")
        wrong = ad.SipRequest(register(credentials(f'response="{"0" * 32}"')), ("192.0.2.1", 5060))
        decisions = [auth.diameter_www_authorize(wrong, "$fd") for _ in range(6)]
        assert [decision.cause for decision in decisions[:5]] == [ad.Cause.FORBIDDEN] * 5
        yield from decisions[4:]
        yield auth.diameter_www_authorize(register().replace(b"<sip:alice@siphub.net>", b"<tel:+1>"), "$fd")
        yield auth.diameter_www_authorize(register(), "r" * 65536)
        yield auth.diameter_is_user_in(register(), "Credentials", "pstn")
        yield auth.diameter_is_user_in(invite, "From", "pstn")
    with ad.AuthDiameter(ad.Config(diameter_client_host=f"127.0.0.1:{closed}")) as auth:
        yield auth.diameter_www_authorize(register(), "$fd")


def test_causes_have_these_replies(disc, free_port):
    seen = set()
    for decision in refusals(disc, free_port):
        name, status = decision.cause.name, decision.status
        seen.add(name)
        expected = causes()[name].split(", ")
        assert (str(status) if status is not None else "none") in expected, decision
    assert set(causes()) == seen | set(FAILING) | {"RECHALLENGED", "OVERLOADED"} | OF_STANDARD


def answering(**answer):
    return lambda connection, questions: connection.send(
        b"".join(build_answer(question, **answer) for question in questions)
    )


FAILING = {
    "DISC_TIMEOUT": lambda connection, questions: None,
    "DISC_LOST": lambda connection, questions: connection.close(),
    "DISC_REFUSED": answering(result_code=5012),
    "DISC_UNUSABLE": answering(result_code=None),
}
# See tests/_core/diameter/test_sip.py
OF_STANDARD = {"UNASKED_SUCCESS", "OTHER_SESSION", "OTHER_SCHEME", "UNFIT_HA1", "SEVERAL_ITEMS"}


@pytest.mark.parametrize("cause", FAILING)
def test_causes_of_a_disc_that_fails_have_these_replies(fake_disc, cause):
    failing = fake_disc(FAILING[cause])
    with ad.AuthDiameter(ad.Config(timeout=1.0, **failing.settings)) as auth:
        decision = auth.diameter_www_authorize(register(), "$fd")
        group_check = auth.diameter_is_user_in(register(), "From", "voicemail")
    assert (decision.cause.name, str(decision.status)) == (cause, causes()[cause])
    assert (group_check.cause.name, group_check.reply) == (cause, None)


def messages():
    return [code(row[0])[0] for row in table("message")]


def test_messages_are_those_of_the_program(db, disc, tmp_path):
    request = tmp_path / "request.sip"
    request.write_bytes(register())
    no_click = "import sys; sys.modules['click'] = None; from auth_diameter.__main__ import main; main()"
    said = [
        run_ours("disc", "--listen", disc.where, "--db", db),
        run_ours("disc", "--listen", "127.0.0.1:0", "--db", tmp_path / "none.sqlite"),
        run_python(no_click),
        run_ours("check", request, "--disc", disc.where, "--realm", "$zz"),
        run_ours("disc", "--listen", "127.0.0.1:0", "--db", '"postgresql://kamailio@127.0.0.1/kamailio"'),
    ]
    for text, done in itertools.zip_longest(messages()[:5], said):
        assert (done.status, done.out) == (2, "")
        assert text in done.err
    (advice,) = (row[1] for row in table("message") if code(row[0])[0] == messages()[2])
    assert code(advice)[0] in said[2].err


# --- how it looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", tables(), ids=lambda lines: lines[0].split("|")[1].strip())
def test_tables_are_aligned(lines):
    bars = [[found.start() for found in re.finditer(r"(?<!\\)\|", line)] for line in lines]
    assert all(line == bars[0] for line in bars)


def test_no_place_of_one_machine_is_named():
    assert not re.search(r"(?<![\w./])/(?:home|work|opt|root|tmp|usr)\b", TEXT)


def test_files_that_are_named_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_ratios_are_at_least_those_measured():
    """What README says of speed is no more than the table of bench/README.md has."""
    bench = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    measured = {
        cells[1].strip(): float(re.search(r"[\d.]+", cells[4])[0])
        for cells in (line.split("|") for line in bench.splitlines() if re.match(r"\| \d+ \|", line))
        if re.match(r"\s*[\d.]+ ×", cells[4])
    }
    assert float(re.search(r"parsed (\d+) × as fast", TEXT)[1]) <= measured["1"]
    assert float(re.search(r"answers ([\d.]+) × the requests", TEXT)[1]) <= measured["7"]


# --- several DISC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_several_disc_accept_challenges_of_each_other_with_one_nonce_key(db, tmp_path, shared):
    """Else a telephone whose answer goes to another DISC is challenged once more."""
    options = ()
    if shared:
        key = tmp_path / "nonce.key"
        key.write_bytes(os.urandom(32))
        options = ("--nonce-key", key)
    disc = ("disc", "--db", db, *options)
    with Server(*disc) as first, Server(*disc) as second:
        with ad.AuthDiameter(ad.Config(diameter_client_host=first.where)) as auth:
            challenged = auth.diameter_www_authorize(register(), "$fd")
        with ad.AuthDiameter(ad.Config(diameter_client_host=second.where)) as auth:
            decision = auth.diameter_www_authorize(register(ALICE.answer(challenged.reply)), "$fd")
    assert decision.cause is (ad.Cause.AUTHORIZED if shared else ad.Cause.CHALLENGED)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(None, "No such file or directory"), (b"x" * 15, "expected 16 secret bytes or more")],
)
def test_an_unusable_nonce_key_is_told_in_one_line(db, tmp_path, content, wrong):
    key = tmp_path / "nonce.key"
    if content is not None:
        key.write_bytes(content)
    done = run_ours("disc", "--listen", "127.0.0.1:0", "--db", db, "--nonce-key", key)
    assert_one_line(done, f"auth-diameter: --nonce-key {key}: {wrong}")
