"""auth-diameter decode of captures: TCP streams put together, whatever way the segments came."""

import io
import random

import dpkt
import pytest
from kit.captures import FOLDER, NAMES, captured, every_captured
from kit.process import assert_one_line

import auth_diameter as ad
from auth_diameter.commands.capture import is_capture, messages_in

A, B = b"\x7f\0\0\1", b"\x7f\0\0\2"
MESSAGES = [
    ad.Message(280, [ad.Avp(264, f"host{number}.example.net")], hop_by_hop=number).encode()
    for number in range(20)
]
STREAM = b"".join(MESSAGES)
SYN = dpkt.tcp.TH_SYN


def segment(number, data, flags=0, ports=(40000, 3868)):
    tcp = dpkt.tcp.TCP(sport=ports[0], dport=ports[1], seq=number % (1 << 32), flags=flags, data=data)
    packet = dpkt.ip.IP(src=A, dst=B, p=dpkt.ip.IP_PROTO_TCP, data=tcp)
    packet.len = len(packet)
    return bytes(packet)


def capture_of(packets, link=101):
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file, linktype=link)
    for number, packet in enumerate(packets):
        writer.writepkt(packet, ts=1000.0 + number)
    return file.getvalue()


def found_in(packets, link=101):
    return [passed.data for passed in messages_in(capture_of(packets, link))]


def pieces(start, size):
    return [segment(start + at, STREAM[at : at + size]) for at in range(0, len(STREAM), size)]


# --- exchanges of other programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pcap")), ids=lambda path: path.stem)
def test_the_messages_of_captures(path):
    found = list(messages_in(path.read_bytes()))
    expected = captured(path.stem)
    assert [passed.data for passed in found] == [one.data for one in expected]
    assert [passed.source.rpartition(":")[2] for passed in found] == [str(one.source) for one in expected]


@pytest.mark.parametrize("name", NAMES)
def test_every_avp_and_command_of_other_programs_has_its_name(name):
    """Grouped AVPs are shown as trees, down to those of ETSI, CableLabs, Cisco and RADIUS."""
    for one in captured(name):
        text = ad.format_message(one.message, secrets=True)
        assert " AVP(" not in text
        assert not text.startswith(("Request(", "Answer("))
        assert "no group" not in text


SECRET = ("Digest-HA1", "Digest-Nonce", "Digest-Response", "Digest-CNonce")


def test_no_secret_of_other_programs_is_in_a_repr():
    for one in every_captured():
        text = repr(one.message)
        for avp in walk(one.message.avps):
            if avp.name in SECRET and len(avp.data) >= 16:  # shorter ones are dummies of a gateway
                assert avp.data.decode() not in text


def walk(avps):
    for avp in avps:
        yield avp
        if isinstance(avp.value, tuple):
            yield from walk(avp.value)


def test_decode_says_when_a_message_passed_and_between_whom(cli):
    done = cli("decode", FOLDER / "kam_ims_auth_fhoss_sipdigest.pcap")
    assert (done.status, done.err) == (0, "")
    assert "4.080853 s  127.0.0.1:41098 → 127.0.0.1:24870" in done.out
    assert "Multimedia-Auth-Answer(303)" in done.out
    assert "Digest-HA1(121)" in done.out


# --- segments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("start", [0, 1, 0xFFFFFFF0], ids=["0", "1", "the numbers begin again"])
def test_a_stream_in_segments_of_any_size(size, start):
    assert found_in([segment(start - 1, b"", SYN), *pieces(start, size)]) == MESSAGES


def test_segments_out_of_order_and_twice():
    order = random.Random(1)
    packets = pieces(5, 50)
    packets += order.sample(packets, 10)
    order.shuffle(packets)
    assert found_in([segment(4, b"", SYN), *packets]) == MESSAGES


def test_segments_that_overlap():
    packets = [segment(at, STREAM[at : at + 90]) for at in range(0, len(STREAM), 40)]
    assert found_in([segment(-1, b"", SYN), *packets]) == MESSAGES


def test_a_stream_whose_beginning_was_not_captured():
    assert found_in([segment(77, MESSAGES[0]), segment(77 + len(MESSAGES[0]), MESSAGES[1])]) == MESSAGES[:2]


def test_a_new_connection_of_the_same_ports():
    packets = [segment(9, b"", SYN), segment(10, MESSAGES[0])]
    packets += [segment(500, b"", SYN), segment(501, MESSAGES[1])]
    assert found_in(packets) == MESSAGES[:2]


def test_what_is_no_diameter_is_passed_over():
    sip = segment(1, b"REGISTER sip:a SIP/2.0\r\n\r\n" * 3, ports=(5060, 5060))
    tls = segment(1, bytes.fromhex("160301020001") + bytes(600), ports=(5, 5868))
    udp = bytes(dpkt.ip.IP(src=A, dst=B, p=17, data=dpkt.udp.UDP(sport=1, dport=2, data=b"x")))
    assert found_in([sip, tls, udp, b"", b"\xff", segment(1, MESSAGES[0])]) == MESSAGES[:1]


def test_ipv6_and_frames_of_ethernet():
    tcp = dpkt.tcp.TCP(sport=1, dport=2, seq=1, data=MESSAGES[0])
    packet = dpkt.ip6.IP6(src=bytes(15) + b"\1", dst=bytes(15) + b"\2", nxt=6, data=tcp, plen=len(tcp))
    frame = dpkt.ethernet.Ethernet(type=dpkt.ethernet.ETH_TYPE_IP6, data=packet)
    [passed] = messages_in(capture_of([bytes(frame)], link=1))
    assert (passed.source, passed.target) == ("[::1]:1", "[::2]:2")


def test_chunks_of_sctp():
    head = (1).to_bytes(4, "big") + bytes(4) + (46).to_bytes(4, "big")  # TSN, stream, protocol
    chunk = bytes([0, 3]) + (16 + len(MESSAGES[0])).to_bytes(2, "big") + head + MESSAGES[0]
    sctp = (3868).to_bytes(2, "big") * 2 + bytes(8) + chunk
    packet = bytes(dpkt.ip.IP(src=A, dst=B, p=132, data=sctp, len=20 + len(sctp)))
    assert found_in([packet]) == MESSAGES[:1]


# --- what is wrong -----------------------------------------------------------------------------------------


def test_a_capture_without_diameter(cli, tmp_path):
    path = tmp_path / "empty.pcap"
    path.write_bytes(capture_of([segment(1, b"GET / HTTP/1.1\r\n\r\n")]))
    assert_one_line(cli("decode", path), "no Diameter message in the capture")


@pytest.mark.parametrize("size", [4, 20, 30, 41])
def test_a_capture_that_is_cut(cli, tmp_path, size):
    path = tmp_path / "cut.pcap"
    path.write_bytes(capture_of([segment(1, MESSAGES[0])])[:size])
    done = cli("decode", path)
    assert done.status == 2
    assert_one_line(done, "capture")


def test_a_message_that_cannot_be_decoded_is_no_reason_to_stop(cli, tmp_path):
    broken = bytearray(MESSAGES[1])
    broken[27] = 4  # AVP Length
    path = tmp_path / "some.pcap"
    data = MESSAGES[0] + broken + MESSAGES[2]
    path.write_bytes(capture_of([segment(1, data)]))
    done = cli("decode", path)
    assert done.status == 0
    assert "no message: Origin-Host(264): AVP Length 4" in done.out
    assert "host2.example.net" in done.out


def test_bytes_of_diameter_are_no_capture():
    assert not any(is_capture(message) for message in MESSAGES)
    assert is_capture(capture_of([]))
