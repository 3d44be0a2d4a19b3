"""Names and types of AVPs, commands and results, to show messages to people.

Each number stands in the project once: codes.pxd has those that compiled code uses, and here they go by
those names. No message needs the dictionary to be decoded or encoded; an AVP that is not in it is shown by its
number and in bytes. It is filled once, so the compiler does not optimize this file (CMakeLists.txt); what is asked
for each message is in known_avps.pyx.
"""

cimport cython

from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX,
    APPLICATION_NASREQ,
    AVP_ACCT_SESSION_ID,
    AVP_AUTHORIZATION_LIFETIME,
    AVP_AUTH_APPLICATION_ID,
    AVP_AUTH_SESSION_STATE,
    AVP_CALLING_STATION_ID,
    AVP_CHALLENGE,
    AVP_DESTINATION_HOST,
    AVP_DESTINATION_REALM,
    AVP_DIGEST_ALGORITHM,
    AVP_DIGEST_CNONCE,
    AVP_DIGEST_DOMAIN,
    AVP_DIGEST_ENTITY_BODY_HASH,
    AVP_DIGEST_HA1,
    AVP_DIGEST_METHOD,
    AVP_DIGEST_NEXTNONCE,
    AVP_DIGEST_NONCE,
    AVP_DIGEST_NONCE_COUNT,
    AVP_DIGEST_OPAQUE,
    AVP_DIGEST_QOP,
    AVP_DIGEST_REALM,
    AVP_DIGEST_RESPONSE,
    AVP_DIGEST_RESPONSE_AUTH,
    AVP_DIGEST_STALE,
    AVP_DIGEST_URI,
    AVP_DIGEST_USERNAME,
    AVP_ERROR_MESSAGE,
    AVP_FAILED_AVP,
    AVP_MANDATORY,
    AVP_METHOD,
    AVP_ORIGIN_HOST,
    AVP_ORIGIN_REALM,
    AVP_PROXY_INFO,
    AVP_RESOURCE,
    AVP_RESPONSE,
    AVP_RESULT_CODE,
    AVP_ROUTE_RECORD,
    AVP_SERVICE_TYPE,
    AVP_SESSION_ID,
    AVP_SIP_AOR,
    AVP_SIP_AUTHENTICATE,
    AVP_SIP_AUTHENTICATION_INFO,
    AVP_SIP_AUTHENTICATION_SCHEME,
    AVP_SIP_AUTHORIZATION,
    AVP_SIP_AUTH_DATA_ITEM,
    AVP_SIP_METHOD,
    AVP_SIP_MSGID,
    AVP_SIP_NUMBER_AUTH_ITEMS,
    AVP_SIP_SERVER_URI,
    AVP_USER_GROUP,
    AVP_USER_NAME,
    COMMAND_AA,
    COMMAND_ACCOUNTING,
    COMMAND_CX_MULTIMEDIA_AUTH,
    COMMAND_MULTIMEDIA_AUTH,
    NO_STATE_MAINTAINED,
    RESULT_AUTHENTICATION_REJECTED,
    RESULT_AUTHORIZATION_REJECTED,
    RESULT_AUTH_SCHEME_NOT_SUPPORTED,
    RESULT_AVP_OCCURS_TOO_MANY_TIMES,
    RESULT_AVP_UNSUPPORTED,
    RESULT_COMMAND_UNSUPPORTED,
    RESULT_IDENTITIES_DONT_MATCH,
    RESULT_INVALID_AVP_LENGTH,
    RESULT_INVALID_AVP_VALUE,
    RESULT_INVALID_HDR_BITS,
    RESULT_INVALID_MESSAGE_LENGTH,
    RESULT_MISSING_AVP,
    RESULT_MULTI_ROUND_AUTH,
    RESULT_REALM_NOT_SERVED,
    RESULT_SUCCESS,
    RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED,
    RESULT_SUCCESS_SERVER_NAME_NOT_STORED,
    RESULT_TOO_BUSY,
    RESULT_UNABLE_TO_COMPLY,
    RESULT_UNABLE_TO_DELIVER,
    RESULT_UNSUPPORTED_VERSION,
    RESULT_USER_NAME_REQUIRED,
    RESULT_USER_UNKNOWN,
    SCHEME_OF_DIGEST,
    SERVICE_ACCOUNTING,
    SERVICE_AUTHENTICATION,
    SERVICE_GROUP_CHECK,
    VENDOR_3GPP,
    VENDOR_CABLELABS,
    VENDOR_CISCO,
    VENDOR_ETSI,
)


