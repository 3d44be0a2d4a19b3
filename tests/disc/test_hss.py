"""DISC as an HSS: what UAR, SAR and LIR get (3GPP TS 29.228, 6.1, and 29.229, 6.1), and what MAR note."""

from __future__ import annotations

import asyncio
import contextlib
import xml.etree.ElementTree as ET

import pytest
from disc.streams import REALM, until
from kit.cx import LIR, MAR, SAR, SERVER, UAR, Scscf, V, ask, named, said
from kit.machine import PATIENCE
from kit.mar import RawPeer

from auth_diameter import Avp, Message, ParseError
from auth_diameter.diameter.base import DISCONNECT_PEER, avp_named, request, value_of
from auth_diameter.disc.config import DiameterConfig
from auth_diameter.disc.diameter import listen
from auth_diameter.disc.turns import Turns
from auth_diameter.store.store import StoreBusyError, StoreError

NAMES = {"origin_host": "hss.siphub.net", "origin_realm": REALM}
S2 = f"sip:scscf2.{REALM}"
(
    NO_ASSIGNMENT,
    REGISTRATION,
    RE_REGISTRATION,
    UNREGISTERED_USER,
    TIMEOUT,
    USER,
    TIMEOUT_STORE,
    USER_STORE,
    ADMINISTRATIVE,
    FAILURE,
    AUTHENTICATION_TIMEOUT,
    TOO_MUCH_DATA,
) = range(12)
DEREGISTRATION, AND_CAPABILITIES = 1, 2  # of User-Authorization-Type

SUCCESS = ("base", 2001, None)
UNABLE = ("base", 5012, None)
FIRST = ("3gpp", 2001, None)
UNKNOWN = ("3gpp", 5001, None)
DONT_MATCH = ("3gpp", 5002, None)
NOT_REGISTERED = ("3gpp", 5003, None)
ALREADY_REGISTERED = ("3gpp", 5005, None)


def subsequent(server=SERVER):
    return ("3gpp", 2002, server)


def located(server=SERVER):
    return ("base", 2001, server)


@pytest.fixture
def play(on_loop, disc):
    """Runs `scenario(scscf, listener)` against a DISC that tells HA1 to that S-CSCF."""

    def run(scenario, **settings):
        async def whole():
            config = DiameterConfig(**NAMES | {"tell_ha1": (f"scscf.{REALM}",)} | settings)
            listener = await listen(Turns(disc), "127.0.0.1", 0, config)
            scscf = await Scscf.start(listener.address)
            try:
                return await scenario(scscf, listener)
            finally:
                await scscf.close()
                await asyncio.wait_for(listener.aclose(), PATIENCE)

        return on_loop(whole())

    return run


@pytest.fixture
def answers(play):
    """What each of several requests gets: how it was meant, its code, Server-Name."""

    def run(*requests, **settings):
        async def scenario(scscf, listener):
            return [said(await scscf.ask(message)) for message in requests]

        return play(scenario, **settings)

    return run


# -- identities: 6.1.1.1, 6.1.2.1 and 6.1.4.1, steps 1 and 2 ---------------------------------------------

IDENTITIES = {
    "known": ({}, None),
    "a private identity without a domain": ({"User_Name": "alice"}, None),
    "parameters": ({"Public_Identity": f"sip:alice@{REALM.upper()}:5060;user=phone"}, None),
    "no such user": ({"User_Name": f"mallory@{REALM}", "Public_Identity": f"sip:mallory@{REALM}"}, UNKNOWN),
    "no such realm": ({"User_Name": "alice@else.test", "Public_Identity": "sip:alice@else.test"}, UNKNOWN),
    "another user's": ({"Public_Identity": f"sip:bob@{REALM}"}, DONT_MATCH),
    "of another realm": ({"Public_Identity": "sip:alice@else.test"}, DONT_MATCH),
    "a telephone number": ({"Public_Identity": "tel:+4930123456"}, DONT_MATCH),
    "no URI": ({"Public_Identity": "alice"}, DONT_MATCH),
}


