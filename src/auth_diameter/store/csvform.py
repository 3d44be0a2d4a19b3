"""How a file of subscribers is written: its separator, its columns, and how values are quoted.

It all follows from the first line, or the file is refused with what to do: nothing is guessed that could be
something else. A value is quoted as RFC 4180 has it. Between tabs alone that is not so, for MariaDB, MySQL
and PostgreSQL quote nothing there and write backslashes their own way: unless the first line is quoted, a
value is as it stands, and one that may mean two things is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal, NamedTuple

from auth_diameter.store.hashes import HA1_LENGTHS, Hashes
from auth_diameter.store.names import domain_flaw, username_flaw

#: A line longer than this many bytes is no line of a CSV file but something else.
MAX_LINE: Final = 64 * 1024

_SEPARATORS: Final = ",;\t"
_COLUMNS: Final = frozenset({"username", "domain", "password", *Hashes._fields, "groups"})
_HEX: Final = re.compile("[0-9A-Fa-f]+")
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # Excel's

#: Tables that are known without a header, by what stands in their rows; Kamailio's as it is now, with the
#: columns of OpenSIPS as `user add` leaves it, and as Kamailio 4 had it.
_LAYOUTS: Final = (
    ("id", "username", "domain", "password", "ha1", "ha1b"),
    ("id", "username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256"),
    ("id", "username", "domain", "password", "email_address", "ha1", "ha1b", "rpid"),
)

#: How other files begin, and what to do with them.
_NO_CSV: Final = (
    (b"SQLite format 3\0", "is a database, not CSV: name it with --db"),
    (b"PK\3\4", "is a workbook or an archive, not CSV: save it as 'CSV UTF-8'"),
    (b"\xff\xfe", "is UTF-16, as Excel's 'Unicode Text' is: save it as 'CSV UTF-8'"),
    (b"\xfe\xff", "is UTF-16, as Excel's 'Unicode Text' is: save it as 'CSV UTF-8'"),
)


class FormFlaw(Exception):  # noqa: N818 -- it never leaves the import
    """What is wrong with the form of a file, for the end of a line that names it."""


class LineTooLongError(Exception):
    """A line is longer than :data:`MAX_LINE`."""


class Form(NamedTuple):
    """How the lines of a file are to be read."""

    separator: str
    column: dict[str, int]  # where each column is that is used
    width: int  # columns in all
    header: bool  # whether the first line is one
    not_used: tuple[str, ...]  # titles of the others
    plain: bool  # values are not quoted

    @property
    def quoting(self) -> Literal[0, 3]:
        """How values are quoted, for csv.reader."""
        return csv.QUOTE_NONE if self.plain else csv.QUOTE_MINIMAL

    def value(self, row: list[str], name: str) -> str:
        """What a row has in a column.

        Raises:
            FormFlaw: it could mean two things.
        """
        value = row[self.column[name]]
        if self.plain:
            if value in ("NULL", "\\N"):  # as MariaDB and MySQL write it
                return ""
            if value[:1] == '"' or "\\" in value:
                raise FormFlaw(
                    f"column {name}: begins with a quotation mark or holds a backslash, which mean several"
                    " things between tabs; write the file with commas"
                )
        return value

    def groups(self, value: str) -> list[str]:
        """The names in a value of the column ``groups``: ``;`` is between them.

        Where ``;`` separates columns it is that only in quotation marks, and ``,`` is, too.
        """
        if self.separator == ";":
            value = value.replace(",", ";")
        return [name for name in map(str.strip, value.split(";")) if name]


def lines(source: BinaryIO) -> Iterator[str]:
    """Lines as text, one at a time, so that an error has a line number and a bound.

    Raises:
        FormFlaw: the first one is none of a text file.
        UnicodeDecodeError: it is not UTF-8.
        LineTooLongError: or too long.
    """
    encoding = "utf-8-sig"
    first = True
    while line := source.readline(MAX_LINE + 1):
        if first:
            _check_beginning(line)
            first = False
        if len(line) > MAX_LINE:
            raise LineTooLongError
        yield line.decode(encoding)
        encoding = "utf-8"


def _check_beginning(line: bytes) -> None:
    for beginning, why in _NO_CSV:
        if line.startswith(beginning):
            raise FormFlaw(why)
    if b"\0" in line:
        raise FormFlaw("is UTF-16 or no text at all: save it as 'CSV UTF-8'")
    if b"\r" in line.rstrip(b"\r\n"):
        raise FormFlaw("ends with CR alone: save the file with LF or CRLF at the ends of its lines")


def separator_line(line: str) -> str | None:
    """The separator that a first line ``sep=;`` names, as Excel writes it; None: it is no such line.

    Raises:
        FormFlaw: it is another one than ours.
    """
    found = _SEPARATOR_LINE.fullmatch(line)
    if found is None:
        return None
    if found[1] not in _SEPARATORS:
        raise FormFlaw("names another separator than comma, semicolon or tab")
    return found[1]


def form_of(line: str, separator: str | None = None) -> Form:
    """The form of a file by its first line: a header, or a row of a table that we know.

    Args:
        separator: the one that a line before it has named.

    Raises:
        FormFlaw: it is neither; the line tells what to write.
    """
    cells = {one: _cells(line, one) for one in separator or _SEPARATORS}
    known = [(one, layout) for one, found in cells.items() for layout in _LAYOUTS if _fits(layout, found)]
    if len(known) == 1:
        ((one, layout),) = known
        column = {name: index for index, name in enumerate(layout) if name in _COLUMNS}
        return Form(one, column, len(layout), False, (), _is_plain(one, line))
    # The first one that splits off most titles; where there are none, there is no header.
    best = max(cells, key=lambda one: len(_COLUMNS & set(map(_folded, cells[one]))))
    if _COLUMNS & set(map(_folded, cells[best])):
        return _by_header(cells[best], best, line)
    if not any(one in line for one in cells):
        raise FormFlaw("holds neither comma nor semicolon nor tab; write username,domain,password")
    # The line itself is not repeated: there may be a password in it.
    raise FormFlaw(
        "does not name the columns: put a header line in front of it, as username,domain,password or, of"
        " Kamailio's table, id,username,domain,password,ha1,ha1b"
    )


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _folded(title: str) -> str:
    return title.strip().lower()


def _is_plain(separator: str, line: str) -> bool:
    return separator == "\t" and not line.startswith('"')


def _by_header(titles: list[str], separator: str, line: str) -> Form:
    column: dict[str, int] = {}
    for index, title in enumerate(map(_folded, titles)):
        if title in column:
            raise FormFlaw(f"column {title}: is there twice")
        if title in _COLUMNS:
            column[title] = index
    for name in ("username", "domain"):
        if name not in column:
            raise FormFlaw(
                f"column {name}: is missing in the header, which names the columns,"
                " as username,domain,password"
            )
    if "password" not in column and "ha1" not in column:
        raise FormFlaw("column password: is missing in the header, and so is ha1")
    not_used = tuple(title.strip() for title in titles if _folded(title) not in _COLUMNS)
    return Form(separator, column, len(titles), True, not_used, _is_plain(separator, line))


def _fits(layout: tuple[str, ...], cells: list[str]) -> bool:
    """Whether a row can be of this table and hardly of another one: it has an HA1 where that must be."""
    return len(layout) == len(cells) and all(map(_can_be, layout, cells))


def _can_be(name: str, cell: str) -> bool:
    match name:
        case "id":
            return cell.isascii() and cell.isdigit()
        case "username":
            return username_flaw(cell) is None
        case "domain":
            return domain_flaw(cell) is None
        case "email_address":
            return not cell or "@" in cell
        case "ha1":
            return is_digest(name, cell)
        case "ha1b" | "ha1_sha256" | "ha1_sha512t256":
            return cell in ("", "NULL", "\\N") or is_digest(name, cell)
    return True


def is_digest(name: str, value: str) -> bool:
    """Whether the value can stand in that column of hashes."""
    return len(value) == HA1_LENGTHS[name] and _HEX.fullmatch(value) is not None
