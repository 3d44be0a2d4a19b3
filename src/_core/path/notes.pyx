"""The refusals that were made without Python, kept until Python logs them."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.auth.rulings cimport CAUSES
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.digest.params cimport (
    MAX_PARAMETER, USERNAME, USERNAME_STAR, DigestFields, plain_value, put_ext_value,
)
from auth_diameter._core.path.slot cimport Slot


@cython.final
cdef class Notes:
    """Refusals for the log: each cause, account and source once, with the number of times.

    Attributes:
        count: int, the number of those that are told apart.
    """

    def __cinit__(self):
        self.names = CAUSES

    cdef void add(self, const Slot *s, int cause) noexcept nogil:
        """Notes a refusal for the log."""
        cdef uint8_t account[2 * MAX_PARAMETER + 1]
        cdef size_t n = put_account(account, s)
        cdef Note *note
        cdef int i
        if n > ACCOUNT_ROOM:
            n = ACCOUNT_ROOM
        for i in range(self.count):
            note = &self.notes[i]
            if note.cause == cause and note.account_size == n and note.host_size == s.host_size and (
                    memcmp(note.account, account, n) == 0 and memcmp(note.host, s.host, s.host_size) == 0):
                note.times += 1
                return
        if self.count == MOST_NOTES:
            self.others += 1
            return
        note = &self.notes[self.count]
        self.count += 1
        note.cause = cause
        note.times = 1
        memcpy(note.account, account, n)
        note.account_size = n
        memcpy(note.host, s.host, s.host_size)
        note.host_size = s.host_size

    def take(self):
        """Removes the refusals noted for the log.

        Returns:
            (list of (Cause or Outcome, account, host, times), others): str, str and int; and int, the refusals
            that are not in the list because it has room for 16.
        """
        cdef list found = []
        cdef uint64_t others = self.others
        cdef const Note *note
        cdef int i
        for i in range(self.count):
            note = &self.notes[i]
            found.append((self.names[note.cause], text_of(Span(&note.account[0], note.account_size)),
                          note.host[:note.host_size].decode("ascii"), note.times))
        self.count = 0
        self.others = 0
        return found, others


cdef size_t put_account(uint8_t *out, const Slot *s) noexcept nogil:
    """Writes the account of a request for the log: user@realm; the username alone if it has a domain itself.

    Returns:
        Its size, at most twice MAX_PARAMETER and 1; 0 without credentials.
    """
    cdef const DigestFields *credentials = &s.asking.credentials
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span name, realm = s.asking.realm
    cdef size_t i
    if not s.asking.has_credentials:
        return 0
    if credentials.value[USERNAME_STAR].p == NULL:
        name = plain_value(credentials, USERNAME, room)
        memcpy(out, name.p, name.n)
    else:
        name.n = <size_t>(put_ext_value(out, plain_value(credentials, USERNAME_STAR, room)) - out)
    for i in range(name.n):
        if out[i] == c'@':
            return name.n
    if name.n == 0 or not realm.n <= MAX_PARAMETER:
        return name.n
    out[name.n] = c'@'
    memcpy(out + name.n + 1, realm.p, realm.n)
    return name.n + 1 + realm.n
