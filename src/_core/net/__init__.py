"""Sockets: many datagrams with one call, one question with another."""
