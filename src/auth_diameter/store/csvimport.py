"""Import of subscribers from a CSV file. The whole file is checked before anything is written.

The file is UTF-8, with or without a byte order mark. Its header line names the columns, in any order and
case, separated by comma, semicolon or tab::

    username,domain,password[,groups]
    username,domain,ha1[,ha1b][,ha1_sha256][,ha1_sha512t256][,groups]

Other columns are ignored. ``groups`` holds names separated by ``;``, or by ``,`` in a file whose columns are
separated by ``;``. :mod:`auth_diameter.store.csvform` determines the form of the file.

A password is hashed at once, for every algorithm and with the table's spelling of the realm; it is never
stored, unless the table's HA1 are calculated from passwords. If a row has a password and a hash, the hash
must be that of the password. If a row has no password, its hashes are taken as they are.
:mod:`auth_diameter.store.importing` has the rest.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, Final

from auth_diameter.store.csvform import (
    MAX_LINE,
    Form,
    FormFlaw,
    LineTooLongError,
    form_of,
    lines,
    separator_line,
)
from auth_diameter.store.importing import Flawed, Given, Imported, Options, import_users
from auth_diameter.store.subscribers import Subscribers

_DEFAULTS: Final = Options()


def import_csv(
    accounts: Subscribers, source: BinaryIO, *, name: str, options: Options = _DEFAULTS
) -> Imported:
    """Imports the subscribers of a CSV file into a store.

    Args:
        accounts: the store, open for writing.
        source: a binary stream, read once to its end and not closed.
        name: the name of the source in errors.
        options: how.

    Returns:
        The numbers of users and memberships written.

    Raises:
        BadRowsError: rows are bad. Nothing was written.
        ConfigError: the database cannot be written; see `import_users`.
    """
    return import_users(accounts, CsvSource(source, name, domains=accounts.has_domains), options)


class CsvSource:
    """The rows of a CSV file.

    Args:
        source: a binary stream.
        name: its name in messages.
        domains: whether there must be a column with the domain.
    """

    unit = "line"

    def __init__(self, source: BinaryIO, name: str, *, domains: bool = True) -> None:
        self.name = name
        self.not_used: tuple[str, ...] = ()
        self._source = source
        self._domains = domains

    def named(self, row: Given) -> str:
        """Nothing: a line is found by its number."""
        return ""

    def rows(self) -> Iterator[Given | Flawed]:
        """The rows."""
        line = 1  # the line where the current row begins
        before = 0  # lines before the first that the reader counts
        reader = None
        try:
            text = lines(self._source)
            first = next(text, None)
            separator = separator_line(first) if first else None
            if separator:
                before, line = 1, 2
                first = next(text, None)
            if first is None:
                raise FormFlaw("column username: missing, for the file is empty; a header line comes first")
            form = form_of(first, separator, domains=self._domains)
            self.not_used = form.not_used
            reader = csv.reader(
                chain([first], text), delimiter=form.separator, quoting=form.quoting, strict=True
            )
            if form.header:
                next(reader)
            while True:
                line = before + reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    return
                if row:  # not an empty line
                    yield _given(line, row, form)
        except FormFlaw as flaw:
            yield Flawed(line, str(flaw))
        except csv.Error as error:
            yield Flawed(line, f"is not CSV: {error}")
        except UnicodeDecodeError as error:
            line = before + reader.line_num + 1 if reader else line
            why = f"is not UTF-8 from byte {error.start} of the line; save it as 'CSV UTF-8'"
            yield Flawed(line, why)
        except LineTooLongError:
            line = before + reader.line_num + 1 if reader else line
            yield Flawed(line, f"is longer than {MAX_LINE} bytes")


def _given(line: int, row: list[str], form: Form) -> Given | Flawed:
    """The values of a row."""
    if len(row) != form.width:
        head = "the header" if form.header else "line 1"
        return Flawed(line, f"has {len(row)} columns, {head} has {form.width}")
    try:
        values = {name: form.value(row, name) for name in form.column}
    except FormFlaw as flaw:
        return Flawed(line, str(flaw))
    return Given(line, values, form.groups(values.get("groups", "")))
