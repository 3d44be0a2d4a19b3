"""The decisions of a client, counted by cause."""

cimport cython

from auth_diameter._core.auth.rulings cimport CAUSES

cdef dict _PLACES = {cause: place for place, cause in enumerate(CAUSES)}


@cython.final
cdef class Decisions:
    """The number of decisions by `Cause`."""

    def add(self, cause):
        """Counts one decision with that Cause."""
        self.by_cause[<int>_PLACES[cause]] += 1

    def as_dict(self):
        """The numbers now, dict of Cause to int, with each Cause."""
        return {cause: self.by_cause[<int>place] for cause, place in _PLACES.items()}
