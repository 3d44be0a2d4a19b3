"""The bytes of a request from its parts, for compiled code."""


# As `SipRequest.from_parts` takes them
cdef bytes build_request(object method, object uri, object headers, object body)
