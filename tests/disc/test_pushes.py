"""What DISC as an HSS tells S-CSCF unasked: PPR and RTR (3GPP TS 29.228, 6.2.2, 6.5.2.4 and 6.1.3)."""

from __future__ import annotations

import asyncio

import pytest
from disc.streams import REALM, until
from kit.cx import MAR, PPR, RTR, SAR, UAR, Scscf, ask, digest, named, said
from kit.machine import PATIENCE
from kit.mar import mar as mar_of_rfc_4740

from auth_diameter import ha1, metrics
from auth_diameter.diameter.cx import done, experimental
from auth_diameter.disc import pushes as pushes_module
from auth_diameter.disc.config import DiameterConfig
from auth_diameter.disc.diameter import listen
from auth_diameter.disc.registrations import Holder, Registration, Registrations, State, Told
from auth_diameter.disc.server import Disc
from auth_diameter.disc.turns import Turns
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import StoreBusyError, StoreError

HOST, OTHER = f"scscf.{REALM}", f"other.{REALM}"
NAMES = {"origin_host": "hss.siphub.net", "origin_realm": REALM, "tell_ha1": (HOST, OTHER)}
ALICE = f"alice@{REALM}"
NEW = "looking-glass"
TROUBLE = ": it may go on with what it was told before"


@pytest.fixture
def accounts(tmp_path):
    """The operator's side of the database."""
    with Accounts.open(str(tmp_path / "users.sqlite"), writable=True) as found:
        found.add_user("alice", REALM, "wonderland")
        yield found


@pytest.fixture
def play(on_loop, accounts, monkeypatch):
    """Runs `scenario(scscf, listener)` against a DISC that looks for changes all the time."""
    monkeypatch.setattr(pushes_module, "CHECK_SECONDS", 0.005)
    store = SqliteStore.open(accounts.database.path)
    disc = Disc(store)
    monkeypatch.setattr(disc._driver, "_is_ready", lambda now: False)

    def run(scenario, **settings):
        async def whole():
            listener = await listen(Turns(disc), "127.0.0.1", 0, DiameterConfig(**NAMES | settings))
            scscf = await Scscf.start(listener.address)
            try:
                async with asyncio.timeout(PATIENCE):
                    return await scenario(scscf, listener)
            finally:
                await scscf.close()
                await asyncio.wait_for(listener.aclose(), PATIENCE)

        return on_loop(whole())

    yield run
    store.close()


def change(accounts, password=NEW, name="alice"):
    """`user add --replace`."""
    accounts.add_user(name, REALM, password, replace=True)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "auth_diameter.disc"]


# -- PPR: 29.228, 6.2.2 and 6.5.2.4; 29.229, 6.1.11 -------------------------------------------------------


@pytest.mark.parametrize("first", [MAR, SAR])
def test_a_new_password(play, accounts, first):
    """To the Origin-Host of the MAR or SAR, with the new HA1; nobody is told before, nor again."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(first))
        await asyncio.sleep(0.05)
        before = scscf.arrived[:]
        change(accounts)
        ppr = await scscf.pushed()
        await until(lambda: listener.hss.pushes.answers)
        maa = await scscf.ask(ask(MAR))
        await asyncio.sleep(0.05)
        found = metrics.disc(listener.turns.disc, listener, listener).collect()
        counts = [sample for metric in found if metric.name.endswith("pushes") for sample in metric.samples]
        return before, ppr, maa, [(each.labels, each.value) for each in counts], scscf.arrived

    before, ppr, maa, answers, after = play(scenario)
    assert (before, after) == ([], [])
    assert (ppr.command, ppr.application_id, ppr.flags) == (PPR, 16777216, 0xC0)
    found = named(ppr)
    assert found["Session-Id"].startswith("hss.siphub.net;")
    assert found["Auth-Session-State"] == 1
    assert (found["Origin-Host"], found["Origin-Realm"]) == ("hss.siphub.net", REALM)
    assert (found["Destination-Host"], found["Destination-Realm"]) == (HOST, REALM)
    assert found["User-Name"] == ALICE
    (scheme, _) = found["SIP-Auth-Data-Item"]
    assert (scheme.name, scheme.value) == ("SIP-Authentication-Scheme", "SIP Digest")
    assert digest(ppr) == digest(maa)
    assert digest(ppr) == {
        "Digest-Realm": REALM,
        "Digest-Algorithm": "MD5",
        "Digest-Qop": "auth",
        "Digest-HA1": ha1(ALICE, REALM, NEW),
    }
    assert answers == [({"command": "Push-Profile-Answer", "result": "2001"}, 1)]


def test_another_change_of_the_database(play, accounts):
    """Nobody is told of what has not changed."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        accounts.add_user("bob", REALM, "swordfish")
        accounts.add_group("alice", REALM, "staff")
        return await scscf.hears_nothing(0.1)

    assert play(scenario)


