"""What a batch tells shared state, and what becomes of its questions then; _core/state/sharing.pyx has the layout.

What this back end remembers stays in step: what others know of nonces and guesses is noted here, so that it is
refused the next time without a question, and also while the state is away.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.base.scratch cimport ad_scratch_take_plain
from auth_diameter._core.base.secret cimport ad_wipe
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport RESPONSE
from auth_diameter._core.path.case cimport uses_nonce
from auth_diameter._core.path.inquiry cimport STAGE_DONE, STAGE_SHARE, Case, Work
from auth_diameter._core.path.outcome cimport AUTHORIZED, PENALIZED, REPLAYED, RETRANSMITTED, STALE
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.keys cimport UNKNOWN, Network, network_of_text, source_key, user_key
from auth_diameter._core.state.sharing cimport (
    SHARE_LOGIN, SHARE_NEITHER, SHARE_RIGHT, SHARE_WRONG, SHARED_AGAIN, SHARED_EXPIRED, SHARED_FIRST,
    SHARED_PENALIZED, SHARED_REPLAYED, STANDINGS_SIZE, Columns, Shared, begin_columns, columns_size, fits,
    has_standings, put_record, put_run, put_use, read_reply, slot_of,
)

# Seconds of a period: the others are told of the first login of a user from somewhere in each
cdef double LOGIN_PERIOD = 600.0


cdef bytes records_of(Judge judge, Work *work, Shares *out):
    """The records of all cases at STAGE_SHARE; empty if there are none, or if another case lacks keys.

    Raises:
        MemoryError: there is no memory.
    """
    cdef uint64_t secret[2]
    cdef size_t i
    cdef Columns columns
    cdef bytes records
    cdef Share *plain
    out.count = 0
    if judge.sharing is None:
        return b""
    for i in range(work.count):
        if work.cases[i].stage == STAGE_SHARE:
            out.count += 1
        elif work.cases[i].stage != STAGE_DONE:
            out.count = 0
            return b""
    if not out.count:
        return b""
    plain = <Share *>ad_scratch_take_plain(&work.scratch, 2 * out.count * sizeof(Share))
    if plain == NULL:
        raise MemoryError()
    out.at = plain + out.count
    memset(&columns, 0, sizeof(columns))
    judge.sharing.copy_secret(secret)
    out.count = 0
    for i in range(work.count):
        if work.cases[i].stage == STAGE_SHARE:
            plan(judge, work, &work.cases[i], secret, &plain[out.count], &columns)
            out.count += 1
    ad_wipe(secret, sizeof(secret))
    put_in_order(plain, out, &columns)
    records = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>columns_size(&columns))
    judge.sharing.put_header(<uint8_t *>PyBytes_AS_STRING(records), &columns, work.now)
    begin_columns(&columns, <uint8_t *>PyBytes_AS_STRING(records))
    put_all(out, &columns, work.now)
    return records


cdef void plan(Judge judge, Work *work, Case *case, const uint64_t *secret, Share *out,
               Columns *columns) noexcept nogil:
    """Says what a record is about, and counts what it needs."""
    cdef bint lets_in = uses_nonce(case)
    cdef Span account
    cdef Network network
    memset(out, 0, sizeof(Share))
    out.case = case
    out.kind = SHARE_WRONG if case.wrong else SHARE_RIGHT if lets_in else SHARE_NEITHER
    columns.records += 1
    if lets_in:
        out.slot = slot_of(case.nonce)
        columns.uses += 1
    if not judge.is_counted(case):
        return
    columns.counted = True
    account = judge.account_of(work, case)
    network = network_of_text(secret, case.ask.told.source)
    out.user = user_key(secret, account, case.realm, network)
    if network.kind != UNKNOWN:
        out.source = source_key(secret, network)
    if lets_in and case.outcome == AUTHORIZED and judge.penalties.is_first_login(
            account, case.realm, judge.penalties.network_of(case.ask.told.source), LOGIN_PERIOD, work.now):
        out.kind |= SHARE_LOGIN
        columns.logins += 1


cdef inline bint has_use(const Share *one) noexcept nogil:
    return one.kind & ~SHARE_LOGIN == SHARE_RIGHT


cdef void put_in_order(Share *plain, Shares *out, Columns *columns) noexcept nogil:
    """Orders records by their slots, those without a use behind; most batches are of one slot or two."""
    cdef size_t first, i, at = 0
    for first in range(out.count):
        if plain[first].case == NULL or not has_use(&plain[first]):
            continue
        columns.runs += 1
        for i in range(first, out.count):
            if plain[i].case != NULL and has_use(&plain[i]) and plain[i].slot == plain[first].slot:
                out.at[at] = plain[i]
                at += 1
                if i != first:
                    plain[i].case = NULL
        plain[first].case = NULL
    for i in range(out.count):
        if plain[i].case != NULL:
            out.at[at] = plain[i]
            at += 1


cdef void put_all(const Shares *shares, Columns *columns, double now) noexcept nogil:
    """Writes all columns."""
    cdef const Share *one
    cdef const Case *case
    cdef size_t i, start = 0
    for i in range(columns.uses):
        if i + 1 == columns.uses or shares.at[i + 1].slot != shares.at[i].slot:
            put_run(columns, shares.at[i].slot, <uint32_t>(i + 1 - start))
            start = i + 1
    for i in range(shares.count):
        one = &shares.at[i]
        case = one.case
        put_record(columns, one.kind, one.user, one.source)
        if has_use(one):
            put_use(columns, case.nonce, case.count, case.ask.told.serial, case.ask.told.session,
                    case.ask.credentials.value[RESPONSE], now)


cdef bint is_reply_to(const Shares *shares, bytes reply) noexcept:
    """Whether a reply fits the records; nothing of another one may be believed."""
    cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(reply)
    cdef size_t size = <size_t>PyBytes_GET_SIZE(reply), i, details = 0
    if size < shares.count:
        return False
    for i in range(shares.count):
        if not fits(shares.at[i].kind & ~SHARE_LOGIN, p[i]):
            return False
        details += has_standings(p[i])
    return size == shares.count + details * STANDINGS_SIZE


cdef void end_shares(Judge judge, Work *work, const Shares *shares, bytes reply) noexcept:
    """Ends all cases of a batch that were told to shared state.

    Args:
        judge: the rules.
        work: the batch.
        shares: its records.
        reply: `is_reply_to` them; None: the state says nothing, and what was decided here holds.
    """
    cdef const uint8_t *p = NULL
    cdef size_t i, details = 0
    cdef Shared says
    if reply is not None:
        p = <const uint8_t *>PyBytes_AS_STRING(reply)
    for i in range(shares.count):
        if p == NULL:
            end_alone(judge, work, shares.at[i].case)
        else:
            details = read_reply(p, shares.count, i, details, &says)
            end_share(judge, work, shares.at[i].case, &says)


cdef void end_alone(Judge judge, Work *work, Case *case) noexcept nogil:
    """Ends a case as it was decided here."""
    if case.outcome == AUTHORIZED and judge.is_counted(case):
        judge.penalties.note_login(
            judge.account_of(work, case), case.realm, judge.penalties.network_of(case.ask.told.source), work.now)
    judge.settle(work, case)


cdef void end_share(Judge judge, Work *work, Case *case, const Shared *says) noexcept nogil:
    """Ends a case by what the state says."""
    if says.code == SHARED_FIRST:
        case.outcome = AUTHORIZED
    elif says.code == SHARED_AGAIN:
        case.outcome = RETRANSMITTED
    elif says.code == SHARED_EXPIRED:
        case.outcome = STALE
    elif says.code == SHARED_REPLAYED:
        case.outcome = REPLAYED
        judge.uses.disown_use(case.nonce, case.count, judge.mark_of(case))
    if has_standings(says.code) and judge.is_counted(case):
        judge.penalties.note_standings(
            judge.account_of(work, case), case.realm, judge.penalties.network_of(case.ask.told.source),
            &says.user, &says.source, work.now)
    if says.code == SHARED_PENALIZED:
        judge.end(case, PENALIZED)
    else:
        end_alone(judge, work, case)
