"""Names and types of AVPs, commands and results, to show messages to people.

Each number stands in the project once: codes.pxd has those that compiled code uses, and here they go by
those names. No message needs the dictionary to be decoded or encoded; an AVP that is not in it is shown by its
number and in bytes.
"""

cimport cython

from auth_diameter._core.diameter.codes cimport (
    APPLICATION_NASREQ,
    AVP_CHALLENGE,
    AVP_DESTINATION_REALM,
    AVP_ERROR_MESSAGE,
    AVP_FAILED_AVP,
    AVP_METHOD,
    AVP_ORIGIN_HOST,
    AVP_ORIGIN_REALM,
    AVP_RESOURCE,
    AVP_RESPONSE,
    AVP_RESULT_CODE,
    AVP_SERVICE_TYPE,
    AVP_SESSION_ID,
    AVP_SIP_MSGID,
    AVP_USER_GROUP,
    AVP_USER_NAME,
    COMMAND_AA,
    COMMAND_ACCOUNTING,
    RESULT_AUTHENTICATION_REJECTED,
    RESULT_AUTHORIZATION_REJECTED,
    RESULT_AVP_OCCURS_TOO_MANY_TIMES,
    RESULT_COMMAND_UNSUPPORTED,
    RESULT_INVALID_AVP_LENGTH,
    RESULT_INVALID_AVP_VALUE,
    RESULT_INVALID_HDR_BITS,
    RESULT_INVALID_MESSAGE_LENGTH,
    RESULT_MISSING_AVP,
    RESULT_REALM_NOT_SERVED,
    RESULT_SUCCESS,
    RESULT_TOO_BUSY,
    RESULT_UNABLE_TO_COMPLY,
    RESULT_UNABLE_TO_DELIVER,
    RESULT_UNSUPPORTED_VERSION,
    SERVICE_ACCOUNTING,
    SERVICE_AUTHENTICATION,
    SERVICE_GROUP_CHECK,
    VENDOR_3GPP,
)


@cython.final
cdef class Entry:
    """The dictionary entry of one AVP code."""


cdef dict _RESULTS = {
    # RFC 6733, 7.1
    1001: "DIAMETER_MULTI_ROUND_AUTH",
    RESULT_SUCCESS: "DIAMETER_SUCCESS",
    2002: "DIAMETER_LIMITED_SUCCESS",
    RESULT_COMMAND_UNSUPPORTED: "DIAMETER_COMMAND_UNSUPPORTED",
    RESULT_UNABLE_TO_DELIVER: "DIAMETER_UNABLE_TO_DELIVER",
    RESULT_REALM_NOT_SERVED: "DIAMETER_REALM_NOT_SERVED",
    RESULT_TOO_BUSY: "DIAMETER_TOO_BUSY",
    3005: "DIAMETER_LOOP_DETECTED",
    3006: "DIAMETER_REDIRECT_INDICATION",
    3007: "DIAMETER_APPLICATION_UNSUPPORTED",
    RESULT_INVALID_HDR_BITS: "DIAMETER_INVALID_HDR_BITS",
    3009: "DIAMETER_INVALID_AVP_BITS",
    3010: "DIAMETER_UNKNOWN_PEER",
    RESULT_AUTHENTICATION_REJECTED: "DIAMETER_AUTHENTICATION_REJECTED",
    4002: "DIAMETER_OUT_OF_SPACE",
    4003: "DIAMETER_ELECTION_LOST",
    5001: "DIAMETER_AVP_UNSUPPORTED",
    5002: "DIAMETER_UNKNOWN_SESSION_ID",
    RESULT_AUTHORIZATION_REJECTED: "DIAMETER_AUTHORIZATION_REJECTED",
    RESULT_INVALID_AVP_VALUE: "DIAMETER_INVALID_AVP_VALUE",
    RESULT_MISSING_AVP: "DIAMETER_MISSING_AVP",
    5006: "DIAMETER_RESOURCES_EXCEEDED",
    5007: "DIAMETER_CONTRADICTING_AVPS",
    5008: "DIAMETER_AVP_NOT_ALLOWED",
    RESULT_AVP_OCCURS_TOO_MANY_TIMES: "DIAMETER_AVP_OCCURS_TOO_MANY_TIMES",
    5010: "DIAMETER_NO_COMMON_APPLICATION",
    RESULT_UNSUPPORTED_VERSION: "DIAMETER_UNSUPPORTED_VERSION",
    RESULT_UNABLE_TO_COMPLY: "DIAMETER_UNABLE_TO_COMPLY",
    5013: "DIAMETER_INVALID_BIT_IN_HEADER",
    RESULT_INVALID_AVP_LENGTH: "DIAMETER_INVALID_AVP_LENGTH",
    RESULT_INVALID_MESSAGE_LENGTH: "DIAMETER_INVALID_MESSAGE_LENGTH",
    5016: "DIAMETER_INVALID_AVP_BIT_COMBO",
    5017: "DIAMETER_NO_COMMON_SECURITY",
    # RFC 4740, 10.1
    2003: "DIAMETER_FIRST_REGISTRATION",
    2004: "DIAMETER_SUBSEQUENT_REGISTRATION",
    2005: "DIAMETER_UNREGISTERED_SERVICE",
    2006: "DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED",
    2007: "DIAMETER_SERVER_SELECTION",
    2008: "DIAMETER_SUCCESS_AUTH_SENT_SERVER_NOT_STORED",
    4013: "DIAMETER_USER_NAME_REQUIRED",
    5032: "DIAMETER_ERROR_USER_UNKNOWN",
    5033: "DIAMETER_ERROR_IDENTITIES_DONT_MATCH",
    5034: "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED",
    5035: "DIAMETER_ERROR_ROAMING_NOT_ALLOWED",
    5036: "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED",
    5037: "DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED",
    5038: "DIAMETER_ERROR_IN_ASSIGNMENT_TYPE",
    5039: "DIAMETER_ERROR_TOO_MUCH_DATA",
    5040: "DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA",
}