def test_each_s_cscf_is_told(play, accounts):
    """Those that asked for the user, each as it spells the name; and no others."""

    async def scenario(scscf, listener):
        other = await Scscf.start(listener.address, OTHER)
        accounts.add_user("bob", REALM, "swordfish")
        await scscf.ask(ask(MAR))
        await other.ask(ask(MAR, Origin_Host=OTHER, User_Name="alice"))
        await scscf.ask(ask(MAR, User_Name=f"bob@{REALM}", Public_Identity=f"sip:bob@{REALM}"))
        change(accounts)
        found = [await scscf.pushed(), await other.pushed()]
        quiet = await scscf.hears_nothing(0.05)
        await other.close()
        return found, quiet

    found, quiet = play(scenario)
    assert [(m.command, named(m)["User-Name"]) for m in found] == [(PPR, ALICE), (PPR, "alice")]
    assert [digest(m)["Digest-HA1"] for m in found] == [ha1(name, REALM, NEW) for name in (ALICE, "alice")]
    assert quiet


def test_an_s_cscf_behind_a_relay(play, accounts):
    """RFC 6733, 6.1: on the connection of the relay, with the Destination-Host of the S-CSCF."""

    async def scenario(relay, listener):
        await relay.ask(ask(MAR, Origin_Host="far.c.test", Origin_Realm="c.test"))
        change(accounts)
        return named(await relay.pushed())

    found = play(scenario)
    assert (found["Destination-Host"], found["Destination-Realm"]) == ("far.c.test", "c.test")


def test_a_password_that_changes_again(play, accounts):
    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        found = []
        for password in ("a", "b", "wonderland"):
            change(accounts, password)
            found.append(digest(await scscf.pushed())["Digest-HA1"])
        return found

    assert play(scenario) == [ha1(ALICE, REALM, password) for password in ("a", "b", "wonderland")]


# -- RTR: 29.228, 6.1.3; 29.229, 6.1.9 --------------------------------------------------------------------


def test_a_user_who_is_gone(play, accounts):
    """PERMANENT_TERMINATION; the registration is forgotten."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        await scscf.ask(ask(SAR))
        accounts.delete_user("alice", REALM)
        rtr = await scscf.pushed()
        await until(lambda: listener.hss.pushes.answers)
        accounts.add_user("alice", REALM, "wonderland")
        await until(lambda: listener.hss.pushes._compared == listener.hss.changes)
        return rtr, said(await scscf.ask(ask(UAR))), dict(listener.hss.pushes.answers)

    rtr, uaa, answers = play(scenario)
    found = named(rtr)
    assert (rtr.command, rtr.flags, found["User-Name"]) == (RTR, 0xC0, ALICE)
    assert (found["Destination-Host"], found["Destination-Realm"]) == (HOST, REALM)
    assert found["Public-Identity"] == f"sip:alice@{REALM}"
    (reason,) = found["Deregistration-Reason"]
    assert (reason.name, reason.value) == ("Reason-Code", 0)
    assert uaa == ("3gpp", 2001, None)
    assert answers == {("Registration-Termination-Answer", 2001): 1}


# -- peers that are away, or refuse -----------------------------------------------------------------------


def test_a_peer_that_is_away_is_told_once_it_is_back(play, accounts):
    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        await scscf.close()
        await until(lambda: not listener.peers.states)
        change(accounts)
        await until(lambda: listener.hss.pushes._away)
        again = await Scscf.start(listener.address)
        ppr = await again.pushed()
        await again.close()
        return digest(ppr)["Digest-HA1"]

    assert play(scenario) == ha1(ALICE, REALM, NEW)


def test_a_peer_that_is_no_longer_told_ha1(play, accounts, monkeypatch):
    """It has come back without TLS, say."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        monkeypatch.setattr(listener.peers, "tells_ha1", lambda name, connection: False)
        change(accounts)
        await until(lambda: listener.hss.pushes._away)
        return await scscf.hears_nothing(0.05)

    assert play(scenario)