@pytest.mark.parametrize("case", IDENTITIES)
@pytest.mark.parametrize("command", [UAR, SAR, MAR])
def test_both_identities_are_known_and_belong_together(answers, command, case):
    """Steps 1 and 2, by the same rule as that of a MAR."""
    changed, refused = IDENTITIES[case]
    granted = {UAR: FIRST, SAR: SUCCESS, MAR: SUCCESS}[command]
    assert answers(ask(command, **changed)) == [refused or granted]


def test_addresses_may_be_anybodys(answers):
    """--no-own-addresses: as with a MAR."""
    changed = {"Public_Identity": f"sip:bob@{REALM}"}
    asked = [ask(UAR, **changed), ask(SAR, **changed), ask(LIR, **changed), ask(LIR)]
    found = answers(*asked, own_addresses=False)
    assert found == [FIRST, SUCCESS, located(), NOT_REGISTERED]


@pytest.mark.parametrize("identity", [f"sip:mallory@{REALM}", "sip:alice@else.test", "tel:+4930123456", "x"])
def test_a_public_identity_that_is_nobodys(answers, identity):
    """6.1.4.1, step 1: LIR has no private identity."""
    assert answers(ask(LIR, Public_Identity=identity)) == [UNKNOWN]


@pytest.mark.parametrize("command", [UAR, SAR, LIR])
def test_where_it_goes(answers, command):
    """RFC 6733, 6.1.4 and 7.1.3: to the realm of a subscriber or our own, and to no other host."""
    found = answers(
        ask(command, Destination_Realm="else.test"),
        ask(command, Destination_Host="else.siphub.net"),
        ask(command, Destination_Host="HSS.siphub.net"),
        ask(command, Destination_Realm="c.test"),
        origin_realm="C.test",
    )
    assert [code for _, code, _ in found[:2]] == [3003, 3002]
    assert found[2] == found[3]
    assert found[2][1] < 5004


# -- UAR: 6.1.1.1 ------------------------------------------------------------------------------------------


def test_first_and_subsequent_registration(answers):
    """Step 5: the name of the S-CSCF, if one has the identity."""
    found = answers(ask(UAR), ask(SAR), ask(UAR), ask(UAR, User_Authorization_Type=0))
    assert found == [FIRST, SUCCESS, subsequent(), subsequent()]


def test_a_deregistration(answers):
    """Step 5: DIAMETER_SUCCESS with the name, or DIAMETER_ERROR_IDENTITY_NOT_REGISTERED."""
    uar = ask(UAR, User_Authorization_Type=DEREGISTRATION)
    found = answers(uar, ask(MAR), uar, ask(SAR), uar)
    assert found == [NOT_REGISTERED, SUCCESS, NOT_REGISTERED, SUCCESS, located()]


def test_capabilities_are_asked_for(answers):
    """Step 4: no name, as the I-CSCF is to choose another S-CSCF; there are no capabilities here."""
    uar = ask(UAR, User_Authorization_Type=AND_CAPABILITIES)
    assert answers(uar, ask(SAR), uar) == [SUCCESS] * 3


# -- SAR: 6.1.2.1 ------------------------------------------------------------------------------------------


def test_a_registration_gets_the_profile(play):
    """29.229, 6.1.4, and 29.228, annex E: PrivateID, and ServiceProfile with PublicIdentity and Identity."""

    async def scenario(scscf, listener):
        return await scscf.ask(ask(SAR))

    saa = play(scenario)
    found = named(saa)
    assert found["User-Name"] == f"alice@{REALM}"
    assert (found["Auth-Session-State"], saa.flags) == (1, 0x40)
    profile = ET.fromstring(found["User-Data"])
    assert profile.tag == "IMSSubscription"
    assert [each.tag for each in profile] == ["PrivateID", "ServiceProfile"]
    assert profile.findtext("PrivateID") == f"alice@{REALM}"
    assert profile.findtext("ServiceProfile/PublicIdentity/Identity") == f"sip:alice@{REALM}"


