"""Users who guess passwords, for the tests of `Penalties`."""

from auth_diameter import _core
from auth_diameter._core import Credentials, quote

ALICE = ("alice", "siphub.net", "192.0.2.1")
ELSEWHERE = ("alice", "siphub.net", "198.51.100.1")
NEIGHBOUR = ("bob", "siphub.net", "192.0.2.1")
USERS = 75  # with wrong ones from one source are too many


def credentials(username, more=""):
    """Nothing in them counts but the name."""
    return Credentials.parse(
        f'Digest username={quote(username)}, realm="r", nonce="n", uri="u", response="{32 * "0"}"{more}'
    )


class Penalties:
    """Users by name and sources by address; attempts that are judged at once."""

    def __init__(self, **options):
        self.whole = _core.Penalties(**options)

    def __len__(self):
        return len(self.whole)

    def begin(self, username, realm, address, now, item=None):
        return self.whole.begin(credentials(username), realm, (address, 5060), now, item)

    def refuses(self, username, realm, address, now):
        """Whether an attempt would be refused; it has no other consequence."""
        attempt = self.begin(username, realm, address, now)
        self.whole.neither(attempt, now)
        return attempt.is_refused

    def right(self, username, realm, address, now):
        self.whole.right(self.begin(username, realm, address, now), now)

    def wrong(self, username, realm, address, now):
        self.whole.wrong(self.begin(username, realm, address, now), now)

    def released(self):
        """What is no longer held: the items of those admitted, and of those refused."""
        admitted, refused = [], []
        for attempt, item in self.whole.take_released():
            assert not attempt.is_held
            (refused if attempt.is_refused else admitted).append((item, attempt))
        return admitted, refused


def guess(penalties, who, count=1, now=0.0):
    for _ in range(count):
        assert not penalties.refuses(*who, now)
        penalties.wrong(*who, now)


def begin_many(penalties, who, count, now=0.0):
    """Attempts at once; those admitted, those held, those refused."""
    attempts = [penalties.begin(*who, now, number) for number in range(count)]
    return (
        [a for a in attempts if not (a.is_held or a.is_refused)],
        [a for a in attempts if a.is_held],
        [a for a in attempts if a.is_refused],
    )


def spray(penalties, count, now=0.0, name="user"):
    """One attempt each with so many users from one source."""
    for number in range(count):
        guess(penalties, (f"{name}{number}", "siphub.net", ALICE[2]), now=now)
