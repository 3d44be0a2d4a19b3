"""Bytes: spans, character classes, hexadecimal digits, hashes."""