@cython.final
cdef class Entry:
    """The dictionary entry of one AVP code."""


cdef dict _RESULTS = {
    # RFC 6733, 7.1
    RESULT_MULTI_ROUND_AUTH: "DIAMETER_MULTI_ROUND_AUTH",
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
    RESULT_AVP_UNSUPPORTED: "DIAMETER_AVP_UNSUPPORTED",
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
    RESULT_SUCCESS_SERVER_NAME_NOT_STORED: "DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED",
    2007: "DIAMETER_SERVER_SELECTION",
    RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED: "DIAMETER_SUCCESS_AUTH_SENT_SERVER_NOT_STORED",
    RESULT_USER_NAME_REQUIRED: "DIAMETER_USER_NAME_REQUIRED",
    RESULT_USER_UNKNOWN: "DIAMETER_ERROR_USER_UNKNOWN",
    RESULT_IDENTITIES_DONT_MATCH: "DIAMETER_ERROR_IDENTITIES_DONT_MATCH",
    5034: "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED",
    5035: "DIAMETER_ERROR_ROAMING_NOT_ALLOWED",
    5036: "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED",
    RESULT_AUTH_SCHEME_NOT_SUPPORTED: "DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED",
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
    COMMAND_MULTIMEDIA_AUTH: "Multimedia-Auth",
    287: "Registration-Termination",
    288: "Push-Profile",
    # 3GPP TS 29.229, section 6.1 (Cx): the same names under numbers of its own
    300: "User-Authorization",
    301: "Server-Assignment",
    302: "Location-Info",
    COMMAND_CX_MULTIMEDIA_AUTH: "Multimedia-Auth",
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

# What RFC 4740 and Cx have in common: RFC 4740, 9.4, 9.10 and 9.13; 3GPP TS 29.229, 6.3.15, 6.3.24 and 6.3.26
cdef dict _ASSIGNMENTS = {
    0: "NO_ASSIGNMENT", 1: "REGISTRATION", 2: "RE_REGISTRATION", 3: "UNREGISTERED_USER",
    4: "TIMEOUT_DEREGISTRATION", 5: "USER_DEREGISTRATION", 6: "TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME",
    7: "USER_DEREGISTRATION_STORE_SERVER_NAME", 8: "ADMINISTRATIVE_DEREGISTRATION", 9: "AUTHENTICATION_FAILURE",
    10: "AUTHENTICATION_TIMEOUT", 11: "DEREGISTRATION_TOO_MUCH_DATA",
}
cdef dict _AUTHORIZATIONS = {0: "REGISTRATION", 1: "DEREGISTRATION", 2: "REGISTRATION_AND_CAPABILITIES"}
cdef dict _USER_DATA = {0: "USER_DATA_NOT_AVAILABLE", 1: "USER_DATA_ALREADY_AVAILABLE"}

# Meanings of the values of Enumerated AVPs; other values are shown as numbers.
cdef dict _VALUES = {
    AVP_RESULT_CODE: _RESULTS,
    # RFC 6733, 5.4.3, 8.7 and 8.11
    273: {0: "REBOOTING", 1: "BUSY", 2: "DO_NOT_WANT_TO_TALK_TO_YOU"},
    274: {1: "AUTHENTICATE_ONLY", 2: "AUTHORIZE_ONLY", 3: "AUTHORIZE_AUTHENTICATE"},
    AVP_AUTH_SESSION_STATE: {0: "STATE_MAINTAINED", NO_STATE_MAINTAINED: "NO_STATE_MAINTAINED"},
    # RFC 6733, 6.13, 8.15 and 6.10
    261: {
        0: "DONT_CACHE", 1: "ALL_SESSION", 2: "ALL_REALM", 3: "REALM_AND_APPLICATION", 4: "ALL_APPLICATION",
        5: "ALL_HOST", 6: "ALL_USER",
    },
    295: {
        1: "LOGOUT", 2: "SERVICE_NOT_PROVIDED", 3: "BAD_ANSWER", 4: "ADMINISTRATIVE", 5: "LINK_BROKEN",
        6: "AUTH_EXPIRED", 7: "USER_MOVED", 8: "SESSION_TIMEOUT",
    },
    299: {0: "NO_INBAND_SECURITY", 1: "TLS"},
    # RFC 4740, 9
    375: _ASSIGNMENTS,
    AVP_SIP_AUTHENTICATION_SCHEME: {SCHEME_OF_DIGEST: "DIGEST"},
    384: {
        0: "PERMANENT_TERMINATION", 1: "NEW_SIP_SERVER_ASSIGNED", 2: "SIP_SERVER_CHANGE",
        3: "REMOVE_SIP_SERVER",
    },
    387: _AUTHORIZATIONS,
    392: _USER_DATA,
    # 3GPP TS 29.229, section 6.2: the only vendor here that has results of its own
    298: {
        2001: "DIAMETER_FIRST_REGISTRATION", 2002: "DIAMETER_SUBSEQUENT_REGISTRATION",
        2003: "DIAMETER_UNREGISTERED_SERVICE", 2004: "DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED",
        5001: "DIAMETER_ERROR_USER_UNKNOWN", 5002: "DIAMETER_ERROR_IDENTITIES_DONT_MATCH",
        5003: "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED", 5004: "DIAMETER_ERROR_ROAMING_NOT_ALLOWED",
        5005: "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED", 5006: "DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED",
        5007: "DIAMETER_ERROR_IN_ASSIGNMENT_TYPE", 5008: "DIAMETER_ERROR_TOO_MUCH_DATA",
        5009: "DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA", 5011: "DIAMETER_ERROR_FEATURE_UNSUPPORTED",
    },
}

# 3GPP TS 29.229, section 6.3
cdef dict _3GPP_VALUES = {
    614: _ASSIGNMENTS | {12: "AAA_USER_DATA_REQUEST", 13: "PGW_UPDATE", 14: "RESTORATION"},
    616: {
        0: "PERMANENT_TERMINATION", 1: "NEW_SERVER_ASSIGNED", 2: "SERVER_CHANGE", 3: "REMOVE_S-CSCF",
    },
    623: _AUTHORIZATIONS,
    624: _USER_DATA,
    633: {0: "ORIGINATING"},
    638: {0: "LOOSE_ROUTE_NOT_REQUIRED", 1: "LOOSE_ROUTE_REQUIRED"},
    648: {0: "NOT_MULTIPLE_REGISTRATION", 1: "MULTIPLE_REGISTRATION"},
    652: {0: "NOT_PRIVILEDGED_SENDER", 1: "PRIVILEDGED_SENDER"},
}

# Code, name and type. SECRET marks values that logs do not show, OPTIONAL those sent without the M flag.
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
    (AVP_CALLING_STATION_ID, "Calling-Station-Id", TEXT),
    (32, "NAS-Identifier", TEXT),
    (33, "Proxy-State", OCTETS),
    (AVP_ACCT_SESSION_ID, "Acct-Session-Id", OCTETS),
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
    (AVP_DIGEST_RESPONSE, "Digest-Response", TEXT, SECRET),
    (AVP_DIGEST_REALM, "Digest-Realm", TEXT),
    (AVP_DIGEST_NONCE, "Digest-Nonce", TEXT, SECRET),
    (AVP_DIGEST_RESPONSE_AUTH, "Digest-Response-Auth", TEXT, SECRET),
    (AVP_DIGEST_NEXTNONCE, "Digest-Nextnonce", TEXT, SECRET),
    (AVP_DIGEST_METHOD, "Digest-Method", TEXT),
    (AVP_DIGEST_URI, "Digest-URI", TEXT),
    (AVP_DIGEST_QOP, "Digest-Qop", TEXT),
    (AVP_DIGEST_ALGORITHM, "Digest-Algorithm", TEXT),
    (AVP_DIGEST_ENTITY_BODY_HASH, "Digest-Entity-Body-Hash", TEXT),
    (AVP_DIGEST_CNONCE, "Digest-CNonce", TEXT, SECRET),
    (AVP_DIGEST_NONCE_COUNT, "Digest-Nonce-Count", TEXT),
    (AVP_DIGEST_USERNAME, "Digest-Username", TEXT),
    (AVP_DIGEST_OPAQUE, "Digest-Opaque", TEXT),
    (117, "Digest-Auth-Param", TEXT, SECRET),
    (118, "Digest-AKA-Auts", TEXT, SECRET),
    (AVP_DIGEST_DOMAIN, "Digest-Domain", TEXT),
    (AVP_DIGEST_STALE, "Digest-Stale", TEXT),
    (AVP_DIGEST_HA1, "Digest-HA1", TEXT, SECRET),
    (AVP_SIP_AOR, "SIP-AOR", TEXT),
    # Of no RFC: SIP servers' RADIUS dictionaries; OpenSIPS sends it over Diameter, too
    (208, "SIP-URI-User", TEXT),
    # RFC 6733, 4.5
    (257, "Host-IP-Address", ADDRESS),
    (AVP_AUTH_APPLICATION_ID, "Auth-Application-Id", U32),
    (259, "Acct-Application-Id", U32),
    (260, "Vendor-Specific-Application-Id", GROUPED),
    (261, "Redirect-Host-Usage", I32),
    (262, "Redirect-Max-Cache-Time", U32),
    (AVP_SESSION_ID, "Session-Id", TEXT),
    (AVP_ORIGIN_HOST, "Origin-Host", TEXT),
    (265, "Supported-Vendor-Id", U32),
    (266, "Vendor-Id", U32),
    (267, "Firmware-Revision", U32, OPTIONAL),
    (AVP_RESULT_CODE, "Result-Code", U32),
    (269, "Product-Name", TEXT, OPTIONAL),
    (270, "Session-Binding", U32),
    (271, "Session-Server-Failover", I32),
    (272, "Multi-Round-Time-Out", U32),
    (273, "Disconnect-Cause", I32),
    (274, "Auth-Request-Type", I32),
    (276, "Auth-Grace-Period", U32),
    (AVP_AUTH_SESSION_STATE, "Auth-Session-State", I32),
    (278, "Origin-State-Id", U32),
    (AVP_FAILED_AVP, "Failed-AVP", GROUPED),
    (280, "Proxy-Host", TEXT),
    (AVP_ERROR_MESSAGE, "Error-Message", TEXT, OPTIONAL),
    (AVP_ROUTE_RECORD, "Route-Record", TEXT),
    (AVP_DESTINATION_REALM, "Destination-Realm", TEXT),
    (AVP_PROXY_INFO, "Proxy-Info", GROUPED),
    (285, "Re-Auth-Request-Type", I32),
    (287, "Accounting-Sub-Session-Id", U64),
    (AVP_AUTHORIZATION_LIFETIME, "Authorization-Lifetime", U32),
    (292, "Redirect-Host", TEXT),
    (AVP_DESTINATION_HOST, "Destination-Host", TEXT),
    (294, "Error-Reporting-Host", TEXT, OPTIONAL),
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
    (AVP_SIP_SERVER_URI, "SIP-Server-URI", TEXT),
    (372, "SIP-Server-Capabilities", GROUPED),
    (373, "SIP-Mandatory-Capability", U32),
    (374, "SIP-Optional-Capability", U32),
    (375, "SIP-Server-Assignment-Type", I32),
    (AVP_SIP_AUTH_DATA_ITEM, "SIP-Auth-Data-Item", GROUPED),
    (AVP_SIP_AUTHENTICATION_SCHEME, "SIP-Authentication-Scheme", I32),
    (378, "SIP-Item-Number", U32),
    (AVP_SIP_AUTHENTICATE, "SIP-Authenticate", GROUPED),
    (AVP_SIP_AUTHORIZATION, "SIP-Authorization", GROUPED),
    (AVP_SIP_AUTHENTICATION_INFO, "SIP-Authentication-Info", GROUPED),
    (AVP_SIP_NUMBER_AUTH_ITEMS, "SIP-Number-Auth-Items", U32),
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
    (AVP_SIP_METHOD, "SIP-Method", TEXT),
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
    (619, "Primary-Event-Charging-Function-Name", TEXT),
    (620, "Secondary-Event-Charging-Function-Name", TEXT),
    (621, "Primary-Charging-Collection-Function-Name", TEXT),
    (622, "Secondary-Charging-Collection-Function-Name", TEXT),
    (623, "User-Authorization-Type", I32),
    (624, "User-Data-Already-Available", I32),
    (625, "Confidentiality-Key", OCTETS, SECRET),
    (626, "Integrity-Key", OCTETS, SECRET),
    (628, "Supported-Features", GROUPED),
    (629, "Feature-List-ID", U32),
    (630, "Feature-List", U32),
    (631, "Supported-Applications", GROUPED),
    (632, "Associated-Identities", GROUPED),
    (633, "Originating-Request", I32),
    (634, "Wildcarded-Public-Identity", TEXT),
    (635, "SIP-Digest-Authenticate", GROUPED, OPTIONAL),
    (636, "Wildcarded-IMPU", TEXT, OPTIONAL),
    (637, "UAR-Flags", U32, OPTIONAL),
    (638, "Loose-Route-Indication", I32, OPTIONAL),
    (639, "SCSCF-Restoration-Info", GROUPED, OPTIONAL),
    (640, "Path", OCTETS, OPTIONAL),
    (641, "Contact", OCTETS, OPTIONAL),
    (642, "Subscription-Info", GROUPED, OPTIONAL),
    (643, "Call-ID-SIP-Header", OCTETS, OPTIONAL),
    (644, "From-SIP-Header", OCTETS, OPTIONAL),
    (645, "To-SIP-Header", OCTETS, OPTIONAL),
    (646, "Record-Route", OCTETS, OPTIONAL),
    (647, "Associated-Registered-Groups", GROUPED, OPTIONAL),
    (648, "Multiple-Registration-Indication", I32, OPTIONAL),
    (649, "Restoration-Info", GROUPED, OPTIONAL),
    (650, "Session-Priority", I32, OPTIONAL),
    (651, "Identity-with-Emergency-Registration", GROUPED, OPTIONAL),
    (652, "Priviledged-Sender-Indication", I32, OPTIONAL),
    (653, "LIA-Flags", U32, OPTIONAL),
    (654, "Initial-CSeq-Sequence-Number", U32, OPTIONAL),
    (655, "SAR-Flags", U32, OPTIONAL),
    (656, "Allowed-WAF-WWSF-Identities", GROUPED, OPTIONAL),
    (657, "WebRTC-Authentication-Function-Name", TEXT, OPTIONAL),
    (658, "WebRTC-Web-Server-Function-Name", TEXT, OPTIONAL),
    (659, "RTR-Flags", U32, OPTIONAL),
    (660, "P-CSCF-Subscription-Info", GROUPED, OPTIONAL),
    (661, "Registration-Time-Out", TIME, OPTIONAL),
    (662, "Alternate-Digest-Algorithm", TEXT, OPTIONAL),
    (663, "Alternate-Digest-HA1", TEXT, SECRET | OPTIONAL),
    (664, "Failed-PCSCF", GROUPED, OPTIONAL),
    (665, "PCSCF-FQDN", TEXT, OPTIONAL),
    (666, "PCSCF-IP-Address", ADDRESS, OPTIONAL),
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

cdef tuple _ETSI = (
    # ETSI TS 183 033, section 6.3: digest over Cx before 3GPP had it
    (500, "Line-Identifier", OCTETS),
    (501, "ETSI-SIP-Authenticate", GROUPED),
    (502, "ETSI-SIP-Authorization", GROUPED),
    (503, "ETSI-SIP-Authentication-Info", GROUPED),
    (504, "ETSI-Digest-Realm", TEXT),
    (505, "ETSI-Digest-Nonce", TEXT, SECRET),
    (506, "ETSI-Digest-Domain", TEXT),
    (507, "ETSI-Digest-Opaque", TEXT),
    (508, "ETSI-Digest-Stale", TEXT),
    (509, "ETSI-Digest-Algorithm", TEXT),
    (510, "ETSI-Digest-QoP", TEXT),
    (511, "ETSI-Digest-HA1", TEXT, SECRET),
    (512, "ETSI-Digest-Auth-Param", TEXT, SECRET),
    (513, "ETSI-Digest-Username", TEXT),
    (514, "ETSI-Digest-URI", TEXT),
    (515, "ETSI-Digest-Response", TEXT, SECRET),
    (516, "ETSI-Digest-CNonce", TEXT, SECRET),
    (517, "ETSI-Digest-Nonce-Count", TEXT),
    (518, "ETSI-Digest-Method", TEXT),
    (519, "ETSI-Digest-Entity-Body-Hash", TEXT),
    (520, "ETSI-Digest-Nextnonce", TEXT, SECRET),
    (521, "ETSI-Digest-Response-Auth", TEXT, SECRET),
)
# FHoSS sends ETSI's Digest-Realm under the number of CableLabs as well.
cdef tuple _CABLELABS = ((504, "ETSI-Digest-Realm", TEXT),)
cdef tuple _CISCO = ((1, "Cisco-AVPair", TEXT, SECRET),)


cdef dict _entries(tuple rows, dict values):
    cdef Entry entry
    cdef dict found = {}
    for row in rows:
        entry = Entry.__new__(Entry)
        entry.name = row[1]
        entry.kind = row[2]
        entry.secret = len(row) > 3 and row[3] & SECRET
        entry.optional = len(row) > 3 and row[3] & OPTIONAL
        entry.values = values.get(row[0])
        found[row[0]] = entry
    return found


cdef dict _BY_VENDOR = {
    0: _entries(_COMMON, _VALUES),
    VENDOR_CISCO: _entries(_CISCO, {}),
    VENDOR_CABLELABS: _entries(_CABLELABS, {}),
    VENDOR_3GPP: _entries(_3GPP, _3GPP_VALUES),
    VENDOR_ETSI: _entries(_ETSI, {}),
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


# ---------------------------------------------------------------------------------- by name


cdef dict _codes_of(dict entries):
    cdef Entry entry
    return {entry.name: code for code, entry in entries.items()}


cdef dict _CODES = {vendor: _codes_of(entries) for vendor, entries in _BY_VENDOR.items()}


def avp_code(str name not None, vendor_id=None):
    """The code of an AVP.

    Args:
        name: such as ``"Origin-Host"``, str.
        vendor_id: Vendor-ID, int; None for an AVP without one.

    Returns:
        Int.

    Raises:
        KeyError: the dictionary has no such AVP.
    """
    return _CODES[vendor_id or 0][name]


def avp_flags(str name not None, vendor_id=None):
    """The flags with which an AVP is sent: M, unless its definition forbids that (RFC 6733, 4.5), int.

    Args:
        name: as for `avp_code`.
        vendor_id: as for `avp_code`.

    Raises:
        KeyError: the dictionary has no such AVP.
    """
    cdef Entry entry = _BY_VENDOR[vendor_id or 0][avp_code(name, vendor_id)]
    return 0 if entry.optional else AVP_MANDATORY


def command_code(str name not None, application_id=0):
    """The code of a command.

    Args:
        name: without ``-Request`` or ``-Answer``, such as ``"Device-Watchdog"``, str.
        application_id: int. Cx and RFC 4740 have commands of the same names.

    Returns:
        Int.

    Raises:
        KeyError: the dictionary has no such command.
    """
    found = [code for code, own in _COMMANDS.items() if own == name]
    if not found:
        raise KeyError(name)
    return found[len(found) - 1 if application_id == APPLICATION_CX else 0]


def result_code(str name not None):
    """The Result-Code of that name, such as ``"DIAMETER_SUCCESS"``, int.

    Raises:
        KeyError: the dictionary has no such result.
    """
    for code, own in _RESULTS.items():
        if own == name:
            return code
    raise KeyError(name)


def codes_by_vendor():
    """The codes of all AVPs, without those of the DISC dialect: dict of Vendor-ID (0: none) to a list of int."""
    return {vendor: list(entries) for vendor, entries in _BY_VENDOR.items()}
