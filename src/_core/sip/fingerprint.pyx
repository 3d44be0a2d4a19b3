"""The fingerprint of a SIP request: a keyed hash of all its bytes and its source, 128 bits.

Two hashes stand behind each other. NH or CLNH (nh.h), done twice, is fast and makes 32 bytes of each block of
1024. SipHash (siphash.h) is pseudorandom and makes the fingerprint of these, of all sizes and of the source. A
sender who does not know the keys can neither make two requests with one fingerprint nor predict one:

- The input of SipHash can be read in one way only: three words of sizes and numbers, the host, then the sums of
  the blocks. So requests of different sizes, or from different sources, differ in what SipHash gets, whatever
  they hold. The zeros that fill a last block, or the last word of a host, cannot be taken for data: the size is
  known.
- Two requests of one size from one source differ in a block. Its sums are the same with a probability of at most
  2**-128 over the keys, for any two contents that are chosen without knowledge of them.
- Nobody sees sums, only outputs of SipHash. They tell nothing of the key of NH, as long as SipHash is
  pseudorandom. So a sender who sees fingerprints chooses no better than one who does not. Some two of q requests
  share a fingerprint with a probability of some q**2 / 2**128: that of the sums, and that of 128 random bits.
"""

import os

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from auth_diameter._core.base.nh cimport AD_NH_BLOCK, AD_NH_KEY, ad_clnh_twice, ad_has_clnh, ad_nh_twice
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span

# The keys of this process, and the same in processes forked from it.
cdef uint64_t _siphash_key[2]
cdef uint64_t _nh_key[AD_NH_KEY]


cdef int draw(void *key, Py_ssize_t size) except -1:
    """Fills a key with random bytes."""
    cdef bytes drawn = os.urandom(size)
    memcpy(key, <const char *>drawn, <size_t>size)
    return 0


draw(_siphash_key, sizeof(_siphash_key))
draw(_nh_key, sizeof(_nh_key))


cdef void fingerprint_of(const uint8_t *data, size_t n, Span host, uint32_t port, uint32_t flow, uint32_t scope,
                         uint64_t *out) noexcept nogil:
    """The fingerprint of the request of `n` bytes at `data`, into `out`, two words.

    A retransmission has the same. The UAC sees the second word, as the tag of To, and DISC half of the first one.

    Args:
        data: the whole datagram or message.
        n: its size.
        host: the host of the source as text, as SipRequest has it; p is NULL if the source is not known.
        port: the port of the source, 0 without a source.
        flow: the flow of an IPv6 source, else 0.
        scope: the scope of an IPv6 source, else 0.
        out: where it is written.
    """
    cdef ad_siphash s
    cdef uint64_t sums[4]
    cdef size_t size
    cdef int i
    ad_siphash_begin(&s, _siphash_key)
    ad_siphash_word(&s, n)
    ad_siphash_word(&s, <uint64_t>host.n << 32 | <uint64_t>(host.p != NULL) << 16 | port)
    ad_siphash_word(&s, <uint64_t>flow << 32 | scope)
    ad_siphash_bytes(&s, host.p, host.n)
    while n:
        size = n if n < AD_NH_BLOCK else <size_t>AD_NH_BLOCK
        if ad_has_clnh():
            ad_clnh_twice(_nh_key, data, size, sums)
        else:
            ad_nh_twice(_nh_key, data, size, sums)
        for i in range(4):
            ad_siphash_word(&s, sums[i])
        data += size
        n -= size
    ad_siphash_end(&s, out)
