"""All rows of the table of faults; importing this registers them."""

from faults.rows import answers, disc, process, reach, sip

__all__ = ["answers", "disc", "process", "reach", "sip"]