def test_names_are_escaped_in_the_profile(play):
    """XML 1.0, 2.4: a name cannot become part of the profile."""
    name = f"""sip:&<Identity>"'@{REALM}"""

    async def scenario(scscf, listener):
        return await scscf.ask(ask(SAR, Public_Identity=name))

    data = named(play(scenario, own_addresses=False))["User-Data"]
    assert data.count(b"<Identity>") == 1
    assert ET.fromstring(data).findtext("ServiceProfile/PublicIdentity/Identity") == name


@pytest.mark.parametrize("assignment", range(12))
@pytest.mark.parametrize("available", [0, 1])
def test_who_gets_the_profile(play, assignment, available):
    """Table 6.1.2.2: not with a deregistration, nor if the S-CSCF has it already."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(SAR))
        sar = ask(SAR, Server_Assignment_Type=assignment, User_Data_Already_Available=available)
        return await scscf.ask(sar)

    saa = play(scenario)
    assert value_of(saa, "Result-Code") == 2001
    assert ("User-Data" in named(saa)) == (assignment < TIMEOUT and not available)


#: What comes before, the assignment and its server, the answer; then what UAR and LIR get.
ASSIGNMENTS = {
    "REGISTRATION": ([], REGISTRATION, SERVER, SUCCESS, subsequent(), located()),
    "RE_REGISTRATION": ([REGISTRATION], RE_REGISTRATION, SERVER, SUCCESS, subsequent(), located()),
    "RE_REGISTRATION after a restart": ([], RE_REGISTRATION, SERVER, SUCCESS, subsequent(), located()),
    "REGISTRATION elsewhere": ([REGISTRATION], REGISTRATION, S2, ALREADY_REGISTERED, subsequent(), located()),
    "RE_REGISTRATION elsewhere": (
        [REGISTRATION], RE_REGISTRATION, S2, ALREADY_REGISTERED, subsequent(), located(),
    ),
    "UNREGISTERED_USER": ([], UNREGISTERED_USER, SERVER, SUCCESS, subsequent(), located()),
    "UNREGISTERED_USER elsewhere": (
        [REGISTRATION], UNREGISTERED_USER, S2, ALREADY_REGISTERED, subsequent(), located(),
    ),
    "NO_ASSIGNMENT": ([REGISTRATION], NO_ASSIGNMENT, SERVER, SUCCESS, subsequent(), located()),
    "NO_ASSIGNMENT elsewhere": ([REGISTRATION], NO_ASSIGNMENT, S2, UNABLE, subsequent(), located()),
    "NO_ASSIGNMENT of nobody": ([], NO_ASSIGNMENT, SERVER, UNABLE, FIRST, NOT_REGISTERED),
    **{
        f"{name} deregistration": ([REGISTRATION], kind, SERVER, SUCCESS, FIRST, NOT_REGISTERED)
        for name, kind in (("TIMEOUT", 4), ("USER", 5), ("ADMINISTRATIVE", 8), ("TOO_MUCH_DATA", 11))
    },
    "deregistration of an unregistered one": (
        [UNREGISTERED_USER], TIMEOUT, SERVER, SUCCESS, FIRST, NOT_REGISTERED,
    ),
    "deregistration elsewhere": ([REGISTRATION], USER, S2, UNABLE, subsequent(), located()),
    "deregistration of nobody": ([], USER, SERVER, SUCCESS, FIRST, NOT_REGISTERED),
    "TIMEOUT that keeps the name": ([REGISTRATION], TIMEOUT_STORE, SERVER, SUCCESS, subsequent(), located()),
    "USER that keeps the name": ([REGISTRATION], USER_STORE, SERVER, SUCCESS, subsequent(), located()),
    "FAILURE of a registered one": ([REGISTRATION], FAILURE, SERVER, SUCCESS, subsequent(), located()),
    "FAILURE of another one": ([], FAILURE, SERVER, SUCCESS, FIRST, NOT_REGISTERED),
}  # fmt: skip


@pytest.mark.parametrize("case", ASSIGNMENTS)
def test_an_assignment(answers, case):
    """6.1.2.1, step 5, and 8.1: a SAR takes no identity away from another S-CSCF."""
    before, kind, server, *expected = ASSIGNMENTS[case]
    first = [ask(SAR, Server_Assignment_Type=each) for each in before]
    sar = ask(SAR, Server_Assignment_Type=kind, Server_Name=server)
    found = answers(*first, sar, ask(UAR), ask(LIR))
    assert found[len(first) :] == expected


def test_a_kept_name_is_of_an_unregistered_one(answers):
    """6.1.2.1: …_STORE_SERVER_NAME; what follows may end that as well."""
    kept = ask(SAR, Server_Assignment_Type=USER_STORE)
    ended = ask(SAR, Server_Assignment_Type=TIMEOUT)
    uar = ask(UAR, User_Authorization_Type=DEREGISTRATION)
    assert answers(ask(SAR), kept, uar, ended, uar)[2:] == [located(), SUCCESS, NOT_REGISTERED]


def test_a_deregistration_of_all_identities_of_a_user(answers):
    """29.229, 6.1.3: without Public-Identity, all those that this S-CSCF has."""
    office = {"Public_Identity": "sip:alice@office.test"}
    theirs = {"Public_Identity": "sip:alice@other.test", "Server_Name": S2}
    ended = ask(SAR, Public_Identity=None, Server_Assignment_Type=USER)
    found = answers(
        ask(SAR), ask(SAR, **office), ask(SAR, **theirs), ended,
        ask(UAR), ask(UAR, **office), ask(UAR, Public_Identity="sip:alice@other.test"),
        own_addresses=False,
    )  # fmt: skip
    assert found == [SUCCESS] * 4 + [FIRST, FIRST, subsequent(S2)]


def test_several_identities(answers):
    """6.1.2.1, step 3: a deregistration may have several; others get 5009."""
    more = avp_named("Public-Identity", "sip:alice@office.test", V)
    ended = ask(SAR, more, Server_Assignment_Type=USER)
    found = answers(ask(SAR), ask(SAR, more), ask(UAR, more), ended, ask(UAR), own_addresses=False)
    assert found == [SUCCESS, ("base", 5009, None), ("base", 5009, None), SUCCESS, FIRST]


def test_a_user_may_go_unnamed(play):
    """29.229, 6.1.3: a SAR may name the public identity alone, and gets the private one."""

    async def scenario(scscf, listener):
        first = await scscf.ask(ask(SAR, User_Name=None, Server_Assignment_Type=UNREGISTERED_USER))
        await scscf.ask(ask(SAR, User_Name="alice"))
        second = await scscf.ask(ask(SAR, User_Name=None, Server_Assignment_Type=NO_ASSIGNMENT))
        return [named(message)["User-Name"] for message in (first, second)]

    assert play(scenario) == [f"alice@{REALM}", "alice"]


# -- MAR: 6.3.1 and 8.1 ------------------------------------------------------------------------------------


def test_a_mar_notes_the_name_of_its_s_cscf(answers):
    """6.3.1: an I-CSCF sends the second REGISTER to the S-CSCF that made the challenge."""
    assert answers(ask(UAR), ask(MAR), ask(UAR), ask(LIR)) == [FIRST, SUCCESS, subsequent(), NOT_REGISTERED]


def test_a_new_s_cscf_takes_an_identity_over(answers):
    """8.1: a MAR overwrites the name, and a SAR does not. What the old one says counts no longer."""
    found = answers(
        ask(SAR), ask(MAR, Server_Name=S2), ask(SAR, Server_Name=S2),
        ask(SAR, Server_Assignment_Type=TIMEOUT), ask(LIR), ask(SAR, Server_Assignment_Type=RE_REGISTRATION),
    )  # fmt: skip
    assert found == [SUCCESS, SUCCESS, SUCCESS, UNABLE, located(S2), ALREADY_REGISTERED]


def test_a_mar_of_another_user_changes_no_owner(play):
    """--no-own-addresses: nobody has authenticated yet who asks for the address of another user."""

    async def scenario(scscf, listener):
        await scscf.ask(ask(SAR))
        await scscf.ask(ask(MAR, User_Name="alice", Server_Name=S2))
        saa = await scscf.ask(ask(SAR, User_Name=None, Server_Name=S2, Server_Assignment_Type=NO_ASSIGNMENT))
        return named(saa)["User-Name"]

    assert play(scenario, own_addresses=False) == f"alice@{REALM}"


def test_the_realm_of_the_address_is_enough(answers):
    """A private identity without a domain, at a DISC whose own realm has no subscribers."""
    names = {"User_Name": "alice", "Destination_Realm": "c.test"}
    asked = [ask(SAR, **names), ask(UAR, **names)]
    assert answers(*asked, origin_realm="c.test") == [SUCCESS, subsequent()]


def test_a_failed_authentication_ends_what_the_mar_began(answers):
    """6.1.2.1: AUTHENTICATION_FAILURE clears the name if the identity is not registered, and only then."""
    failed = ask(SAR, Server_Assignment_Type=FAILURE)
    assert answers(ask(MAR), failed, ask(UAR))[1:] == [SUCCESS, FIRST]
    assert answers(ask(SAR), ask(MAR), failed, ask(LIR))[2:] == [SUCCESS, located()]


@pytest.mark.parametrize(
    "changed",
    [
        {"User_Name": f"mallory@{REALM}"},
        {"SIP_Authentication_Scheme": "Digest-AKAv1-MD5"},
        {"Session_Id": None},
    ],
)
def test_a_mar_that_is_refused_notes_nothing(play, changed):
    async def scenario(scscf, listener):
        await scscf.ask(ask(MAR, **changed))
        return len(listener.hss.registrations), len(listener.hss.registrations.told)

    assert play(scenario) == (0, 0)


def test_two_mar_with_the_same_identifier(answers):
    """RFC 6733, 3: that cannot be; but all others are answered."""
    data = bytearray(ask(MAR))
    data[27] = 0xFF  # the length of its first AVP
    assert answers(ask(MAR) + data) == [SUCCESS]
    assert answers(ask(MAR) + ask(MAR, User_Name=None) + ask(UAR))[0][1] in (2001, 5005)


def test_many_mar_are_told_apart(play):
    """They come in one read, among others, and their answers go in one write."""

    async def scenario(scscf, listener):
        scscf.send(*[ask(MAR, Origin_Host=f"s{n}.{REALM}", hop_by_hop=n) for n in range(300)], ask(UAR))
        found = [await scscf.receive() for _ in range(301)]
        return {holder.host for holder in listener.hss.registrations.told}, {m.command for m in found}

    hosts, commands = play(scenario)
    assert hosts == {f"s{n}.{REALM}" for n in range(300)}
    assert commands == {MAR, UAR}


# -- messages: RFC 6733, 7 ---------------------------------------------------------------------------------

NO_NUMBER = Avp(614, b"\0\0\1", vendor_id=V)
REQUIRED = {
    UAR: ["User-Name", "Public-Identity", "Visited-Network-Identifier"],
    SAR: ["Public-Identity", "Server-Name", "Server-Assignment-Type", "User-Data-Already-Available"],
    LIR: ["Public-Identity"],
}


def fault_of(message):
    """The code of the AVP in Failed-AVP, and its data."""
    (avp,) = named(message)["Failed-AVP"]
    return avp.code, avp.vendor_id, avp.data


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (command, name)
        for command, names in REQUIRED.items()
        for name in ("Session-Id", "Origin-Host", "Origin-Realm", "Destination-Realm", *names)
    ],
)
def test_an_avp_is_missing(play, command, name):
    """7.1.5: DIAMETER_MISSING_AVP with an example of it; 29.228, 6: the same for what is mandatory there."""

    async def scenario(scscf, listener):
        return await scscf.ask(ask(command, **{name.replace("-", "_"): None}))

    message = play(scenario)
    assert said(message)[:2] == ("base", 5005)
    (avp,) = named(message)["Failed-AVP"]
    assert (avp.name, set(avp.data) <= {0}) == (name, True)


MALFORMED = {
    "the E flag": (ask(UAR, flags=0xE0), 3008, None),
    "an unknown AVP with M": (ask(LIR, Avp(9999, b"1")), 5001, (9999, None, b"1")),
    "a number of another length": (
        ask(SAR, NO_NUMBER, Server_Assignment_Type=None), 5014, (614, V, bytes(4)),
    ),
    "an assignment that is not defined": (ask(SAR, Server_Assignment_Type=12), 5004, (614, V, b"\0\0\0\x0c")),
    "a negative one": (ask(SAR, Server_Assignment_Type=-1), 5004, (614, V, b"\xff" * 4)),
    "an authorization that is not defined": (
        ask(UAR, User_Authorization_Type=3), 5004, (623, V, b"\0\0\0\3"),
    ),
    "User-Name twice": (ask(UAR, avp_named("User-Name", "bob")), 5009, (1, None, b"bob")),
    "a name that is no text": (ask(LIR, Public_Identity=b"sip:\xff\xfe"), 5004, (601, V, b"")),
    "a name of several lines": (ask(UAR, User_Name="alice\r\nbob"), 5004, (1, None, b"")),
    "an empty name": (ask(SAR, Server_Name=""), 5004, (602, V, b"")),
    "nobody": (
        ask(SAR, User_Name=None, Public_Identity=None, Server_Assignment_Type=5), 5005, (1, None, b""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed(play, case):
    """7.1.3 and 7.1.5; the connection goes on."""
    asked, result, fault = MALFORMED[case]

    async def scenario(scscf, listener):
        return await scscf.ask(asked), said(await scscf.ask(ask(UAR)))

    message, after = play(scenario)
    assert said(message)[:2] == ("base", result)
    assert bool(message.flags & 0x20) == (result // 1000 == 3)
    assert ("Vendor-Specific-Application-Id" in named(message)) == (result // 1000 != 3)
    if fault is not None:
        assert fault_of(message) == fault
    assert after == FIRST


@pytest.mark.parametrize("command", [UAR, SAR, LIR])
def test_a_byte_that_is_altered_anywhere(play, command):
    """Whatever comes gets an answer that can be sent, and is no error of ours."""
    whole = ask(command)

    async def scenario(scscf, listener):
        mistakes = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: mistakes.append(context))
        (peer,) = listener.peers._peers.values()
        for place in range(20, len(whole)):
            for value in (0, 0x40, 0x7F, 0xC3, 0xFF):
                data = whole[:place] + bytes((value,)) + whole[place + 1 :]
                with contextlib.suppress(ParseError):
                    said = await listener.hss.answer(Message.decode(data), peer)
                    assert Message.decode(said.encode()).command == command
        return mistakes

    assert play(scenario) == []


def test_what_is_not_read_is_passed_over(answers):
    """Unknown AVP without M; what Cx has besides, such as Originating-Request (633); Route-Record."""
    more = [Avp(9999, b"1", flags=0), Avp(633, bytes(4), vendor_id=V), avp_named("Route-Record", "r.test")]
    assert answers(ask(LIR, *more), ask(SAR, *more)) == [NOT_REGISTERED, SUCCESS]


def test_proxy_info_comes_back(play):
    """RFC 6733, 6.7.2; and the identifiers."""
    proxy = avp_named("Proxy-Info", [avp_named("Proxy-Host", "r.test"), avp_named("Proxy-State", b"1")])

    async def scenario(scscf, listener):
        return [await scscf.ask(ask(command, proxy, hop_by_hop=command)) for command in (UAR, SAR, LIR)]

    for message, command in zip(play(scenario), (UAR, SAR, LIR), strict=True):
        assert (message.command, message.hop_by_hop, message.end_to_end) == (command, command, 9)
        assert message.find(284).data == proxy.data


def test_other_commands_are_not_supported(answers):
    """RTR and PPR are an HSS's own: 3001."""
    for command in (304, 305):
        data = bytearray(ask(LIR))
        data[5:8] = command.to_bytes(3, "big")
        assert answers(bytes(data)) == [("base", 3001, None)]


