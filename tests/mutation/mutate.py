"""Puts faults into one source file, one at a time, and says which of them no test notices.

    python tests/mutation/mutate.py SOURCE TEST ... [--seed 1] [--count 25] [--only TEXT]

For Python, Cython and C alike, for the tools that exist reach Python alone. It works on a copy of the
checkout, in which the compiled modules are built once and then only what a fault changes; see README.md
beside this file.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 8 << 30  # bytes of address space for a mutant that never stops to allocate

# An editable install puts itself in front of every path.
SITECUSTOMIZE = """\
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
"""

OPERATORS = {
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    ">": (">=", "<"),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("+",),
    "//": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("|",),
    "&&": ("||",),
    "||": ("&&",),
    "+=": ("-=",),
    "-=": ("+=",),
    "|=": ("&=",),
    "^=": ("|=",),
}
WORDS = {
    "and": "or",
    "or": "and",
    "True": "False",
    "False": "True",
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "startswith": "endswith",
    "endswith": "startswith",
    "removeprefix": "removesuffix",
    "partition": "rpartition",
    "rpartition": "partition",
    "break": "continue",
    "continue": "break",
}
HEADS = {"def", "cdef", "cpdef", "class", "ctypedef", "import", "from", "cimport", "async", "@"}
BRANCHES = {"if", "elif", "else", "while", "return"}
KEYWORDS = BRANCHES | {"and", "or", "not", "in", "is", "yield", "await", "lambda"}
NO_STATEMENT = HEADS | BRANCHES | {"for", "try", "except", "finally", "with", "pass"}


class Token(NamedTuple):
    text: str
    at: int  # offset in the source
    kind: str  # name, number, operator, other


class Mutant(NamedTuple):
    at: int
    end: int
    text: str  # in place of it


# ------------------------------------------------------------------ reading


def read_python(source: str) -> Iterator[list[Token]]:
    """The statements of Python or Cython, each with its tokens."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    kinds = {tokenize.NAME: "name", tokenize.NUMBER: "number", tokenize.OP: "operator"}
    statement: list[Token] = []
    for kind, text, (row, column), _, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if statement:
                yield statement
            statement = []
        elif kind not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
            statement.append(Token(text, offsets[row - 1] + column, kinds.get(kind, "other")))


_C = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|^\s*\#[^\n]*(?:\\\n[^\n]*)*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<number>(?:0x[0-9a-f]+|\d+)[uUlL]*)|(?P<name>\w+)
    |(?P<operator><<=|>>=|->|\+\+|--|<<|>>|[-+*/%&|^=!<>]=|&&|\|\||.)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


def read_c(source: str) -> Iterator[list[Token]]:
    """The same of C; a statement ends at ``;`` or a brace. Heads of functions are left out."""
    statement: list[Token] = []
    for found in _C.finditer(source):
        kind = found.lastgroup or "skip"
        if found[0] in (";", "{", "}"):
            if statement and (found[0] != "{" or statement[0].text in ("if", "for", "while", "else")):
                yield statement
            statement = []
        elif kind != "skip":
            statement.append(Token(found[0], found.start(), kind))
        elif found[0][0] in "\"'":
            statement.append(Token(found[0], found.start(), "other"))


def annotation_places(source: str) -> list[tuple[int, int]]:
    """Where annotations are in Python: they decide nothing."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found = []
    for node in ast.walk(ast.parse(source)):
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(each, ast.expr) and each.end_lineno is not None and each.end_col_offset is not None:
                begin = offsets[each.lineno - 1] + each.col_offset
                found.append((begin, offsets[each.end_lineno - 1] + each.end_col_offset))
    return found


# ------------------------------------------------------------------ faults


def faults(path: Path, source: str) -> list[Mutant]:
    """All faults that one can put into it."""
    in_c = path.suffix in (".c", ".h")
    skipped = annotation_places(source) if path.suffix == ".py" else []
    found: list[Mutant] = []
    for statement in read_c(source) if in_c else read_python(source):
        first, last = statement[0], statement[-1]
        begins = [token.at for token in statement]
        if first.text in HEADS and first.text not in ("def", "cdef", "cpdef"):
            continue
        is_header = last.text == ":" and first.text in HEADS  # of a function: its default values count
        declares = first.text in ("cdef", "cpdef") and not is_header
        if declares and "=" not in [token.text for token in statement]:
            continue
        begun = not (declares or is_header)
        for index, token in enumerate(statement):
            begun = begun or token.text == "="
            if begun and not any(begin <= token.at < end for begin, end in skipped):
                found += _of_token(statement, index, in_c=in_c)
        end = last.at + len(last.text)
        if first.text == "return" and len(statement) > 1:
            is_number = in_c or (path.suffix == ".pyx" and _returns_c(source, first.at))
            nothing = "0" if is_number else "None"
            if source[statement[1].at : end] not in (nothing, "False"):
                found.append(Mutant(statement[1].at, end, nothing))
        if first.text in ("if", "elif", "while") and not in_c and last.text == ":":
            found.append(Mutant(begins[1], last.at, f"not ({source[begins[1] : last.at]})"))
        if in_c:
            if not _declares_in_c(statement):
                found.append(Mutant(first.at, end, ""))
        elif first.text in ("raise", "del") or _calls_or_sets(statement):
            found.append(Mutant(first.at, end, "pass"))
    return sorted(set(found))


def _calls_or_sets(statement: list[Token]) -> bool:
    """Whether it is a statement of Python that does something without which the rest still compiles."""
    first, last = statement[0], statement[-1]
    if len(statement) == 1 or first.kind != "name" or first.text in NO_STATEMENT or last.text == ":":
        return False
    return any(token.text.endswith("=") or token.text == "(" for token in statement)


def _declares_in_c(statement: list[Token]) -> bool:
    """Whether it is a declaration, or the head of a loop or a branch."""
    first = statement[0]
    follows = [token.kind for token in statement[:2]] == ["name", "name"]
    return follows or first.text in ("if", "for", "while", "else", "do", "switch", "case", "return")


def _returns_c(source: str, at: int) -> bool:
    """Whether the function around it returns a number of C's."""
    heads = re.findall(r"^[ ]*(c?p?def [^\n]*)", source[:at], re.MULTILINE)
    heads = [head for head in heads if "(" in head and head.rstrip()[-1] in ":,("]
    if not heads or heads[-1].startswith("def "):
        return False
    return not re.match(r"c?p?def (inline )?(object|str|bytes|tuple|list|dict|_[A-Z]\w+) ", heads[-1])


