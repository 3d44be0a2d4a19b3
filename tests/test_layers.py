"""The layers: a file imports only what stands before it, and ORDER says what stands where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.places import ROOT

# From the ground up. A folder stands for all that is in it. Its files may use each other, without a circle.
ORDER = [
    "_core.errors",
    "_core.base",
    "_core.digest",
    "_core.sip",
    "_core.auth",
    "_core.diameter",
    "_core.state",
    "_core.net",
    "_core",
    "signals",
    "addresses",
    "decision",
    "config",
    "logs",
    "refusals",
    "diameter",
    "store",
    "verifier",
    "client",
    "disc",
    "host",
    "metrics",
    "lab",
    "bench",
    "commands",
    "cli",
    "__main__",
]

SOURCES = ROOT / "src"
FILES = sorted(
    path
    for path in SOURCES.rglob("*")
    if path.suffix in (".py", ".pyx", ".pxd") and "__pycache__" not in path.parts
)


def module_of(path: Path) -> str:
    """``diameter.pool`` of the package; "" of its __init__.py."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(part for part in (parts if parts[0] == "_core" else parts[1:]) if part != "__init__")


MODULES = {module_of(path) for path in FILES}


def layer_of(module: str) -> int:
    """The place in ORDER of the longest name that stands for the module."""
    while module not in ORDER:
        assert module, "not in ORDER"
        module = module.rpartition(".")[0]
    return ORDER.index(module)


def imports_of(path: Path) -> Iterator[str]:
    """What a file imports, inside functions too, but not for types alone."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        tree = ast.parse(text)
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in for_types:
                continue
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield from (f"{node.module}.{name.name}" for name in node.names)
    else:
        yield from re.findall(r"^from (\S+) c?import", text, re.MULTILINE)


def package_imports(path: Path) -> set[str]:
    found = set()
    for name in imports_of(path):
        if not name.startswith("auth_diameter."):
            continue
        module = name.removeprefix("auth_diameter.")
        while module and module not in MODULES:
            module = module.rpartition(".")[0]  # a name in the module
        if module and module != module_of(path):
            found.add(module)
    return found


def test_every_module_has_a_layer() -> None:
    for module in MODULES - {""}:
        layer_of(module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_import_runs_upward(path: Path) -> None:
    module = module_of(path)
    if not module:
        return  # the package itself stands above what it offers
    for used in package_imports(path):
        assert layer_of(used) <= layer_of(module), f"{module} uses {used}"


def test_nobody_uses_the_whole_package_but_programs() -> None:
    programs = ORDER.index("host")
    for path in FILES:
        if "auth_diameter" in set(imports_of(path)) and module_of(path):
            assert layer_of(module_of(path)) > programs, path


def test_python_goes_through_one_door_of_the_core() -> None:
    """Whoever is outside of `_core` imports from `auth_diameter._core` alone."""
    for path in FILES:
        if path.suffix == ".py" and not module_of(path).startswith("_core"):
            for used in package_imports(path):
                assert used == "_core" or not used.startswith("_core."), path


def test_there_is_no_circle() -> None:
    uses = {module_of(path): set[str]() for path in FILES}
    for path in FILES:
        if module_of(path):
            uses[module_of(path)] |= package_imports(path)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' uses '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for used in sorted(uses.get(module, ())):
                visit(used, (*way, module))
            done.add(module)

    for module in sorted(uses):
        visit(module, ())