ANSWERS = {
    "it has the user no longer": (experimental(5001), 5001, False),
    "it does not take it": (3001, 3001, True),
    "it cannot": (5012, 5012, True),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_push_that_is_refused(play, accounts, caplog, case):
    """29.229, 6.2.2.1: 5001 is no trouble. The S-CSCF is not told again of a user it does not want."""
    result, code, is_logged = ANSWERS[case]

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        scscf.result = result
        change(accounts)
        await scscf.pushed()
        await until(lambda: listener.hss.pushes.answers)
        change(accounts, "another")
        return await scscf.hears_nothing(0.05), dict(listener.hss.pushes.answers)

    quiet, answers = play(scenario)
    assert quiet
    assert answers == {("Push-Profile-Answer", code): 1}
    line = f"peer {HOST}: gave the answer {code} to a Push-Profile-Request{TROUBLE}"
    assert lines(caplog) == ([line] if is_logged else [])


@pytest.mark.parametrize("command", [PPR, RTR])
def test_a_push_without_an_answer(play, accounts, caplog, monkeypatch, command):
    """It is sent again with the next change, or when the peer is back."""
    monkeypatch.setattr(pushes_module, "_PATIENCE", 0.05)

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        await scscf.ask(ask(SAR))
        scscf.result = None
        accounts.delete_user("alice", REALM)
        if command == PPR:
            accounts.add_user("alice", REALM, NEW)
        await scscf.pushed()
        await until(lambda: listener.hss.pushes.answers)
        await scscf.close()
        await until(lambda: not listener.peers.states)
        again = await Scscf.start(listener.address)
        found = await again.pushed()
        await again.close()
        return found, dict(listener.hss.pushes.answers)

    found, answers = play(scenario)
    assert found.command == command
    assert ("Public-Identity" in named(found)) == (command == RTR)
    name = "Push-Profile-Request" if command == PPR else "Registration-Termination-Request"
    assert answers[name, 0] == 1
    assert f"peer {HOST}: gave no answer to a {name}{TROUBLE}" in lines(caplog)


def test_an_answer_to_nothing(play, accounts):
    """It is passed over, as is that of another peer."""

    async def scenario(scscf, listener):
        other = await Scscf.start(listener.address, OTHER)
        await scscf.ask(ask(MAR))
        scscf.result = None
        change(accounts)
        ppr = await scscf.pushed()
        forged = ask(MAR, flags=0, hop_by_hop=ppr.hop_by_hop)
        found = said(await other.ask(forged + ask(UAR, hop_by_hop=5)))
        counts = dict(listener.hss.pushes.answers)
        await other.close()
        return found, counts

    assert play(scenario) == (("3gpp", 2002, "sip:scscf.siphub.net"), {})


# -- pace --------------------------------------------------------------------------------------------------


def test_many_changes_are_pushed_some_at_a_time(play, accounts):
    """A bounded number is under way to a peer; one that answers nothing does not hold up another."""
    names = [f"user{number}" for number in range(100)]

    async def scenario(scscf, listener):
        silent = await Scscf.start(listener.address, OTHER)
        for name in names:
            accounts.add_user(name, REALM, "before")
            identities = {"User_Name": f"{name}@{REALM}", "Public_Identity": f"sip:{name}@{REALM}"}
            await scscf.ask(ask(MAR, **identities))
            await silent.ask(ask(MAR, Origin_Host=OTHER, **identities))
        for name in names:
            change(accounts, "after", name)
        first = [await scscf.receive() for _ in range(pushes_module._UNDER_WAY)]
        quiet = await scscf.hears_nothing(0.05)
        for asked in first:
            scscf.send(done(scscf.node, asked))
        found = {named(asked)["User-Name"]: digest(asked)["Digest-HA1"] for asked in first}
        while len(found) < len(names):
            asked = await scscf.pushed()
            found[named(asked)["User-Name"]] = digest(asked)["Digest-HA1"]
        for _ in range(pushes_module._UNDER_WAY):
            await silent.receive()
        silence = await silent.hears_nothing(0.05)
        await silent.close()
        return quiet, silence, found

    quiet, silence, found = play(scenario)
    assert (quiet, silence) == (True, True)
    assert found == {f"{name}@{REALM}": ha1(f"{name}@{REALM}", REALM, "after") for name in names}


# -- the store ---------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_read_meanwhile(play, accounts, monkeypatch):
    """A user who cannot be looked up is not gone; the change is told when the store is back."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        store = listener.turns.disc._driver.cache._store
        failed = asyncio.Event()

        async def fail(keys):
            failed.set()
            raise StoreError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(store, "fetch", fail)
            change(accounts)
            await failed.wait()
            quiet = await scscf.hears_nothing(0.05)
        return quiet, digest(await scscf.pushed())["Digest-HA1"]

    assert play(scenario) == (True, ha1(ALICE, REALM, NEW))


def test_a_user_who_alone_cannot_be_looked_up(play, accounts, monkeypatch):
    """The others' changes are pushed meanwhile, and that user's later."""
    accounts.add_user("bob", REALM, "swordfish")

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR, User_Name=f"bob@{REALM}", Public_Identity=f"sip:bob@{REALM}"))
        await scscf.ask(ask(MAR))
        store = listener.turns.disc._driver.cache._store
        fetch = store.fetch

        async def fail_for_bob(keys):
            found = await fetch(keys)
            return {key: StoreBusyError("gone") if "bob" in key[0] else found[key] for key in keys}

        with monkeypatch.context() as patch:
            patch.setattr(store, "fetch", fail_for_bob)
            change(accounts, name="bob")
            change(accounts)
            first = await scscf.pushed()
        return [named(each)["User-Name"] for each in (first, await scscf.pushed())]

    assert play(scenario) == [ALICE, f"bob@{REALM}"]


def test_a_lookup_that_a_change_overtakes(play, accounts, monkeypatch):
    """The MAA tells the old HA1 when the change is already known: it is corrected."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR, User_Name="alice"))  # so that it looks for changes
        store = listener.turns.disc._driver.cache._store
        fetch, go_on = store.fetch, asyncio.Event()

        async def late(keys):
            found = await fetch(keys)
            if any(getattr(key, "username", "") == ALICE for key in keys):
                await go_on.wait()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(store, "fetch", late)
            scscf.send(ask(MAR))
            await asyncio.sleep(0.02)
        change(accounts)
        first = await scscf.pushed()
        go_on.set()
        maa = await scscf.receive()
        second = await scscf.pushed()
        return named(first)["User-Name"], digest(maa)["Digest-HA1"], digest(second)["Digest-HA1"]

    assert play(scenario) == ("alice", ha1(ALICE, REALM, "wonderland"), ha1(ALICE, REALM, NEW))


def test_a_mistake_of_ours_ends_nothing(play, accounts, monkeypatch, caplog):
    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        with monkeypatch.context() as patch:
            patch.setattr(listener.hss.pushes, "_compare", lambda holders: 1 / 0)
            change(accounts)
            await until(lambda: lines(caplog))
        change(accounts, "another")
        return digest(await scscf.pushed())["Digest-HA1"]

    assert play(scenario) == ha1(ALICE, REALM, "another")
    assert lines(caplog)[0] == "could not look for changes"


def test_no_ha1_is_kept_or_shown(play):
    """What was told is known by a keyed hash."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR))
        return listener.hss.registrations

    registrations = play(scenario)
    secret = ha1(ALICE, REALM, "wonderland")
    (told,) = registrations.told.values()
    assert told.mark == registrations.mark(secret) != Registrations().mark(secret)
    assert secret not in repr(told._asdict())
    assert "mark" not in repr(told)


# -- what is remembered ------------------------------------------------------------------------------------


def test_the_oldest_is_forgotten_first():
    registrations = Registrations(most=3)

    def put(key, user, state=State.REGISTERED):
        registrations.put(Registration(key, f"sip:{key}", user, "sip:s", "s", state))

    for number in range(5):
        put(f"a{number}", "alice")
        registrations.note(Holder("alice", f"s{number}"), Told("p", "r", "r", b""))
    put("a2", "bob", State.UNREGISTERED)
    put("a5", "alice")
    assert len(registrations) == 3
    assert [bool(registrations.get(f"a{number}")) for number in range(6)] == [0, 0, 1, 0, 1, 1]
    assert [each.key for each in registrations.of_user("alice")] == ["a4", "a5"]
    assert [each.state for each in registrations.of_user("bob")] == [State.UNREGISTERED]
    assert [holder.host for holder in registrations.told] == ["s2", "s3", "s4"]
    registrations.forget("a9")
    registrations.forget("a4")
    registrations.forget("a5")
    assert (len(registrations), registrations.of_user("alice")) == (1, [])


def test_a_disc_that_tells_no_ha1_remembers_nothing(play, accounts):
    """RFC 4740 alone: nothing looks for changes."""

    async def scenario(peer, listener):
        peer.send(mar_of_rfc_4740())
        await peer.receive()
        return len(listener.hss.registrations.told), listener.hss.pushes._watching

    assert play(scenario) == (0, None)
