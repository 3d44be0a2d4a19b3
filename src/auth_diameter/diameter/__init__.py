"""Connections to Diameter peers: the pool, its state machines, and a driver each for threads and asyncio."""
