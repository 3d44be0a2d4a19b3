"""The dialect of DISC, for other targets."""

from auth_diameter._core.path.verify cimport Judge


cdef Judge the_judge()
