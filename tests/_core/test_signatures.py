"""What `inspect.signature` and `help` say of the public names, beside the hand-written stubs."""

from __future__ import annotations

import ast
import inspect
import pydoc
from typing import Any

import pytest
from kit.places import ROOT

import auth_diameter as ad

PUBLIC = {name: getattr(ad, name) for name in ad.__all__}
COMPILED = {
    name: value
    for name, value in PUBLIC.items()
    if value.__module__.startswith("auth_diameter._core.")
    and (ROOT / "src" / value.__module__.removeprefix("auth_diameter.").replace(".", "/"))
    .with_suffix(".pyi")
    .exists()
}
METHODS = {
    f"{name}.{method}": getattr(kind, method)
    for name, kind in COMPILED.items()
    if isinstance(kind, type)
    for method in dir(kind)
    if not method.startswith("_") and callable(getattr(kind, method))
}
# Python's own exceptions have no signature, and these add no argument.
PLAIN_EXCEPTIONS = {"ConfigError", "DiscError", "Error"}

EMPTY = inspect.Parameter.empty
Parameters = list[tuple[str, Any, object]]  # name, kind, default; EMPTY where it has none


def stub_of(value: Any) -> dict[str, ast.stmt]:
    """The definitions in the stub of the module that `value` is from."""
    module = value.__module__.removeprefix("auth_diameter.").replace(".", "/")
    tree = ast.parse((ROOT / "src" / module).with_suffix(".pyi").read_text())
    return {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def members(value: Any) -> dict[str, ast.FunctionDef]:
    """The methods in the stub of a class, inherited ones included."""
    found: dict[str, ast.FunctionDef] = {}
    for kind in reversed(value.__mro__[:-1]):
        node = stub_of(kind)[kind.__name__]
        assert isinstance(node, ast.ClassDef)
        found |= {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def default(node: ast.expr | None) -> object:
    return EMPTY if node is None else ast.literal_eval(node)


def parameters(node: ast.FunctionDef, skip: int) -> Parameters:
    """The parameters in a stub, without the first `skip`."""
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    found: Parameters = [
        (arg.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, default(value))
        for arg, value in zip(plain, defaults, strict=True)
    ][skip:]
    found += [
        (arg.arg, inspect.Parameter.KEYWORD_ONLY, default(value))
        for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return found


def runtime(value: Any, *, skip: int = 0) -> Parameters:
    found = inspect.signature(value).parameters.values()
    return [(one.name, one.kind, one.default) for one in found][skip:]


def test_the_compiled_names_are_found() -> None:
    assert {"Avp", "Framer", "SipRequest", "Uri", "ha1", "verify_many"} <= set(COMPILED)
    assert {"Framer.feed", "Message.decode", "SipRequest.reply", "Uri.parse"} <= set(METHODS)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - PLAIN_EXCEPTIONS))
def test_every_public_name_has_a_signature(name: str) -> None:
    inspect.signature(PUBLIC[name])


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    doc = inspect.getdoc(PUBLIC[name])
    assert doc
    assert doc[0].isupper() or doc.startswith(("`", "["))
    assert "--\n" not in doc, "the signature is not part of it"
    assert doc.partition("\n")[0] in pydoc.render_doc(PUBLIC[name], renderer=pydoc.plaintext)
    if isinstance(PUBLIC[name], type):
        assert all(doc != inspect.getdoc(base) for base in PUBLIC[name].__mro__[1:])


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_the_signature_is_that_of_the_stub(name: str) -> None:
    value = COMPILED[name]
    if isinstance(value, type):
        methods = members(value)
        node = methods.get("__init__") or methods["__new__"]
        assert runtime(value) == parameters(node, skip=1)
    else:
        node = stub_of(value)[name]
        assert isinstance(node, ast.FunctionDef)
        assert runtime(value) == parameters(node, skip=0)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_signature_of_a_method_is_that_of_the_stub(name: str) -> None:
    kind, _, method = name.partition(".")
    node = members(COMPILED[kind])[method]
    is_static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    is_class = any(isinstance(one, ast.Name) and one.id == "classmethod" for one in node.decorator_list)
    skip = 0 if is_static or is_class else 1  # a method read from its class has self
    assert runtime(METHODS[name], skip=skip) == parameters(node, skip=0 if is_static else 1)
    assert inspect.getdoc(METHODS[name])


@pytest.mark.parametrize("name", sorted(name for name in COMPILED if isinstance(COMPILED[name], type)))
def test_every_property_is_described(name: str) -> None:
    """By a docstring of its own, or, where it is a plain attribute, by the class's."""
    kind = COMPILED[name]
    for attribute in dir(kind):
        value = getattr(kind, attribute)
        if not attribute.startswith("_") and not callable(value):
            doc = inspect.getdoc(kind) or ""
            assert value.__doc__ or f"    {attribute}: " in doc, attribute
