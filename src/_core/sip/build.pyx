"""The bytes of a request from its parts, for SIP stacks that do not keep those that came.

Little is looked at here: `SipRequest` reads the bytes, and refuses what breaks the grammar. But no part may end
the line that it stands in, or one header field could be two.
"""

from auth_diameter._core.base.chars cimport AD_TOKEN, ad_skip_class
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, span_of_bytes
from auth_diameter._core.sip.fields cimport CONTENT_LENGTH, header_of

from auth_diameter._core.errors import ConfigError, ParseError


cdef bytes build_request(object method, object uri, object headers, object body):
    """The request; its Content-Length is that of the body, whatever `headers` have.

    Raises:
        ConfigError: a header is no pair.
        ParseError: a part holds the end of a line, method or URI hold a space, or a header name is no token.
        TypeError: a part has another type.
    """
    cdef bytes content = as_bytes(body, "body")
    cdef bytes name
    cdef Span s
    cdef list parts = [word_of(method, "method"), b" ", word_of(uri, "Request-URI"), b" SIP/2.0\r\n"]
    if isinstance(headers, dict):
        headers = headers.items()
    for pair in headers:
        if type(pair) is not tuple and type(pair) is not list or len(pair) != 2:
            raise ConfigError("headers: expected pairs (name, value)")
        name = line_of(pair[0], "the name of a header field", None)
        s = span_of_bytes(name)
        if s.n == 0 or ad_skip_class(s.p, s.p + s.n, AD_TOKEN) != s.p + s.n:
            raise ParseError("the name of a header field is no token")
        if header_of(s) != CONTENT_LENGTH:
            parts += name, b": ", line_of(pair[1], "its value", name), b"\r\n"
    parts += b"Content-Length: ", str(len(content)).encode(), b"\r\n\r\n", content
    return b"".join(parts)


cdef bytes word_of(object text, str what):
    """The bytes of a part of the Request-Line, in which there is no space."""
    cdef bytes word = line_of(text, what, None)
    if b" " in word:
        raise ParseError(f"{what}: holds a space")
    return word


cdef bytes line_of(object text, str what, bytes header):
    """The bytes of a part of a line."""
    cdef bytes line
    cdef str name = None if header is None else header.decode("ascii")
    try:
        line = as_bytes(text, what)
    except UnicodeEncodeError:
        raise ParseError(f"{what}: a character that UTF-8 does not have", header=name) from None
    if b"\r" in line or b"\n" in line or b"\0" in line:
        raise ParseError(f"{what}: holds the end of a line", header=name)
    return line