def test_others_learn_nothing(play):
    """A peer that is not told HA1 gets 3007 for them."""

    async def scenario(scscf, listener):
        scscf.send(ask(SAR))
        await scscf.receive()
        other = await RawPeer.open(listener.address, "other.example.net")
        found = [said(await other.ask(ask(command))) for command in (UAR, SAR, LIR)]
        await other.close()
        return found

    assert play(scenario) == [("base", 3007, None)] * 3


# -- the store ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreError("gone"), RuntimeError("a mistake")])
def test_no_decision_is_possible(play, disc, monkeypatch, error):
    """5012; and when the store is back, all goes on."""

    async def fail(keys):
        raise error

    async def scenario(scscf, listener):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        store = disc._driver.cache._store
        with monkeypatch.context() as patch:
            patch.setattr(store, "fetch", fail)
            refused = [said(await scscf.ask(ask(command))) for command in (UAR, SAR, LIR)]
        disc._driver.cache.check_at = 0
        return refused, said(await scscf.ask(ask(UAR)))

    assert play(scenario) == ([UNABLE] * 3, FIRST)


def test_no_decision_is_possible_about_one_user(play, disc, monkeypatch):
    """5012, though others can be looked up."""

    async def fail(keys):
        return dict.fromkeys(keys, StoreBusyError("gone"))

    async def scenario(scscf, listener):
        monkeypatch.setattr(disc._driver.cache._store, "fetch", fail)
        return [said(await scscf.ask(ask(command))) for command in (UAR, SAR, LIR)]

    assert play(scenario) == [UNABLE] * 3