cdef dict _COMMANDS = {
    # RFC 6733, 3.1
    257: "Capabilities-Exchange",
    258: "Re-Auth",
    COMMAND_ACCOUNTING: "Accounting",
    274: "Abort-Session",
    275: "Session-Termination",
    280: "Device-Watchdog",
    282: "Disconnect-Peer",
    # RFC 7155, 3; RFC 4072, 3; RFC 8506, 3
    COMMAND_AA: "AA",
    268: "Diameter-EAP",
    272: "Credit-Control",
    # RFC 4740, 8
    283: "User-Authorization",
    284: "Server-Assignment",
    285: "Location-Info",
    286: "Multimedia-Auth",
    287: "Registration-Termination",
    288: "Push-Profile",
    # 3GPP TS 29.229, section 6.1 (Cx): the same names under numbers of its own
    300: "User-Authorization",
    301: "Server-Assignment",
    302: "Location-Info",
    303: "Multimedia-Auth",
    304: "Registration-Termination",
    305: "Push-Profile",
    # 3GPP TS 29.329, section 6.1 (Sh)
    306: "User-Data",
    307: "Profile-Update",
    308: "Subscribe-Notifications",
    309: "Push-Notification",
    # 3GPP TS 29.272, section 7.2 (S6a)
    316: "Update-Location",
    317: "Cancel-Location",
    318: "Authentication-Information",
    319: "Insert-Subscriber-Data",
    320: "Delete-Subscriber-Data",
    321: "Purge-UE",
    322: "Reset",
    323: "Notify",
}

# Meanings of the values of Enumerated AVPs; other values are shown as numbers.
cdef dict _VALUES = {
    AVP_RESULT_CODE: _RESULTS,
    # RFC 6733, 5.4.3, 8.7 and 8.11
    273: {0: "REBOOTING", 1: "BUSY", 2: "DO_NOT_WANT_TO_TALK_TO_YOU"},
    274: {1: "AUTHENTICATE_ONLY", 2: "AUTHORIZE_ONLY", 3: "AUTHORIZE_AUTHENTICATE"},
    277: {0: "STATE_MAINTAINED", 1: "NO_STATE_MAINTAINED"},
}

