"""Reading JSON: where the records are, exact texts, flattening, resuming, and what is refused."""

import io
import json
import random
import tracemalloc
from typing import Any

import pytest

from imports.mapping import compile_mapping
from pim.tabular import FlawedRow, TableError, UnreadableRow, open_table
from tests.shared_data import shared_data

Rows = list[tuple[int, list[str]]]


def read(data: bytes | str, **options: Any) -> tuple[list[str], Rows]:
    file = io.BytesIO(data.encode() if isinstance(data, str) else data)
    with open_table(file, format="json", **options) as table:
        return table.columns, list(table)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ('[{"ean": "1", "name": "é"}, {"ean": "2"}]', ""),
        ('{"ean": "1", "name": "é"}\n{"ean": "2"}\n', ""),
        ('\ufeff {"ean": "1", "name": "é"}\r\n\r\n{"ean": "2"}', ""),
        ('{"count": 2, "products": [{"ean": "1", "name": "é"}, {"ean": "2"}], "next": null}', "products"),
        ('{"data": {"tags": ["a"], "items": [{"ean": "1", "name": "é"}, {"ean": "2"}]}, "ok": true}', "data/items"),
        ('{"meta": {"l": [{"x": 1}]}, "rows": [{"ean": "1", "name": "é"}, {"ean": "2"}]}', "rows"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_records_are_found(data: str, path: str, encoding: str) -> None:
    if encoding != "utf-8":
        data = data.removeprefix("\ufeff")
    with open_table(io.BytesIO(data.encode(encoding)), format="json") as table:
        assert list(table) == [(1, ["1", "é"]), (2, ["2", ""])]
        assert (table.columns, table.detected.record_path) == (["ean", "name"], path)


def test_one_object_is_one_record() -> None:
    assert read('{"ean": "1", "price": {"amount": 1.50}}') == (["ean", "price.amount"], [(1, ["1", "1.50"])])


def test_the_path_to_the_records_can_be_given() -> None:
    data = '{"categories": [{"id": 1}], "shop": {"products": [{"ean": "7"}]}}'
    assert read(data, record_path="shop/products") == (["ean"], [(1, ["7"])])
    assert read(data, record_path="/categories/") == (["id"], [(1, ["1"])])
    with pytest.raises(TableError, match="The JSON file has nothing at shop/articles"):
        read(data, record_path="shop/articles")
    with pytest.raises(TableError, match="there is no list at shop "):
        read(data, record_path="shop")


def test_a_list_deep_in_a_large_file_is_found() -> None:
    filler = json.dumps({f"k{i}": "x" * 100 for i in range(5000)})
    records = ",".join(json.dumps({"ean": str(i), "name": "y" * 300}) for i in range(5000))
    data = f'{{"big": {filler}, "none": [], "some": [1, 2], "inner": {{"a": 1, "list": [{records}]}}, "end": {filler}}}'
    with open_table(io.BytesIO(data.encode()), format="json") as table:
        assert table.detected.record_path == "inner/list"
        assert [cells[0] for _, cells in table] == [str(i) for i in range(5000)]
    with pytest.raises(TableError, match="a comma or the end of the object is missing"):
        read(data[:-1])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"3760000000055"', "3760000000055"),
        ("3760000000055", "3760000000055"),
        ("3.76e+12", "3.76e+12"),
        ("1.10", "1.10"),
        ("-0.0", "-0.0"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("9" * 5000, "9" * 5000),
        ('"  a\\nb\\u00e9\\ud83d\\ude00 "', "  a\nbé😀 "),
        ("null", ""),
        ('""', ""),
        ("true", "true"),
        ("false", "false"),
        ('["a", 1, 2.50, true, null]', "a|1|2.50|true|"),
        ("[]", ""),
        ('[{"size": "42", "n": 1.50, "x": null}, [true]]', '[{"size":"42","n":1.50,"x":null},[true]]'),
    ],
)
def test_values_keep_their_text(value: str, text: str) -> None:
    assert read(f'[{{"end": 1, "x": {value}}}]') == (["end", "x"], [(1, ["1", text])])


def test_objects_within_objects_become_paths() -> None:
    columns, rows = read(
        '[{"a": {"b": {"c": 1}, "d": {}}, "e": 2}, {"a": null, "e": 3}, {"a": {"d": 4}}, {}, {"e": ""}]'
    )
    assert columns == ["a.b.c", "e", "a", "a.d"]
    assert rows == [(1, ["1", "2", "", ""]), (2, ["", "3", "", ""]), (3, ["", "", "", "4"])]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('{"x": 1, "x": 2}', "a name stands twice in an object"),
        ('{"a": {"x": 1, "x": 1}}', "a name stands twice in an object"),
        ('{"a": [{"x": 1, "x": 1}]}', "a name stands twice in an object"),
        ('{"a.b": 1, "a": {"b": 2}}', "'a.b' is given twice, by its name and by a name within an object"),
        ('{"a":' * 40 + "1" + "}" * 40, "objects are nested more than 32 deep"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "lists and objects are nested more than 32 deep"),
        ("5", "this is a number, not an object"),
        ('"x"', "this is a text, not an object"),
        ("[1]", "this is a list, not an object"),
        ("null", "this is true, false or null, not an object"),
    ],
)
def test_a_record_that_cannot_be_a_row_is_refused_alone(record: str, reason: str) -> None:
    columns, rows = read(f'[{{"ean": "1"}}, {record}, {{"ean": "2"}}]')
    assert columns == ["ean"]
    assert [rows[0], rows[2]] == [(1, ["1"]), (3, ["2"])]
    assert isinstance(rows[1][1], UnreadableRow)
    assert reason in rows[1][1].reason


