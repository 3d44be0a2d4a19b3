"""Every Diameter number that compiled code goes by, once, with its source.

Numbers that only a reader needs stand in dictionary.pyx, which takes those here from here.
"""

cdef enum:
    # RFC 6733, section 3: the header's command flags
    FLAG_REQUEST = 0x80
    FLAG_PROXIABLE = 0x40
    FLAG_ERROR = 0x20
    FLAG_RETRANSMITTED = 0x10

    # RFC 6733, section 4.1: AVP flags
    AVP_VENDOR = 0x80
    AVP_MANDATORY = 0x40
    AVP_PROTECTED = 0x20

    # Commands: RFC 7155, section 3 (AA); RFC 6733, section 9.7 (ACR)
    COMMAND_AA = 265
    COMMAND_ACCOUNTING = 271

    # RFC 6733, section 2.4: application ids
    APPLICATION_COMMON = 0
    APPLICATION_NASREQ = 1

    # SMI enterprise numbers, as in Vendor-ID
    VENDOR_3GPP = 10415

    # AVPs: RFC 6733, section 4.5
    AVP_USER_NAME = 1
    # RFC 7155, section 4.2.6
    AVP_CALLING_STATION_ID = 31
    # RFC 5090, section 4, and RFC 4740, section 9.5.3
    AVP_DIGEST_RESPONSE = 103
    AVP_DIGEST_RESPONSE_AUTH = 106
    AVP_DIGEST_NEXTNONCE = 107
    AVP_DIGEST_URI = 109
    AVP_DIGEST_QOP = 110
    AVP_DIGEST_ALGORITHM = 111
    AVP_DIGEST_ENTITY_BODY_HASH = 112
    AVP_DIGEST_NONCE_COUNT = 114
    AVP_SESSION_ID = 263
    AVP_ORIGIN_HOST = 264
    AVP_RESULT_CODE = 268
    AVP_FAILED_AVP = 279
    AVP_ERROR_MESSAGE = 281
    AVP_DESTINATION_REALM = 283
    AVP_ORIGIN_REALM = 296
    # AVPs of the DISC dialect (OpenSER's auth_diameter module), whose meanings are private to it
    AVP_RESOURCE = 400
    AVP_RESPONSE = 401
    AVP_CHALLENGE = 402
    AVP_METHOD = 403
    AVP_SERVICE_TYPE = 404
    AVP_USER_GROUP = 405
    AVP_SIP_MSGID = 406

    # Service-Type of the dialect: one ASCII digit
    SERVICE_AUTHENTICATION = c'6'
    SERVICE_GROUP_CHECK = c'8'
    SERVICE_ACCOUNTING = c'9'

    # Result-Code: RFC 6733, section 7.1
    RESULT_SUCCESS = 2001
    RESULT_COMMAND_UNSUPPORTED = 3001
    RESULT_UNABLE_TO_DELIVER = 3002
    RESULT_REALM_NOT_SERVED = 3003
    RESULT_TOO_BUSY = 3004
    RESULT_INVALID_HDR_BITS = 3008
    RESULT_AUTHENTICATION_REJECTED = 4001
    RESULT_AUTHORIZATION_REJECTED = 5003
    RESULT_INVALID_AVP_VALUE = 5004
    RESULT_MISSING_AVP = 5005
    RESULT_AVP_OCCURS_TOO_MANY_TIMES = 5009
    RESULT_UNSUPPORTED_VERSION = 5011
    RESULT_UNABLE_TO_COMPLY = 5012
    RESULT_INVALID_AVP_LENGTH = 5014
    RESULT_INVALID_MESSAGE_LENGTH = 5015
