"""Databases of SQL servers: of each kind, or of one kind for what only that has."""

import pytest
from kit.stores import fresh


@pytest.fixture(params=["PostgreSQL", "MariaDB"])
def database(request):
    with fresh(request.param) as found:
        yield found


@pytest.fixture
def postgresql():
    with fresh("PostgreSQL") as found:
        yield found


@pytest.fixture
def mariadb():
    with fresh("MariaDB") as found:
        yield found
