"""Connections to Diameter peers: the pool and what it is made of."""