def test_names_that_come_up_late_are_reported_with_their_values() -> None:
    records: list[dict[str, object]] = [{"ean": "3760000000055", "name": "Lampe"}] * 1000
    data = json.dumps([*records, {"ean": "3760000000062", "promo": "-20 %", "tag": "x"}, {"ean": "3", "promo": None}])
    columns, rows = read(data)
    assert columns == ["ean", "name"]
    late = rows[1000][1]
    assert isinstance(late, FlawedRow)
    assert (late, late.unknown) == (["3760000000062", ""], {"promo": "-20 %", "tag": "x"})
    assert rows[1001] == (1002, ["3", ""])
    mapped = compile_mapping(columns)(1001, late)
    assert mapped.ean == "3760000000062"
    ((row, field, value, message, level),) = mapped.problems
    assert (row, field, value, level) == (1001, "row", "-20 % | x", "warning")
    assert message.startswith("not imported, because it is in no column: 'promo', 'tag'.")


@pytest.mark.parametrize("style", ["list", "lines", "within"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_reading_resumes_after_any_record(style: str, encoding: str) -> None:
    pick = random.Random(style)
    texts = ["", "é", '"}]', "😀" * 300, "x" * 5000, "{"]
    records = [{"ean": str(i), "text": pick.choice(texts), "n": {"a": pick.random()}} for i in range(1500)]
    parts = [json.dumps(record, ensure_ascii=pick.random() < 0.5) for record in records]
    text = {"list": f" [ {' , '.join(parts)} ] ", "lines": "\n".join(parts)}.get(
        style, f'{{"a": 1, "items": [{",".join(parts)}], "z": {{}}}}'
    )
    data = text.encode(encoding)
    table = open_table(io.BytesIO(data), format="json")
    whole, tokens = [], []
    for row in table:
        whole.append(row)
        tokens.append(json.dumps(table.position))
    assert [cells for _, cells in whole] == [[r["ean"], r["text"], str(r["n"]["a"])] for r in records]  # type: ignore[index]
    for at in (0, 1, *pick.sample(range(1500), 20), 1498, 1499):
        file = Watched(data)
        resumed = open_table(file, resume=json.loads(tokens[at]))
        assert list(resumed) == whole[at + 1 :]
        assert (resumed.columns, resumed.detected) == (table.columns, table.detected)
        assert file.lowest >= json.loads(tokens[at])["offset"]


class Watched(io.BytesIO):
    """Knows the lowest byte that was read, the first ones, which tell what kind of file it is, apart."""

    lowest = 1 << 60

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size > 4:
            self.lowest = min(self.lowest, self.tell())
        return super().read(size)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (b" \n ", "The file is empty"),
        (b"[]", "The JSON file is not a list of objects, or an empty one"),
        (b"[1]", r"not a list of objects, or an empty one \(record 1: this is a number, not an object\)"),
        (b"42", "The JSON file is not a list of objects, but a single value"),
        (b'[{"a": NaN}]', r"NaN is not JSON; write null \(at byte 1\)"),
        (b'[{"a": -Infinity}]', "-Infinity is not JSON"),
        (b'[{"a": 1},]', r"expecting value \(at byte 11\)"),
        (b'[{"a": 1} {"a": 2}]', r"a comma or the end of the list is missing \(at byte 10\)"),
        (b'[{"a": 1}] x', r"there is text after its end \(at byte 11\)"),
        (b'{"a": 1} x', r"there is text after its end \(at byte 9\)"),
        (b'[{"a": "\xe9"}]', "byte 0xE9 at offset 8 cannot be read as utf-8; save the file as UTF-8"),
        (b'[{"a": 1}, ' * 300_000, "nested too deeply|expecting|missing|too early"),
        (b"[" * 100_000, "lists or objects are nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'[{"a": "' + b"x" * 40_000_000, "A value of the file is longer than 16 MB"),
        (b"[{" + b",".join(b'"k%d": 1' % i for i in range(5001)) + b"}]", "more than 5,000 different names of fields"),
        (b'[{"a\\u0000": 1}]', "holds a NUL character or half a character"),
        (b'[{"a\\ud800": 1}]', "holds a NUL character or half a character"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_is_no_list_of_objects_is_refused(data: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TableError, match=message):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


def test_the_offset_of_a_bad_byte_is_that_of_the_file() -> None:
    data = b"[" + b",".join(b'{"a": "%d"}' % i for i in range(60_000)) + b', {"a": "\xff"}]'
    with pytest.raises(TableError, match=f"byte 0xFF at offset {data.index(0xFF)} cannot be read as utf-8"):
        read(data)


def test_a_long_list_takes_no_memory() -> None:
    data = b"[" + b",\n".join(b'{"ean": "%013d", "name": "Produit %d"}' % (i, i) for i in range(40_000)) + b"]"
    tracemalloc.start()
    try:
        with open_table(io.BytesIO(data), format="json") as table:
            assert sum(1 for _ in table) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_the_json_test_suite() -> None:
    folder = shared_data("data", "torture", "json", "JSONTestSuite")
    parsed = refused = 0
    for path in sorted(folder.glob("*.json")):
        with path.open("rb") as file:
            try:
                with open_table(file, format="json") as table:
                    list(table)
                outcome = "rows"
            except TableError as error:
                outcome = str(error)
        valid = outcome == "rows" or outcome.startswith("The JSON file is not a list of objects")
        if path.name.startswith("y_"):
            assert valid, (path.name, outcome)
            parsed += 1
        elif path.name.startswith("n_"):
            assert outcome == "The file is empty" or outcome.startswith("The file is not valid JSON: "), path.name
            refused += 1
    assert (parsed, refused) == (40, 92)
