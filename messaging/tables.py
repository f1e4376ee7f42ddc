"""CSV files (pure): bytes in, rows of texts out, whatever their encoding and delimiter; and cells that spreadsheets
do not run as formulas.

A cell that begins with = + - @ tab or a line break is written with an apostrophe before it, and read without it; so is
one that begins with apostrophes before such a character, so that writing and reading back changes no value.
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_LINE = 1_000_000  # characters; a longer one is cut, and then is no row that fits
MAX_CELL = 20_000
MAX_COLUMNS = 1100  # an export of as many attributes as a file may have, and a file of its problems
DELIMITERS = (",", ";", "\t")
ENCODINGS = ("auto", "utf-8", "utf-16", "windows-1252")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")
_GUARDED = re.compile("'+[=+\\-@\t\r\n]")

csv.field_size_limit(MAX_LINE)


class TableError(ValueError):
    """A file that can't be read as a table; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the line of the file that it begins in, its cells, and why it can't be read, if so."""

    line: int
    cells: list[str]
    problem: str = ""


def guard(value: str) -> str:
    """Write a cell so that no spreadsheet takes it for a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


def unguard(cell: str) -> str:
    """Read a cell as it was before `guard`."""
    return cell[1:] if _GUARDED.match(cell) else cell


def write_rows(rows: Iterable[Iterable[str]]) -> str:
    """Write lines of CSV, guarded, with their line breaks."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([guard(cell) for cell in row] for row in rows)
    return out.getvalue()


def choose_encoding(head: bytes, asked: str) -> str:
    """Say how a file is to be decoded: by its byte order mark, else as asked; `auto` is UTF-8.

    Raises: TableError for an encoding that is not offered, or UTF-16 without a mark.
    """
    if asked not in ENCODINGS:
        raise TableError(f"encoding: one of {', '.join(ENCODINGS)} is needed")
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if asked == "utf-16":
        raise TableError("encoding: this file has no byte order mark, so it is not UTF-16 as spreadsheets write it")
    return "cp1252" if asked == "windows-1252" else "utf-8"


class Decodable:
    """Checks pieces of a file one after the other for bytes that its encoding does not know."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._lines = 1

    def feed(self, piece: bytes, *, is_last: bool = False) -> None:
        """Look at one more piece.

        Raises: TableError naming the line.
        """
        try:
            self._lines += self._decoder.decode(piece, is_last).count("\n")
        except UnicodeDecodeError as error:
            line = self._lines + _decoded_lines(error)
            name = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "utf-16": "UTF-16"}.get(self._encoding, "Windows-1252")
            other = "; choose windows-1252 if it was saved by an older spreadsheet" if name == "UTF-8" else ""
            raise TableError(f"encoding: line {line} has a byte that is not {name}{other}") from error


def _decoded_lines(error: UnicodeDecodeError) -> int:
    good = bytes(error.object)[: error.start]
    width = 2 if error.encoding.startswith("utf-16") else 1
    return good.count(b"\n\0" if error.encoding.endswith("le") and width == 2 else b"\n")


class _Pieces(io.RawIOBase):
    """Pieces of a file as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as the interpreter calls it
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = bytes(piece)
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def read_rows(pieces: Iterable[bytes], *, encoding: str, delimiter: str) -> Iterator[Row]:
    """Read records, the header's first, with flat memory; empty lines are left out."""
    text = io.TextIOWrapper(io.BufferedReader(_Pieces(pieces)), encoding=encoding, newline="")
    reader = csv.reader(iter(lambda: text.readline(MAX_LINE), ""), delimiter=delimiter)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(line, [], f"it can't be read: {error}")
            continue
        if cells is None:
            return
        if any(cells):
            yield Row(line, cells, _fault(cells))


def first_cells(body: bytes) -> list[str]:
    """Read the first cell of each line, each text once; a line of names is a text as any other.

    Raises: TableError.
    """
    encoding = choose_encoding(body[:4], "auto")
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError("file: it is not UTF-8; save it as UTF-8") from error
    delimiter, _ = read_header(body[: 2**16], encoding=encoding)
    rows = read_rows([body], encoding=encoding, delimiter=delimiter)
    cells = (unguard(row.cells[0]).strip() for row in rows if not row.problem)
    return [cell for cell in dict.fromkeys(cells) if cell]


def _fault(cells: list[str]) -> str:
    for number, cell in enumerate(cells, 1):
        if "\0" in cell:
            return f"cell {number} holds a NUL character"
        if len(cell) > MAX_CELL:
            return f"cell {number} is over {MAX_CELL} characters long"
    return ""


def detect_delimiter(head: str) -> str:
    """Choose the delimiter that the header's line has most often outside of quotes; a comma where it has none."""
    counts = dict.fromkeys(DELIMITERS, 0)
    is_quoted = False
    for character in head:
        if character == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif character in "\r\n" and any(counts.values()):
            break
        elif character in counts:
            counts[character] += 1
    return max(DELIMITERS, key=lambda one: counts[one])


def read_header(head: bytes, *, encoding: str, delimiter: str | None = None) -> tuple[str, list[str]]:
    """Read the delimiter and the names of the columns off the beginning of a file.

    A name that comes again is numbered: `Email`, `Email (2)`.

    Raises: TableError.
    """
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    found = delimiter or detect_delimiter(text)
    if found not in DELIMITERS:
        raise TableError("delimiter: a comma, a semicolon or a tab is needed")
    try:
        row = next(read_rows([head], encoding=encoding, delimiter=found), None)
    except UnicodeDecodeError:  # the head ends within the names, and within a character
        row = None
    if row is None or row.problem:
        raise TableError(f"file: it has no line of column names{': ' + row.problem if row else ''}")
    if len(row.cells) > MAX_COLUMNS:
        raise TableError(f"file: it has {len(row.cells)} columns, {MAX_COLUMNS} are the most")
    names: list[str] = []
    seen: dict[str, int] = {}
    for cell in row.cells:
        name = unguard(cell).strip()[:200]
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found, names
