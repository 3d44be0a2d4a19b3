"""SIP: RFC 3261."""
