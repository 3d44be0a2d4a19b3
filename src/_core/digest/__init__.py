"""Digest access authentication: RFC 7616."""