# Code, name and type; SECRET marks values that logs do not show.
cdef tuple _COMMON = (
    # RFC 6733, 4.5, and RFC 7155, 4: attributes that came from RADIUS
    (AVP_USER_NAME, "User-Name", TEXT),
    (2, "User-Password", OCTETS, SECRET),
    (3, "CHAP-Password", OCTETS, SECRET),
    (4, "NAS-IP-Address", OCTETS),
    (5, "NAS-Port", U32),
    (6, "Service-Type", I32),
    (7, "Framed-Protocol", I32),
    (8, "Framed-IP-Address", OCTETS),
    (11, "Filter-Id", TEXT),
    (18, "Reply-Message", TEXT),
    (24, "State", OCTETS),
    (25, "Class", OCTETS),
    (27, "Session-Timeout", U32),
    (28, "Idle-Timeout", U32),
    (30, "Called-Station-Id", TEXT),
    (31, "Calling-Station-Id", TEXT),
    (32, "NAS-Identifier", TEXT),
    (33, "Proxy-State", OCTETS),
    (44, "Acct-Session-Id", OCTETS),
    (46, "Acct-Session-Time", U32),
    (50, "Acct-Multi-Session-Id", TEXT),
    (55, "Event-Timestamp", TIME),
    (60, "CHAP-Challenge", OCTETS, SECRET),
    (61, "NAS-Port-Type", I32),
    (69, "Tunnel-Password", OCTETS, SECRET),
    (70, "ARAP-Password", OCTETS, SECRET),
    (77, "Connect-Info", TEXT),
    (79, "EAP-Message", OCTETS, SECRET),
    (85, "Acct-Interim-Interval", U32),
    (87, "NAS-Port-Id", TEXT),
    (95, "NAS-IPv6-Address", OCTETS),
    # RFC 5090, 3: digest authentication. Secret is what a password can be guessed from, or
    # a session be taken over with.
    (103, "Digest-Response", TEXT, SECRET),
    (104, "Digest-Realm", TEXT),
    (105, "Digest-Nonce", TEXT, SECRET),
    (106, "Digest-Response-Auth", TEXT, SECRET),
    (107, "Digest-Nextnonce", TEXT, SECRET),
    (108, "Digest-Method", TEXT),
    (109, "Digest-URI", TEXT),
    (110, "Digest-Qop", TEXT),
    (111, "Digest-Algorithm", TEXT),
    (112, "Digest-Entity-Body-Hash", TEXT),
    (113, "Digest-CNonce", TEXT, SECRET),
    (114, "Digest-Nonce-Count", TEXT),
    (115, "Digest-Username", TEXT),
    (116, "Digest-Opaque", TEXT),
    (117, "Digest-Auth-Param", TEXT, SECRET),
    (118, "Digest-AKA-Auts", TEXT, SECRET),
    (119, "Digest-Domain", TEXT),
    (120, "Digest-Stale", TEXT),
    (121, "Digest-HA1", TEXT, SECRET),
    (122, "SIP-AOR", TEXT),
    # RFC 6733, 4.5
    (257, "Host-IP-Address", ADDRESS),
    (258, "Auth-Application-Id", U32),
    (259, "Acct-Application-Id", U32),
    (260, "Vendor-Specific-Application-Id", GROUPED),
    (261, "Redirect-Host-Usage", I32),
    (262, "Redirect-Max-Cache-Time", U32),
    (AVP_SESSION_ID, "Session-Id", TEXT),
    (AVP_ORIGIN_HOST, "Origin-Host", TEXT),
    (265, "Supported-Vendor-Id", U32),
    (266, "Vendor-Id", U32),
    (267, "Firmware-Revision", U32),
    (AVP_RESULT_CODE, "Result-Code", U32),
    (269, "Product-Name", TEXT),
    (270, "Session-Binding", U32),
    (271, "Session-Server-Failover", I32),
    (272, "Multi-Round-Time-Out", U32),
    (273, "Disconnect-Cause", I32),
    (274, "Auth-Request-Type", I32),
    (276, "Auth-Grace-Period", U32),
    (277, "Auth-Session-State", I32),
    (278, "Origin-State-Id", U32),
    (AVP_FAILED_AVP, "Failed-AVP", GROUPED),
    (280, "Proxy-Host", TEXT),
    (AVP_ERROR_MESSAGE, "Error-Message", TEXT),
    (282, "Route-Record", TEXT),
    (AVP_DESTINATION_REALM, "Destination-Realm", TEXT),
    (284, "Proxy-Info", GROUPED),
    (285, "Re-Auth-Request-Type", I32),
    (287, "Accounting-Sub-Session-Id", U64),
    (291, "Authorization-Lifetime", U32),
    (292, "Redirect-Host", TEXT),
    (293, "Destination-Host", TEXT),
    (294, "Error-Reporting-Host", TEXT),
    (295, "Termination-Cause", I32),
    (AVP_ORIGIN_REALM, "Origin-Realm", TEXT),
    (297, "Experimental-Result", GROUPED),
    (298, "Experimental-Result-Code", U32),
    (299, "Inband-Security-Id", U32),
    (480, "Accounting-Record-Type", I32),
    (483, "Accounting-Realtime-Required", I32),
    (485, "Accounting-Record-Number", U32),
    # RFC 4740, 9
    (368, "SIP-Accounting-Information", GROUPED),
    (369, "SIP-Accounting-Server-URI", TEXT),
    (370, "SIP-Credit-Control-Server-URI", TEXT),
    (371, "SIP-Server-URI", TEXT),
    (372, "SIP-Server-Capabilities", GROUPED),
    (373, "SIP-Mandatory-Capability", U32),
    (374, "SIP-Optional-Capability", U32),
    (375, "SIP-Server-Assignment-Type", I32),
    (376, "SIP-Auth-Data-Item", GROUPED),
    (377, "SIP-Authentication-Scheme", I32),
    (378, "SIP-Item-Number", U32),
    (379, "SIP-Authenticate", GROUPED),
    (380, "SIP-Authorization", GROUPED),
    (381, "SIP-Authentication-Info", GROUPED),
    (382, "SIP-Number-Auth-Items", U32),
    (383, "SIP-Deregistration-Reason", GROUPED),
    (384, "SIP-Reason-Code", I32),
    (385, "SIP-Reason-Info", TEXT),
    (386, "SIP-Visited-Network-Id", TEXT),
    (387, "SIP-User-Authorization-Type", I32),
    (388, "SIP-Supported-User-Data-Type", TEXT),
    (389, "SIP-User-Data", GROUPED),
    (390, "SIP-User-Data-Type", TEXT),
    (391, "SIP-User-Data-Contents", OCTETS),
    (392, "SIP-User-Data-Already-Available", I32),
    (393, "SIP-Method", TEXT),
    # RFC 7155, 4 and 5: what the numbers of the DISC dialect mean elsewhere
    (400, "NAS-Filter-Rule", TEXT),
    (401, "Tunneling", GROUPED),
    (402, "CHAP-Auth", GROUPED),
    (403, "CHAP-Algorithm", I32),
    (404, "CHAP-Ident", OCTETS),
    (405, "CHAP-Response", OCTETS, SECRET),
    (406, "Accounting-Auth-Method", I32),
    # RFC 8506, 8, and RFC 4072, 4.1
    (415, "CC-Request-Number", U32),
    (416, "CC-Request-Type", I32),
    (443, "Subscription-Id", GROUPED),
    (444, "Subscription-Id-Data", TEXT),
    (450, "Subscription-Id-Type", I32),
    (461, "Service-Context-Id", TEXT),
    (462, "EAP-Payload", OCTETS, SECRET),
    (463, "EAP-Reissued-Payload", OCTETS, SECRET),
    (464, "EAP-Master-Session-Key", OCTETS, SECRET),
)

