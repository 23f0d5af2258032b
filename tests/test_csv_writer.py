"""Writing CSV: formula-safe text, streaming, and reading our own export back."""

import io
from decimal import Decimal
from uuid import UUID

import pytest

from pim.tabular import open_table
from pim.tabular.csv_writer import write_csv
from pim.tabular.formulas import escape_formula, unescape_formula

TEXTS = [
    "=1+1",
    "+33 1 23",
    "-5 °C",
    "@home",
    "\tx",
    "\rx",
    "'=1",
    "''-",
    "'quoted'",
    "l'été",
    "",
    "plain",
    "a=b",
    "'",
]


def test_cells_are_written_by_their_type() -> None:
    rows = [
        ["=SUM(A1)", -5, Decimal("-1.50"), True, None, UUID(int=1)],
        ["a;b\n\"c\"", 2.5, Decimal("3"), False, "", "é"],
    ]  # fmt: skip
    data = b"".join(write_csv(["name", "-n", "price", "active", "none", "id"], rows))
    assert data.decode() == (
        "name,'-n,price,active,none,id\r\n"
        "'=SUM(A1),-5,-1.50,true,,00000000-0000-0000-0000-000000000001\r\n"
        '"a;b\n""c""",2.5,3,false,,é\r\n'
    )


def test_delimiter_and_byte_order_mark() -> None:
    assert b"".join(write_csv(["a", "b"], [["é", 1]], delimiter=";", bom=True)) == "\ufeffa;b\r\né;1\r\n".encode()


@pytest.mark.parametrize("text", ["=a", "+a", "-a", "@a", "\ta", "\ra", "\0a"])
def test_what_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert escape_formula(text) == "'" + text


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back(text: str) -> None:
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("text", ["l'été", "'quoted'", "'", "a=b", "plain", ""])
def test_harmless_text_is_left_alone(text: str) -> None:
    assert escape_formula(text) == unescape_formula(text) == text


def test_our_own_export_reads_back_as_it_was() -> None:
    data = b"".join(write_csv(["n", "text"], [[i, text] for i, text in enumerate(TEXTS)]))
    table = open_table(io.BytesIO(data), encoding="utf-8")
    assert [unescape_formula(cells[1]) for _, cells in table] == TEXTS


def test_rows_are_written_as_they_come() -> None:
    taken = 0

    def rows() -> "list[str]":  # type: ignore[misc]
        nonlocal taken
        for taken in range(1, 100_001):
            yield [str(taken), "x" * 50]

    chunks = write_csv(["n", "x"], rows())
    first = next(chunks)
    assert taken < 2000
    assert 64 * 1024 <= len(first) < 66 * 1024
    assert (first + b"".join(chunks)).count(b"\r\n") == 100_001
