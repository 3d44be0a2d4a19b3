"""A store, asked for one thing at a time."""

from auth_diameter.store.accounts import Accounts
from auth_diameter.store.engines import SqliteSession
from auth_diameter.store.hashes import candidates
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Algorithms, Member, Realm, User
from auth_diameter.store.url import DatabaseName


def at_once(work):
    """The result of work that never waits, such as that of SQLite."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def fetch(store, key):
    """The value of one key; of a store, or of what Accounts has open."""
    if not hasattr(store, "fetch"):
        store = SqliteStore(store.database)
    return at_once(store.fetch([key]))[key]


def ha1_candidates(store, username, realm, algorithm="MD5"):
    """The HA1 that a digest may have been made with, without what stands in for a missing one."""
    known, ha1s = fetch(store, User(username, realm, algorithm))
    nobodys = candidates((None,), algorithm).ha1s
    digits = len(nobodys)
    found = tuple(ha1s[at : at + digits] for at in range(0, len(ha1s), digits))
    found = tuple(ha1 for ha1 in found if ha1 != nobodys)
    assert known == bool(found)
    return found


def ha1(store, username, realm, algorithm="MD5"):
    """The first of the HA1 candidates, or None."""
    return next(iter(ha1_candidates(store, username, realm, algorithm)), None)


def algorithms(store, username, realm):
    """The algorithms of a user's HA1."""
    return fetch(store, Algorithms(username, realm)).own


def usual_algorithms(store, realm):
    """The algorithms that most users of a realm have."""
    return fetch(store, Algorithms("nobody", realm)).usual


def is_member(store, username, domain, group):
    """Whether the user is in the group."""
    return fetch(store, Member(username, domain, group))


def canonical_realm(store, realm):
    """The realm as challenges have it; None: it is not served."""
    return fetch(store, Realm(realm)).realm


def served_realms(store):
    """All realms that are served."""
    spellings = store.spellings() if callable(store.spellings) else store.spellings.known()
    return {names[0] for names in spellings.values()}


def accounts_of(store):
    """The accounts of a store of SQLite, over its own connection."""
    database = store.database
    name = DatabaseName("sqlite", database.path, database.path)
    return Accounts(SqliteSession(name, database.connection, writable=database.writable))


def version(store):
    """The version of the store, a number that changes whenever it does."""
    return at_once(store.version()) if hasattr(store, "fetch") else store.database.version()
