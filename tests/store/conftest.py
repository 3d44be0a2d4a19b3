"""What the tests of the store share."""

from collections.abc import Iterator

import pytest
from kit.stores import end_servers


@pytest.fixture(scope="session", autouse=True)
def _servers_end() -> Iterator[None]:
    """Database servers that tests have started end with them."""
    yield
    end_servers()
