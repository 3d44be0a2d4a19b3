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
    "_core.path",
    "_core",
    "signals",
    "closing",
    "addresses",
    "decision",
    "store.url",
    "store.config",
    "standard",
    "verifier.config",
    "config",
    "logs",
    "refusals",
    "diameter",
    "store",
    "verifier",
    "client",
    "disc",
    "host",
    "adapters",
    "metrics",
    "lab",
    "bench",
    "commands",
    "cli",
    "__main__",
]

# Exceptions.
KNOWN: set[tuple[str, str]] = set()

SOURCES = ROOT / "src"
FILES = sorted(
    path
    for path in SOURCES.rglob("*")
    if path.suffix in (".py", ".pyi", ".pyx", ".pxd") and "__pycache__" not in path.parts
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


def names_in_python(text: str) -> Iterator[str]:
    """What Python or a stub imports, inside functions too, but not for types alone."""
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
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import is written with the whole name of its module"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def names_in_cython(text: str) -> Iterator[str]:
    """What Cython imports and cimports, inside functions too."""
    for modules in re.findall(r"^[ \t]*c?import[ \t]+(.+)", text, re.MULTILINE):
        yield from (module.split()[0] for module in modules.split(","))
    pattern = r"^[ \t]*from[ \t]+(\S+)[ \t]+c?import[ \t]+(?:\(([^)]*)\)|(.+))"
    for module, several, one in re.findall(pattern, text, re.MULTILINE):
        assert not module.startswith("."), "an import is written with the whole name of its module"
        yield from (f"{module}.{name.split()[0]}" for name in (several or one).split(",") if name.strip())


def modules_in(text: str, suffix: str) -> set[str]:
    """The modules of the package that a source imports; "" is the package itself."""
    names = (names_in_python if suffix in (".py", ".pyi") else names_in_cython)(text)
    found = set()
    for name in names:
        if (name + ".").startswith("auth_diameter."):
            module = name.removeprefix("auth_diameter").removeprefix(".")
            while module not in MODULES:
                module = module.rpartition(".")[0]  # a name in the module
            found.add(module)
    return found


def imports_of(path: Path) -> set[str]:
    return modules_in(path.read_text(encoding="utf-8"), path.suffix) - {module_of(path)}


@pytest.mark.parametrize(
    "text",
    [
        "import auth_diameter.config",
        "import os, auth_diameter.config as settings",
        "from auth_diameter import config",
        "from auth_diameter.config import Config",
        "from auth_diameter.config import (\n    DEFAULTS,\n    Config,\n)",
        "def later():\n    import auth_diameter.config",
        "def later():\n    from auth_diameter.config import Config",
        "cimport auth_diameter.config",
        "cimport cython, auth_diameter.config as settings",
        "from auth_diameter cimport config",
        "from auth_diameter.config cimport Config",
        "from auth_diameter.config cimport (\n    DEFAULTS, Config,\n)",
        "cdef class Later:\n    cimport auth_diameter.config",
        "cdef later():\n    from auth_diameter.config import Config",
    ],
)
def test_every_kind_of_import_is_seen(text: str) -> None:
    for suffix in (
        (".pyx", ".pxd") if "cimport" in text or "cdef" in text else (".py", ".pyi", ".pyx", ".pxd")
    ):
        assert modules_in(text, suffix) == {"config"}, suffix


def test_an_import_of_the_whole_package_is_seen() -> None:
    for text in ("import auth_diameter as ad", "from auth_diameter import Config"):
        for suffix in (".py", ".pyi", ".pyx"):
            assert modules_in(text, suffix) == {""}, text


def test_an_import_for_types_alone_is_none() -> None:
    text = "if TYPE_CHECKING:\n    from auth_diameter.config import Config\nimport auth_diameter.logs"
    assert modules_in(text, ".py") == {"logs"}


def test_every_module_has_a_layer() -> None:
    for module in MODULES - {""}:
        layer_of(module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_import_runs_upward(path: Path) -> None:
    module = module_of(path)
    if not module:
        return  # the package itself stands above what it offers
    upward = {
        used
        for used in imports_of(path)
        if used
        and layer_of(used) > layer_of(module)
        and (path.suffix != ".pyi" or (module, used) not in KNOWN)
    }
    assert not upward, f"{module} uses {upward}"


def test_nobody_uses_the_whole_package_but_programs() -> None:
    programs = ORDER.index("host")
    for path in FILES:
        if "" in imports_of(path) and module_of(path):
            assert layer_of(module_of(path)) > programs, path


def test_python_goes_through_one_door_of_the_core() -> None:
    """Whoever is outside of `_core` imports from `auth_diameter._core` alone."""
    for path in FILES:
        if path.suffix == ".py" and not module_of(path).startswith("_core"):
            for used in imports_of(path):
                assert used == "_core" or not used.startswith("_core."), path


def test_there_is_no_circle() -> None:
    uses = {module_of(path): set[str]() for path in FILES}
    for path in FILES:
        if module_of(path) and path.suffix != ".pyi":  # a stub's imports are for types alone
            uses[module_of(path)] |= imports_of(path) - {""}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' uses '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for used in sorted(uses.get(module, ())):
                visit(used, (*way, module))
            done.add(module)

    for module in sorted(uses):
        visit(module, ())
