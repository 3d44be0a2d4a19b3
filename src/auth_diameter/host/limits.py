"""The limits of the SIP host: on its memory, on its replies and on its time.

The limit on the routes that a turn of the loop begins is measured, see `turn_limit`.
"""

from __future__ import annotations

from typing import Final

MOST_ROUTES: Final = 10_000  # at a time, with some 10 KiB each besides the request; more get a 503
MOST_BYTES: Final = 16 << 20  # of the requests of those routes
BATCH: Final = 64  # datagrams that one read brings; with fewer, no other has come
MOST_READS: Final = 64  # in one turn of the loop

AMPLIFICATION: Final = 2  # limit on the bytes of a reply, in times those of its request
ONE_CHALLENGE: Final = 512  # bytes that a reply with a single challenge may always have

PAUSE: Final = 0.05  # seconds until a failed receive is tried again
BACKLOG: Final = 0.3  # seconds to serve the datagrams that the kernel has queued when the host is closed
PATIENCE: Final = 1.0  # seconds that requests under way then have to end
LOOK_AGAIN: Final = 0.005  # seconds between two looks whether they have

NOTE_AFTER: Final = 0.05  # seconds after which refusals are logged that were made without Python
