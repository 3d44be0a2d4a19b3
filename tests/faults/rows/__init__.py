"""All rows of the table of faults; importing this registers them."""

from faults.rows import answers, clients, descriptors, disc, process, reach, servers, sip, store

__all__ = ["answers", "clients", "descriptors", "disc", "process", "reach", "servers", "sip", "store"]
