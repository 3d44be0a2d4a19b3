"""The form of a CSV file of subscribers: its separator, its columns and its quoting.

The form is derived from the first line. If that line is ambiguous, the file is refused with advice. Values
are quoted as in RFC 4180. Tab-separated files are the exception: MariaDB, MySQL and PostgreSQL do not quote
values there, and each escapes with backslashes in its own way. Unless the first line is quoted, such a value
is taken literally, and an ambiguous value is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal, NamedTuple

from auth_diameter.store.hashes import HA1_LENGTHS, Hashes
from auth_diameter.store.names import domain_flaw, username_flaw

#: The longest line in bytes. A file with a longer line is not a CSV file.
MAX_LINE: Final = 64 * 1024

_SEPARATORS: Final = ",;\t"
_COLUMNS: Final = frozenset({"username", "domain", "password", *Hashes._fields, "groups"})
_HEX: Final = re.compile("[0-9A-Fa-f]+")
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # Excel's

#: Tables that are recognised without a header, by the contents of a row: Kamailio's current table, the same
#: with the columns of OpenSIPS that `user add` adds, and the table of Kamailio 4.
_LAYOUTS: Final = (
    ("id", "username", "domain", "password", "ha1", "ha1b"),
    ("id", "username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256"),
    ("id", "username", "domain", "password", "email_address", "ha1", "ha1b", "rpid"),
)

#: The first bytes of files that are not CSV, and the advice for each.
_NO_CSV: Final = (
    (b"SQLite format 3\0", "is a database, not CSV: name it with --db"),
    (b"PK\3\4", "is a workbook or an archive, not CSV: save it as 'CSV UTF-8'"),
    (b"\xff\xfe", "is UTF-16, as Excel's 'Unicode Text' is: save it as 'CSV UTF-8'"),
    (b"\xfe\xff", "is UTF-16, as Excel's 'Unicode Text' is: save it as 'CSV UTF-8'"),
)


class FormFlaw(Exception):  # noqa: N818 -- it never leaves the import
    """A flaw in the form of a file. Its text completes a sentence that begins with the file's name."""


class LineTooLongError(Exception):
    """A line that is longer than :data:`MAX_LINE`."""


class Form(NamedTuple):
    """The form of a file: how to read its lines."""

    separator: str
    column: dict[str, int]  # the index of each column that is used, by its name
    width: int  # the number of all columns
    header: bool  # whether the first line is a header
    not_used: tuple[str, ...]  # the titles of the other columns
    plain: bool  # whether values are taken literally, without quoting

    @property
    def quoting(self) -> Literal[0, 3]:
        """The ``quoting`` argument for csv.reader."""
        return csv.QUOTE_NONE if self.plain else csv.QUOTE_MINIMAL

    def value(self, row: list[str], name: str) -> str:
        """The value of a column.

        Args:
            row: a row of the file.
            name: the name of a column that is used.

        Raises:
            FormFlaw: the value is ambiguous.
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
        """Splits a value of the column ``groups`` into names, at each ``;``.

        If ``;`` also separates the columns, then ``,`` separates names, too, and a ``;`` must be quoted.
        """
        if self.separator == ";":
            value = value.replace(",", ";")
        return [name for name in map(str.strip, value.split(";")) if name]


def lines(source: BinaryIO) -> Iterator[str]:
    """The lines as text, one at a time, so that an error has a line number.

    Raises:
        FormFlaw: the first line shows that this is not a text file.
        UnicodeDecodeError: a line is not UTF-8.
        LineTooLongError: a line is longer than :data:`MAX_LINE`.
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
    """The separator from a first line ``sep=;``, as Excel writes it; None for any other line.

    Raises:
        FormFlaw: the line names a separator that is not supported.
    """
    found = _SEPARATOR_LINE.fullmatch(line)
    if found is None:
        return None
    if found[1] not in _SEPARATORS:
        raise FormFlaw("names another separator than comma, semicolon or tab")
    return found[1]


def form_of(line: str, separator: str | None = None, *, domains: bool = True) -> Form:
    """The form of a file, from its header or from the first row of a known table.

    Args:
        line: the first line, after a line ``sep=`` if there is one.
        separator: the separator from a line ``sep=``; None if there is none.
        domains: whether there must be a column with the domain.

    Raises:
        FormFlaw: the line is neither a header nor a row of a known table. The text says what to write.
    """
    cells = {one: _cells(line, one) for one in separator or _SEPARATORS}
    known = [(one, layout) for one, found in cells.items() for layout in _LAYOUTS if _fits(layout, found)]
    if len(known) == 1:
        ((one, layout),) = known
        column = {name: index for index, name in enumerate(layout) if name in _COLUMNS}
        plain = _is_plain(one, line)
        return Form(one, column, len(layout), header=False, not_used=(), plain=plain)
    # The separator that yields the most known titles; if none yields any, there is no header.
    best = max(cells, key=lambda one: len(_COLUMNS & set(map(_folded, cells[one]))))
    if _COLUMNS & set(map(_folded, cells[best])):
        return _by_header(cells[best], best, line, domains=domains)
    if not any(one in line for one in cells):
        raise FormFlaw("holds neither comma nor semicolon nor tab; write username,domain,password")
    # The message does not quote the line, which may contain a password.
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


def _by_header(titles: list[str], separator: str, line: str, *, domains: bool) -> Form:
    column: dict[str, int] = {}
    for index, title in enumerate(map(_folded, titles)):
        if title in column:
            raise FormFlaw(f"column {title}: is there twice")
        if title in _COLUMNS:
            column[title] = index
    for name in ("username", "domain") if domains else ("username",):
        if name not in column:
            raise FormFlaw(
                f"column {name}: is missing in the header, which names the columns,"
                " as username,domain,password"
            )
    if "password" not in column and "ha1" not in column:
        raise FormFlaw("column password: is missing in the header, and so is ha1")
    not_used = tuple(title.strip() for title in titles if _folded(title) not in _COLUMNS)
    plain = _is_plain(separator, line)
    return Form(separator, column, len(titles), header=True, not_used=not_used, plain=plain)


def _fits(layout: tuple[str, ...], cells: list[str]) -> bool:
    """Whether the cells match this table; an HA1 column makes a match by chance unlikely."""
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
    """Whether the value has the length and the digits of a hash in the column `name`."""
    return len(value) == HA1_LENGTHS[name] and _HEX.fullmatch(value) is not None