def test_a_slow_store_delays_nobody(play, disc, monkeypatch):
    """A watchdog is answered meanwhile; a DPR behind the question waits for its answer (RFC 6733, 5.4)."""
    fetch = disc._driver.cache._store.fetch

    async def scenario(scscf, listener):
        go_on = asyncio.Event()

        async def wait(keys):
            await go_on.wait()
            return await fetch(keys)

        with monkeypatch.context() as patch:
            patch.setattr(disc._driver.cache._store, "fetch", wait)
            origin = list(scscf.node.origin())
            dwa = await scscf.ask(ask(UAR) + request(scscf.node, 280, origin, 5).encode())
            scscf.send(request(scscf.node, DISCONNECT_PEER, [*origin, avp_named("Disconnect-Cause", 0)], 6))
            await asyncio.sleep(0.01)
            go_on.set()
            return dwa.command, [(await scscf.receive()).command for _ in range(2)]

    assert play(scenario) == (280, [UAR, DISCONNECT_PEER])


def test_a_peer_that_is_gone_before_its_answer(play, disc, monkeypatch):
    """Nothing is left of it."""
    fetch = disc._driver.cache._store.fetch

    async def scenario(scscf, listener):
        go_on = asyncio.Event()

        async def wait(keys):
            await go_on.wait()
            return await fetch(keys)

        with monkeypatch.context() as patch:
            patch.setattr(disc._driver.cache._store, "fetch", wait)
            scscf.send(*[ask(UAR) for _ in range(100)])
            await asyncio.sleep(0.01)
            scscf.writer.transport.abort()
            await asyncio.sleep(0.01)
            go_on.set()
        await until(lambda: not listener.open)
        again = await Scscf.start(listener.address)
        found = said(await again.ask(ask(UAR)))
        await again.close()
        return found

    assert play(scenario) == FIRST


def test_pipelining(play):
    """RFC 3539, 3.3; more than are answered at a time."""

    async def scenario(scscf, listener):
        scscf.send(*[ask(UAR, hop_by_hop=number) for number in range(1500)])
        return [(await scscf.receive()).hop_by_hop for _ in range(1500)]

    assert play(scenario) == list(range(1500))


def test_answers_are_counted(play):
    """For the metrics: with the code of Experimental-Result."""

    async def scenario(scscf, listener):
        for message in (ask(UAR), ask(SAR), ask(LIR), ask(LIR, Public_Identity="sip:x@y")):
            await scscf.ask(message)
        return dict(listener.answers)

    assert play(scenario) == {
        ("Capabilities-Exchange-Answer", 2001): 1,
        ("User-Authorization-Answer", 2001): 1,
        ("Server-Assignment-Answer", 2001): 1,
        ("Location-Info-Answer", 2001): 1,
        ("Location-Info-Answer", 5001): 1,
    }