def _of_token(statement: list[Token], index: int, *, in_c: bool) -> Iterator[Mutant]:
    token = statement[index]
    text, at, kind = token
    end = at + len(text)
    before = statement[index - 1] if index else None
    after = statement[index + 1] if index + 1 < len(statement) else None
    if kind == "operator" and text in OPERATORS:
        if not _ends_operand(before) or (text == ">" and _closes_cast(statement, index)):
            return  # a sign, an unpacking or a cast
        if text == "*" and (after is None or after.text in (">", "*", ")")):
            return  # a pointer
        for other in OPERATORS[text]:
            yield Mutant(at, end, other)
    elif kind == "number":
        yield from (Mutant(at, end, other) for other in _other_numbers(text))
    elif kind == "name":
        if text in WORDS and not (before is not None and before.text == "=" and text in ("min", "max")):
            yield Mutant(at, end, WORDS[text])
        elif text == "not" and after is not None and after.text == "in":
            yield Mutant(at, after.at, "")
        elif text == "not" and not (before is not None and before.text == "is"):
            if after is not None:
                yield Mutant(at, after.at, "")
        elif text == "is" and after is not None:
            is_not = after.text == "not"
            yield Mutant(at, after.at + 3 if is_not else end, "is" if is_not else "is not")
        elif text == "in" and "for" not in [one.text for one in statement[:index]]:
            yield Mutant(at, end, "not in")


def _ends_operand(token: Token | None) -> bool:
    """Whether an operator behind it has two operands."""
    if token is None or token.text in KEYWORDS:
        return False
    return token.kind in ("name", "number", "other") or token.text in (")", "]")


def _closes_cast(statement: list[Token], index: int) -> bool:
    """Whether a ``<`` that begins an operand belongs to this ``>``."""
    for at in range(index - 1, -1, -1):
        text, _, kind = statement[at]
        if text == "<":
            return not _ends_operand(statement[at - 1] if at else None)
        if kind != "name" and text not in ("*", "."):
            return False
    return False


def _other_numbers(text: str) -> list[str]:
    suffix = re.search(r"[uUlL]*$", text)[0] if text[-1] in "uUlL" else ""  # type: ignore[index]
    digits = text.removesuffix(suffix)
    if re.fullmatch(r"0[xX][0-9a-fA-F_]+", digits):
        value = int(digits, 16)
        return [f"{value ^ 1:#x}{suffix}"]
    if re.fullmatch(r"[0-9][0-9_]*", digits):
        value = int(digits)
        return [f"{value + 1}{suffix}"] + ([f"{value - 1}{suffix}"] if value else [])
    with suppress(ValueError):
        return [repr(float(digits) * 2 + 1)]
    return []


# ------------------------------------------------------------------ the copy


