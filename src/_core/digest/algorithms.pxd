"""The table of algorithms of ``algorithms.h``, and their names in Python."""

ctypedef int AlgorithmIndex     # in the table

cdef extern from "digest/algorithms.h" nogil:
    enum:
        MD5 "AD_MD5"
        SHA_256 "AD_SHA_256"
        SHA_512_256 "AD_SHA_512_256"
        ALGORITHM_UNKNOWN "AD_ALGORITHM_UNKNOWN"
        MD5_DIGITS "AD_MD5_DIGITS"
        SHA_2_DIGITS "AD_SHA_2_DIGITS"

    struct ad_algorithm:
        const char *name
        size_t name_size
        size_t digits
        const char *hash

    const ad_algorithm ad_algorithms[]


cdef str algorithm_name(AlgorithmIndex algorithm, bint sess)
cdef AlgorithmIndex algorithm_of(str name, bint *sess) except -1
