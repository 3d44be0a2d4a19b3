"""deploy/compose.yaml as Compose reads it: merged, with its variables replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kit.places import ROOT

DEPLOY = ROOT / "deploy"
ACCOUNT = "1000:1000"  # as deploy/make-secrets writes it to .env

# ${NAME}, ${NAME:-default} and ${NAME:?message}; the file has no other form, and no $$.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Compose:
    """The file.

    Args:
        variables: of the environment.
        path: where it is.

    Attributes:
        whole: what is in it.
        services: each by its name.
    """

    def __init__(
        self, variables: Mapping[str, str] | None = None, path: Path = DEPLOY / "compose.yaml"
    ) -> None:
        self._variables = {"OWNER": ACCOUNT} if variables is None else variables
        self.path = path
        self.whole: dict[str, Any] = self._replaced(yaml.safe_load(path.read_text(encoding="utf-8")))
        self.services: dict[str, dict[str, Any]] = self.whole["services"]

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._replaced(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._replaced(each) for each in value]
        return _VARIABLE.sub(self._value, value) if isinstance(value, str) else value

    def _value(self, found: re.Match[str]) -> str:
        name, how, rest = found.groups()
        value = self._variables.get(name, "")
        if value or how is None:
            return value
        if how == "?":
            raise KeyError(f"{name}: {rest}")
        return str(rest)

    def command(self, service: str, replaced: Mapping[str, object] | None = None) -> list[str]:
        """The command of a service, with parts of its words replaced.

        Args:
            replaced: what is not as in a container; each must be there.
        """
        words = [str(word) for word in self.services[service]["command"]]
        for old, new in (replaced or {}).items():
            assert any(old in word for word in words), (service, old, words)
            words = [
                word.replace(old, os.fspath(new) if isinstance(new, Path) else str(new)) for word in words
            ]
        return words

    def option(self, service: str, name: str) -> str:
        """The value of an option that is written as one word, of which there is one: ``--db=…``, ``-l…``."""
        (value,) = self.options(service, name)
        return value

    def options(self, service: str, name: str) -> list[str]:
        """The values of an option that is written as one word."""
        return [word.removeprefix(name) for word in self.command(service) if word.startswith(name)]

    def networks(self, service: str) -> set[str]:
        """The networks that a service is on."""
        return set(self.services[service]["networks"])

    def names(self, network: str) -> set[str]:
        """The names that are known on a network: of services, and aliases."""
        found = set()
        for name, service in self.services.items():
            if network in service["networks"]:
                found.add(name)
                settings = service["networks"]
                aliases = (settings[network] or {}) if isinstance(settings, dict) else {}
                found.update(aliases.get("aliases", ()))
        return found
