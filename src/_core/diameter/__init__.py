"""Diameter: RFC 6733, and the applications spoken over it."""
