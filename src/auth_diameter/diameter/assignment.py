"""What a SIP server tells of a user: values that RFC 4740 and Cx of 3GPP have in common."""

from __future__ import annotations

import enum


class Assignment(enum.IntEnum):
    """SIP-Server-Assignment-Type (RFC 4740, 9.4); Server-Assignment-Type (3GPP TS 29.229, 6.3.15)."""

    NO_ASSIGNMENT = 0
    REGISTRATION = 1
    RE_REGISTRATION = 2
    UNREGISTERED_USER = 3
    TIMEOUT_DEREGISTRATION = 4
    USER_DEREGISTRATION = 5
    TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME = 6
    USER_DEREGISTRATION_STORE_SERVER_NAME = 7
    ADMINISTRATIVE_DEREGISTRATION = 8
    AUTHENTICATION_FAILURE = 9
    AUTHENTICATION_TIMEOUT = 10
    DEREGISTRATION_TOO_MUCH_DATA = 11


class Authorization(enum.IntEnum):
    """SIP-User-Authorization-Type (RFC 4740, 9.11); User-Authorization-Type (3GPP TS 29.229, 6.3.24)."""

    REGISTRATION = 0
    DEREGISTRATION = 1
    REGISTRATION_AND_CAPABILITIES = 2
