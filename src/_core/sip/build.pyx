"""The bytes of a request from its parts, for SIP stacks that do not keep those that came.

Nothing is parsed here: `SipRequest` reads the bytes, and refuses what breaks the grammar. But no part may hold
the end of a line, which would make two header fields of one.
"""

from auth_diameter._core.base.chars cimport AD_TOKEN, ad_skip_class
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, span_of
from auth_diameter._core.sip.fields cimport CONTENT_LENGTH, header_of
from auth_diameter._core.sip.reply cimport line_text

from auth_diameter._core.errors import ConfigError


cdef bytes build_request(object method, object uri, object headers, object body):
    """The request; its Content-Length is that of the body, whatever `headers` have.

    Raises:
        ConfigError: a part has a control character or a space where the grammar ends it, or a header is no pair
            or has no name.
        TypeError: a part has another type.
    """
    cdef Span name, value
    cdef bytes content = as_bytes(body, "body")
    cdef list parts
    line = word_of(method, "method"), b" ", word_of(uri, "uri"), b" SIP/2.0\r\n"
    parts = [*line]
    if isinstance(headers, dict):
        headers = headers.items()
    for pair in headers:
        if type(pair) is not tuple and type(pair) is not list or len(pair) != 2:
            raise ConfigError("headers: expected pairs (name, value)")
        field = text_bytes(line_text(pair[0], "header name", &name))
        if name.n == 0 or ad_skip_class(name.p, name.p + name.n, AD_TOKEN) != name.p + name.n:
            raise ConfigError(f"header name {pair[0]!r}: not a token of RFC 3261, 25.1")
        if header_of(name) == CONTENT_LENGTH:
            continue
        parts += field, b": ", text_bytes(line_text(pair[1], f"header {pair[0]}", &value)), b"\r\n"
    parts += b"Content-Length: ", str(len(content)).encode(), b"\r\n\r\n", content
    return b"".join(parts)


cdef bytes word_of(object text, str what):
    """The bytes of a part of the Request-Line, which has no space in it."""
    cdef Span s
    cdef bytes word = text_bytes(line_text(text, what, &s))
    if b" " in word or b"\t" in word:
        raise ConfigError(f"{what}: holds a space")
    return word


cdef bytes text_bytes(object kept):
    """The bytes of str in ASCII, or bytes."""
    return kept.encode("ascii") if isinstance(kept, str) else kept
