"""Adapters, each loaded as its server loads it: anew for each test."""

import importlib
import logging
import sys

import pytest
from kit.ksr import Kamailio


@pytest.fixture
def kamailio():
    return Kamailio()


@pytest.fixture
def load(monkeypatch):
    """Loads an adapter beside the module of its server; what it has opened is closed after the test."""
    loaded = []

    def work(name, server, module):
        monkeypatch.setitem(sys.modules, server, module)
        monkeypatch.delitem(sys.modules, name, raising=False)
        loaded.append(importlib.import_module(name))
        return loaded[-1]

    logger = logging.getLogger("auth_diameter")
    before = logger.handlers[:], logger.level, logger.propagate
    yield work
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
    for adapter in loaded:
        if adapter._functions._auth is not None:
            adapter._functions._auth.close()
        sys.modules.pop(adapter.__name__, None)
