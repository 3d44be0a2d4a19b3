"""The number of answers by command and Result-Code, for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    MOST_RESULTS = 32       # pairs that are counted, of which there are fewer


cdef struct ResultCount:
    uint32_t command
    uint32_t result         # 0: a free place
    uint64_t count


cdef struct ResultCounts:
    ResultCount each[MOST_RESULTS]


cdef inline void count_result(ResultCounts *counts, uint32_t command, uint32_t result) noexcept nogil:
    """Counts an answer with a Result-Code that is not 0."""
    cdef int i
    cdef ResultCount *one
    for i in range(MOST_RESULTS):
        one = &counts.each[i]
        if one.result == 0:
            one.command = command
            one.result = result
        if one.result == result and one.command == command:
            one.count += 1
            return


cdef inline dict results_of(const ResultCounts *counts):
    """The numbers by (command, Result-Code)."""
    cdef int i
    cdef dict found = {}
    for i in range(MOST_RESULTS):
        if counts.each[i].result:
            found[counts.each[i].command, counts.each[i].result] = counts.each[i].count
    return found
