"""The algorithms of digests (RFC 7616, 6.1; RFC 8760), for Python. The table is in algorithms.h."""

from auth_diameter._core.digest.algorithm import Algorithm as _Algorithm
from auth_diameter._core.errors import ConfigError


cdef object row(AlgorithmIndex algorithm, bint sess):
    cdef const ad_algorithm *one = &ad_algorithms[algorithm]
    base = one.name.decode("ascii")
    return _Algorithm(f"{base}-sess" if sess else base, base, sess, one.digits, one.hash.decode("ascii"))


cdef tuple _PLAIN = tuple([row(i, False) for i in range(ALGORITHM_UNKNOWN)])
cdef tuple _SESS = tuple([row(i, True) for i in range(ALGORITHM_UNKNOWN)])
ALGORITHMS = {one.name: one for one in _PLAIN + _SESS}

cdef tuple _PLAIN_NAMES = (*[one.name for one in _PLAIN], None)
cdef tuple _SESS_NAMES = (*[one.name for one in _SESS], None)
cdef dict _INDICES = {one.name.lower(): i for i, one in enumerate(_PLAIN)}
cdef dict _AS_SPELLED = {one.name: i for i, one in enumerate(_PLAIN)}


cdef str algorithm_name(AlgorithmIndex algorithm, bint sess):
    """The name of an algorithm as RFC 7616 spells it; None if it is unknown."""
    return (_SESS_NAMES if sess else _PLAIN_NAMES)[algorithm]


cdef AlgorithmIndex algorithm_of(str name, bint *sess) except -1:
    """The algorithm of a name in any case; `sess` is whether it is a -sess algorithm.

    Raises:
        ConfigError: the algorithm is unknown.
    """
    cdef str base
    index = _AS_SPELLED.get(name)       # in most cases
    if index is not None:
        sess[0] = False
        return index
    base = name.lower()
    sess[0] = base.endswith("-sess")
    if sess[0]:
        base = base.removesuffix("-sess")
    if base not in _INDICES:
        raise ConfigError(
            f"algorithm {name!r}: expected MD5, SHA-256 or SHA-512-256, each with or without -sess")
    return _INDICES[base]