# Under the application of the DISC dialect these numbers mean what OpenSER's auth_diameter module
# means by them.
cdef tuple _DIALECT = (
    (AVP_RESOURCE, "Resource", TEXT),
    (AVP_RESPONSE, "Response", TEXT, SECRET),
    (AVP_CHALLENGE, "Challenge", TEXT, SECRET),
    (AVP_METHOD, "Method", TEXT),
    (AVP_SERVICE_TYPE, "Service-Type", TEXT),
    (AVP_USER_GROUP, "User-Group", TEXT),
    (AVP_SIP_MSGID, "SIP-MSGID", OCTETS),
)
cdef dict _DIALECT_VALUES = {
    AVP_SERVICE_TYPE: {
        chr(SERVICE_AUTHENTICATION): "authentication",
        chr(SERVICE_GROUP_CHECK): "group check",
        chr(SERVICE_ACCOUNTING): "accounting",
    },
}

cdef tuple _3GPP = (
    # TS 29.229, section 6.3 (Cx)
    (600, "Visited-Network-Identifier", OCTETS),
    (601, "Public-Identity", TEXT),
    (602, "Server-Name", TEXT),
    (603, "Server-Capabilities", GROUPED),
    (604, "Mandatory-Capability", U32),
    (605, "Optional-Capability", U32),
    (606, "User-Data", OCTETS),
    (607, "SIP-Number-Auth-Items", U32),
    (608, "SIP-Authentication-Scheme", TEXT),
    (609, "SIP-Authenticate", OCTETS, SECRET),
    (610, "SIP-Authorization", OCTETS, SECRET),
    (611, "SIP-Authentication-Context", OCTETS, SECRET),
    (612, "SIP-Auth-Data-Item", GROUPED),
    (613, "SIP-Item-Number", U32),
    (614, "Server-Assignment-Type", I32),
    (615, "Deregistration-Reason", GROUPED),
    (616, "Reason-Code", I32),
    (617, "Reason-Info", TEXT),
    (618, "Charging-Information", GROUPED),
    (623, "User-Authorization-Type", I32),
    (624, "User-Data-Already-Available", I32),
    (625, "Confidentiality-Key", OCTETS, SECRET),
    (626, "Integrity-Key", OCTETS, SECRET),
    (628, "Supported-Features", GROUPED),
    (629, "Feature-List-ID", U32),
    (630, "Feature-List", U32),
    (631, "Supported-Applications", GROUPED),
    (632, "Associated-Identities", GROUPED),
    (635, "SIP-Digest-Authenticate", GROUPED),
    (637, "UAR-Flags", U32),
    # TS 29.272, section 7.3 (S6a)
    (1400, "Subscription-Data", GROUPED),
    (1401, "Terminal-Information", GROUPED),
    (1402, "IMEI", TEXT),
    (1403, "Software-Version", TEXT),
    (1405, "ULR-Flags", U32),
    (1406, "ULA-Flags", U32),
    (1407, "Visited-PLMN-Id", OCTETS),
    (1408, "Requested-EUTRAN-Authentication-Info", GROUPED),
    (1409, "Requested-UTRAN-GERAN-Authentication-Info", GROUPED),
    (1410, "Number-Of-Requested-Vectors", U32),
    (1411, "Re-Synchronization-Info", OCTETS, SECRET),
    (1412, "Immediate-Response-Preferred", U32),
    (1413, "Authentication-Info", GROUPED),
    (1414, "E-UTRAN-Vector", GROUPED),
    (1415, "UTRAN-Vector", GROUPED),
    (1416, "GERAN-Vector", GROUPED),
    (1419, "Item-Number", U32),
    (1447, "RAND", OCTETS, SECRET),
    (1448, "XRES", OCTETS, SECRET),
    (1449, "AUTN", OCTETS, SECRET),
    (1450, "KASME", OCTETS, SECRET),
    (1453, "Kc", OCTETS, SECRET),
    (1454, "SRES", OCTETS, SECRET),
    (1493, "Homogeneous-Support-of-IMS-Voice-Over-PS-Sessions", I32),
    (1615, "UE-SRVCC-Capability", I32),
    # TS 29.212, section 5.3.31; TS 32.299, section 7.2
    (1032, "RAT-Type", I32),
    (873, "Service-Information", GROUPED),
)


