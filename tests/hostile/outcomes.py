"""What each SIP request of the sets is answered, where DISC serves its realm and no digest is right.

None: no reply. All that is not named here is challenged: a REGISTER with 401, anything else with 407.
Where this is not what was proposed beside a file, the reason stands here.
"""

from __future__ import annotations

from hostile.corpora import DigestHeader


def _names(text: str) -> list[str]:
    return text.split()


# What breaks the grammar of RFC 3261 and still says where a reply goes.
_BAD_REQUEST = _names("""
    auth_ctl_colon auth_incomplete auth_lead_sp auth_vt_colon callid_crlf callid_empty colon_only
    cl_0x10_41 cl_18446744073709551616_49 cl_1_2_42 cl_1_2_43 cl_1e3_53 cl_2147483647_52
    cl_4294967296_46 cl_4294967328_47 cl_9223372036854775808_48 cl_99999999999999999999999_50 cl__0_40
    cl__1_39 cl___54 cl_empty_44 cl_five_45 cseq_long cseq_lowercase cseq_nomethod from_two
    maxfwd_big maxfwd_neg mixed_nl name_utf8 no_colon no_crlf no_eoh nul_before_auth nul_in_hdr
    realm_inject ruri_nouser_empty ruri_pct_end ruri_port_-1 ruri_port_0 ruri_port_65536
    ruri_port_99999999999 ruri_scheme_only to_tag_empty via_garbage via_recv angle_bomb quote_bomb
    badaspec baddn badinv01 clerr escruri insuf ltgtruri lwsruri lwsstart mcl01 mismatch01 mismatch02
    multi01 ncl quotbal scalar02 trws unksm2 ipv6-bad
""")

# What is no request, or has no Via that says where a reply goes. A response is never answered.
_SILENT = _names("""
    cr_only empty_dgram http jak lf_only nul_dgram opensips_tset_1 resp_200 ruri_empty via_trunc
    keepalive_flood bcast bigcode noreason scalarlg test unreason
""")

# Digest credentials for the realm, and wrong. 401 and 407 were proposed; WIRE's rule is 403.
_WRONG_CREDENTIALS = _names("auth_folded auth_int_body auth_sp_colon reg_auth")

# auth_empty: 400 was proposed. An empty header is of no Digest scheme, and other schemes are passed over.
# cparam01, cparam02, regescrt, ruri_8k, callid_4k, from_tag_long, hundred_auth: they are long or odd, and
# nothing in them is forbidden. unkscm, novelsc: the scheme of a Request-URI is no business of the gate's.

_STATUS: dict[str, int | None] = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_SILENT, None),
    **dict.fromkeys(_WRONG_CREDENTIALS, 403),
    "badvers": 505,
    "ack": None,  # let through, and never answered (RFC 3261, 17.1.1.3)
    "cancel": 200,  # let through: it cannot be challenged (RFC 3261, 22.1)
}

LET_THROUGH = {"ack", "cancel"}


def expected_status(name: str, data: bytes) -> int | None:
    """The status of the reply to a request of the sets, by its name."""
    if name in _STATUS:
        return _STATUS[name]
    return 401 if data.lstrip(b"\r\n").startswith(b"REGISTER ") else 407


_HEADER_STATUS = {"bad": 400, "nocred": 401, "ok": 403, "reject": 403}  # nobody's digest is right
_OTHER_HEADERS: dict[str, int | None] = {
    "resp_65535": None,  # the request does not fit a datagram
    "ws_bomb": 400,  # the question to DISC might not fit 64 KiB
    # They answer no challenge, as an IMS telephone's first REGISTER: 3GPP TS 24.229, 5.1.1.2.
    "missing_nonce": 401,
    "missing_response": 401,
    "resp_0": 401,
}


def expected_status_of_header(name: str, header: DigestHeader) -> int | None:
    """The status of the reply to a REGISTER with that header as its Authorization."""
    return _OTHER_HEADERS.get(name, _HEADER_STATUS[header.verdict])
