"""Databases of one kind, for what only that kind has."""

import pytest
from kit.stores import fresh


@pytest.fixture
def postgresql():
    with fresh("PostgreSQL") as found:
        yield found


@pytest.fixture
def mariadb():
    with fresh("MariaDB") as found:
        yield found
