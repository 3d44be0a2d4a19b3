"""The decisions of a client, counted by cause."""

cimport cython

from auth_diameter._core.auth.rulings cimport CAUSES
from auth_diameter._core.base.lock cimport ad_counted

cdef dict _PLACES = {cause: place for place, cause in enumerate(CAUSES)}


@cython.final
cdef class Decisions:
    """The number of decisions by `Cause`; thread-safe."""

    def add(self, cause):
        """Counts one decision with that Cause."""
        count(self, <int>_PLACES[cause])

    def as_dict(self):
        """The numbers now, dict of Cause to int, with each Cause."""
        return {cause: ad_counted(&self.by_cause[<int>place]) for cause, place in _PLACES.items()}