cdef dict _entries(tuple rows, dict values):
    cdef Entry entry
    cdef dict found = {}
    for row in rows:
        entry = Entry.__new__(Entry)
        entry.name = row[1]
        entry.kind = row[2]
        entry.secret = len(row) > 3
        entry.values = values.get(row[0])
        found[row[0]] = entry
    return found


cdef dict _BY_VENDOR = {
    0: _entries(_COMMON, _VALUES),
    VENDOR_3GPP: _entries(_3GPP, {}),
}
cdef dict _BY_DIALECT = _entries(_DIALECT, _DIALECT_VALUES)


cdef Entry lookup(uint32_t application, uint32_t vendor, uint32_t code):
    """The entry of an AVP in an application, or None."""
    cdef dict known
    if vendor == 0 and application == APPLICATION_NASREQ:
        entry = _BY_DIALECT.get(code)
        if entry is not None:
            return <Entry>entry
    known = _BY_VENDOR.get(vendor)
    return None if known is None else <Entry>known.get(code)


cdef str command_name(uint32_t command):
    """The name of a command without ``-Request`` or ``-Answer``, or None."""
    return _COMMANDS.get(command)


def result_name(code):
    """The name of a Result-Code (RFC 6733, 7.1; RFC 4740, 10.1).

    Args:
        code: the value of a Result-Code AVP, int.

    Returns:
        Str, such as ``"DIAMETER_SUCCESS"`` for 2001, or None.
    """
    return _RESULTS.get(code)