class Copy:
    """A copy of the checkout, its compiled modules, and a path from which Python imports it."""

    def __init__(self, where: Path) -> None:
        self.tree = where / "tree"
        self.build_dir = where / "build"
        self.site = where / "site"
        self._copy_files()
        self._make_site()
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.site),
            # Else mutants of one second and one size would be taken for each other.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _copy_files(self) -> None:
        """What git knows or would add, as it lies there now. What is the same keeps its time, for ninja."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        names = {name for name in listed if name and (ROOT / name).is_file()}
        for name in names:
            source, target = ROOT / name, self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_bytes() != source.read_bytes():
                shutil.copyfile(source, target)
                shutil.copymode(source, target)
        for old in [path for path in self.tree.rglob("*") if path.is_file()]:
            if str(old.relative_to(self.tree)) not in names:
                old.unlink()

    def _make_site(self) -> None:
        """The package with its compiled modules, by links."""
        shutil.rmtree(self.site, ignore_errors=True)
        core = self.site / "auth_diameter" / "_core"
        core.mkdir(parents=True)
        for path in (self.tree / "src" / "auth_diameter").iterdir():
            (core.parent / path.name).symlink_to(path)
        sources = self.tree / "src" / "_core"
        for path in sources.rglob("*.py"):
            link = core / path.relative_to(sources)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
        (self.site / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def configure(self) -> None:
        import cython_cmake

        modules = Path(cython_cmake.__file__).parent / "cmake"
        subprocess.run(
            ["cmake", "-G", "Ninja", "-S", self.tree, "-B", self.build_dir, f"-DCMAKE_MODULE_PATH={modules}",
             f"-DPython_EXECUTABLE={sys.executable}", "-DSKBUILD_PROJECT_NAME=auth_diameter",
             "-DSKBUILD_PROJECT_VERSION=0", "-DCMAKE_BUILD_TYPE=Release",
             "-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG"],
            env=self.env, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def build(self) -> bool:
        command: list[str | Path] = ["cmake", "--build", self.build_dir, "-j1"]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        for built in self.build_dir.glob("*/*.so"):
            link = self.site / "auth_diameter" / "_core" / built.relative_to(self.build_dir)
            if not link.is_symlink():
                link.symlink_to(built)
        return done.returncode == 0

    def test(self, tests: list[str], limit: float) -> tuple[str, str]:
        """How pytest ended, "killed", "survived" or "timeout", and the test that noticed."""
        command = [
            sys.executable, "-P", "-m", "pytest", "-x", "-q", "--no-header", "--tb=line",
            "-p", "no:cacheprovider", "-p", "no:benchmark", "--numprocesses=0", "--hypothesis-seed=0", *tests,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=self.tree, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it, and servers that it started
            process.wait()
        noticed = re.findall(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE)
        if process.returncode:
            return "killed", noticed[0] if noticed else out[-300:].strip().replace("\n", " | ")
        return "survived", ""


# ------------------------------------------------------------------ the command


def show(source: str, mutant: Mutant) -> str:
    """The line before and after."""
    begin = source.rfind("\n", 0, mutant.at) + 1
    end = source.find("\n", mutant.end)
    whole = source[begin:end].strip()
    other = (source[begin : mutant.at] + mutant.text + source[mutant.end : end]).strip()
    number = source.count("\n", 0, mutant.at) + 1
    return f"{number}: {' '.join(whole.split())}  →  {' '.join(other.split())}"


def run(copy: Copy, name: str, tests: list[str], seed: int, count: int, only: str) -> int:
    """Prints what became of each mutant. How many survived."""
    path = copy.tree / name
    compiled = path.suffix != ".py"
    copy.configure()
    if not copy.build():
        sys.exit("mutate: the modules cannot be built as they are")
    began = time.monotonic()
    ended, noticed = copy.test(tests, 1200)
    took = time.monotonic() - began
    if ended != "survived":
        sys.exit(f"mutate: the tests fail without a fault, too: {noticed}")
    source = path.read_text()
    mutants = [one for one in faults(path, source) if only in show(source, one)]
    print(f"{name}: {len(mutants)} faults; its tests take {took:.1f} s without one", flush=True)
    random.Random(seed).shuffle(mutants)
    counts: Counter[str] = Counter()
    try:
        for mutant in mutants:
            if counts.total() - counts["build error"] >= count:
                break
            path.write_text(source[: mutant.at] + mutant.text + source[mutant.end :])
            if compiled and not copy.build():
                ended, noticed = "build error", ""
            else:
                ended, noticed = copy.test(tests, 3 * took + 30)
            counts[ended] += 1
            print(f"{ended:11}  {name}:{show(source, mutant)}  {noticed and f'[{noticed}]'}", flush=True)
    finally:
        path.write_text(source)
    told = ", ".join(f"{number} {ended}" for ended, number in sorted(counts.items()))
    print(f"{name}, seed {seed}: {told}")
    return counts["survived"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="the file to put faults into, from the root of the checkout")
    parser.add_argument("tests", nargs="+", help="test modules, or whatever pytest takes")
    parser.add_argument("--seed", type=int, default=1, help="another one chooses other faults")
    parser.add_argument("--count", type=int, default=25, help="faults that compile")
    parser.add_argument("--only", default="", help="only faults whose line, before or after, has this text")
    parser.add_argument("--list", action="store_true", help="print all faults, and play none")
    parser.add_argument("--scratch", type=Path, help="where the copy stays from run to run; default: nowhere")
    options = parser.parse_args()
    if options.list:
        path = ROOT / options.source
        print(*(show(path.read_text(), one) for one in faults(path, path.read_text())), sep="\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tidy up then, too
    where = options.scratch or Path(tempfile.mkdtemp(prefix="mutation-"))
    try:
        copy = Copy(where.resolve())
        return 1 if run(copy, options.source, options.tests, options.seed, options.count, options.only) else 0
    finally:
        if options.scratch is None:
            shutil.rmtree(where, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
