"""Reading XML: where the records are, how they become rows, entities, encodings, resuming, and what is refused."""

import io
import json
import random
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from pim.tabular import FlawedRow, TableError, open_table

Rows = list[tuple[int, list[str]]]

FLAT = "<products><product><ean>1</ean><name>é</name></product><product><ean>2</ean></product></products>"
RSS = (
    '<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>'
    "<item><g:gtin>1</g:gtin><g:title>é</g:title></item><item><g:gtin>2</g:gtin></item></channel></rss>"
)
BMECAT12 = (
    '<BMECAT version="1.2"><HEADER/><T_NEW_CATALOG><CATALOG_GROUP_SYSTEM><CATALOG_STRUCTURE type="leaf">'
    '<GROUP_ID>12345678</GROUP_ID></CATALOG_STRUCTURE><CATALOG_STRUCTURE type="leaf"><GROUP_ID>12345679</GROUP_ID>'
    "</CATALOG_STRUCTURE>"
    "</CATALOG_GROUP_SYSTEM><ARTICLE><EAN>1</EAN><NAME>é</NAME></ARTICLE><ARTICLE><EAN>2</EAN></ARTICLE>"
    "<ARTICLE_TO_CATALOGGROUP_MAP><ART_ID>1</ART_ID></ARTICLE_TO_CATALOGGROUP_MAP></T_NEW_CATALOG></BMECAT>"
)
BMECAT2005 = (
    '<BMECAT version="2005" xmlns="http://www.bmecat.org/bmecat/2005"><T_NEW_CATALOG><PRODUCT><EAN>1</EAN><NAME>é</NAME>'
    "</PRODUCT><PRODUCT><EAN>2</EAN></PRODUCT></T_NEW_CATALOG></BMECAT>"
)
UNKNOWN = (
    "<export><infos><info><a>x</a></info><info><a>y</a></info><info><a>z</a></info></infos><liste>"
    "<fiche><code>3760000000055</code><nom>é</nom></fiche><fiche><code>3760000000062</code></fiche></liste></export>"
)


def read(data: bytes | str, **options: Any) -> tuple[list[str], Rows]:
    file = io.BytesIO(data.encode() if isinstance(data, str) else data)
    with open_table(file, format="xml", **options) as table:
        return table.columns, list(table)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (FLAT, "products/product"),
        (RSS, "rss/channel/item"),
        (BMECAT12, "BMECAT/T_NEW_CATALOG/ARTICLE"),
        (BMECAT2005, "BMECAT/T_NEW_CATALOG/PRODUCT"),
        (UNKNOWN, "export/liste/fiche"),
    ],
)
def test_records_are_found(document: str, path: str) -> None:
    with open_table(io.BytesIO(document.encode()), format="xml") as table:
        rows = list(table)
        assert table.detected.record_path == path
    assert len(table.columns) == 2
    assert [(number, cells[0][-1], cells[1]) for number, cells in rows] == (
        [(1, "5", "é"), (2, "2", "")] if document is UNKNOWN else [(1, "1", "é"), (2, "2", "")]
    )


@pytest.mark.parametrize("path", ["rss/channel/item", "item", "channel/item", "/rss/channel/item/", "channel/x:item"])
def test_the_path_to_the_records_can_be_given(path: str) -> None:
    assert read(RSS, record_path=path) == (["gtin", "title"], [(1, ["1", "é"]), (2, ["2", ""])])


def test_a_path_that_leads_nowhere_is_named() -> None:
    with pytest.raises(TableError, match="The XML file has no element with content at rss/channel/article"):
        read(RSS, record_path="rss/channel/article")


def test_one_record_may_be_the_whole_document() -> None:
    assert read("<fiche><ean>1</ean><nom>x</nom></fiche>") == (["ean", "nom"], [(1, ["1", "x"])])


def test_children_attributes_and_repeated_elements_become_columns() -> None:
    columns, rows = read(
        '<products xmlns:x="urn:x"><product id="7" x:kind="new"><name xml:lang="fr">Lampe</name>'
        '<name xml:lang="en">Lamp</name><price type="net"><amount currency="EUR">5</amount></price>'
        "<image>a</image><image/><image>c</image><note>un <b>deux</b><!-- rien --> trois</note>"
        "<raw><![CDATA[<i>]]></raw>"
        '<stock unit="C62"/><empty/></product><product id="8"/></products>'
    )
    assert dict(zip(columns, rows[0][1], strict=True)) == {
        "@id": "7",
        "@kind": "new",
        "name[fr]": "Lampe",
        "name[en]": "Lamp",
        "price[net]/amount": "5",
        "price[net]/amount/@currency": "EUR",
        "image": "a||c",
        "note": "un  trois",
        "note/b": "deux",
        "raw": "<i>",
        "stock/@unit": "C62",
        "empty": "",
    }
    assert rows[1] == (2, ["8", *[""] * 11])


def test_elements_of_the_same_name_elsewhere_are_no_records() -> None:
    document = (
        "<shop><item><ean>9</ean></item><list><item><ean>1</ean><item><ean>8</ean></item></item><item><ean>2</ean></item>"
        "</list><tail><item><ean>7</ean></item></tail></shop>"
    )
    assert read(document, record_path="shop/list/item") == (["ean", "item/ean"], [(1, ["1", "8"]), (2, ["2", ""])])


def test_names_that_come_up_late_are_reported_with_their_values() -> None:
    many = "<p><ean>1</ean></p>" * 1000
    columns, rows = read(f"<l>{many}<p><ean>2</ean><promo>-20 %</promo></p></l>")
    assert columns == ["ean"]
    late = rows[-1][1]
    assert isinstance(late, FlawedRow)
    assert (late, late.unknown) == (["2"], {"promo": "-20 %"})


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-15", "windows-1252"]
)
def test_declared_encodings(encoding: str) -> None:
    declared = (
        f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig").removesuffix("-le").removesuffix("-be")}"?>'
    )
    assert read((declared + FLAT).encode(encoding))[1][0] == (1, ["1", "é"])


HONEST = '<!DOCTYPE l SYSTEM "http://127.0.0.1:{port}/l.dtd" [<!-- ]> \' --><!ENTITY % p "(a|b)"> <!ELEMENT l (p*)> ]>'


def test_a_document_type_declaration_is_read_over_without_loading_anything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        called = threading.Event()

        def accept() -> None:
            try:
                server.accept()
                called.set()
            except OSError:
                pass

        listener = threading.Thread(target=accept)
        listener.start()
        doctype = HONEST.replace("{port}", str(server.getsockname()[1]))
        records = "<p><a>&lt;&amp;&gt;&quot;&apos;&#233;</a></p><p><a>x</a></p>"
        document = f'<?xml version="1.0"?>\n<!-- <l> -->{doctype}<l>{records}</l>'
        assert read(document)[1] == [(1, ["<&>\"'é"]), (2, ["x"])]
        listener.join()
    assert not called.is_set()


@pytest.mark.parametrize(
    "content",
    ["<p><a>&x;</a></p>", '<p a="&x;"/>', "<p><a>&x;</a></p>&x;", "<p>&undeclared;</p>", "<p>&nbsp;</p>"],
)
def test_entities_are_refused_by_name(content: str, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    document = f'<!DOCTYPE l [<!ENTITY x SYSTEM "file://{secret}">]>\n<l><p><a>1</a></p>{content}</l>'
    with pytest.raises(TableError, match=r"The file refers to the entity &(x|undeclared|nbsp);, line 2, ") as error:
        read(document)
    assert "SECRET" not in str(error.value)


def test_entities_do_not_expand() -> None:
    lines = "".join(f'<!ENTITY a{i} "&a{i - 1};&a{i - 1};">' for i in range(1, 60))
    bomb = f'<!DOCTYPE l [<!ENTITY a0 "ha">{lines}]><l><p a="&a59;"/></l>'
    with pytest.raises(TableError, match="The file refers to the entity &a59;"):
        read(bomb)


@pytest.mark.parametrize(("path", "traps", "jumps"), [("a/b/p", 40, 3), ("p", 40, 3), ("a/b/p", 5, 1)])
def test_reading_resumes_after_any_record(path: str, traps: int, jumps: int) -> None:
    """traps: there are four among so many records. jumps: to more places than these at least."""
    pick = random.Random(7)
    texts = ["", "é", "<![CDATA[</g:p>]]>", "<g:p/>", "<!-- </g:p> -->", "x" * 3000, "<g:p>inner</g:p>", "&#233;"]

    def record(number: int) -> str:
        trap = "</g:p>" + '<g:p id="trap"/>' * 80
        after = {1: f"<!-- {trap} -->", 2: f"<?p {trap}?>", 3: f"<other><![CDATA[{trap}]]></other>", 4: "</b><b>"}
        between = after.get(number % traps, "")
        return f'<g:p id="{number}"><g:t>{pick.choice(texts)}</g:t></g:p>{between}\n'

    body = "".join(map(record, range(1500)))
    document = (
        f'<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE a [<!ELEMENT a ANY>]>\n<a xmlns="urn:d" xmlns:g="urn:g">'
        f"<head>{'<x/>' * 100}</head><b>{body}</b></a>"
    )
    data = document.encode("iso-8859-1")
    table = open_table(io.BytesIO(data), format="xml", record_path=path)
    whole, tokens = [], []
    for row in table:
        whole.append(row)
        tokens.append(json.dumps(table.position))
    assert [cells[0] for _, cells in whole] == [str(i) for i in range(1500)]
    assert len({json.loads(token)["place"]["offset"] for token in tokens}) > jumps
    for at in (0, 1, *pick.sample(range(1500), 25), 1498, 1499):
        resumed = open_table(io.BytesIO(data), resume=json.loads(tokens[at]))
        assert list(resumed) == whole[at + 1 :]
        assert (resumed.columns, resumed.detected) == (table.columns, table.detected)


def test_resuming_in_utf16() -> None:
    document = (
        '<?xml version="1.0" encoding="utf-16"?><l>' + "".join(f"<p><a>é{i}</a></p>" for i in range(9000)) + "</l>"
    )
    data = document.encode("utf-16")
    table = open_table(io.BytesIO(data), format="xml")
    tokens = [table.position for _ in table]
    assert tokens[8000]["place"]["offset"] > 0
    rest = list(open_table(io.BytesIO(data), resume=tokens[8000]))
    assert (len(rest), rest[0]) == (999, (8002, ["é8001"]))


def test_a_damaged_document_gives_its_records_and_then_an_error() -> None:
    rows = iter(open_table(io.BytesIO(b"<l>" + b"<p><a>1</a></p>" * 3000 + b"<p><a>2</p></l>"), format="xml"))
    assert sum(1 for _, _ in zip(range(3000), rows, strict=False)) == 3000
    with pytest.raises(TableError, match="The file is not well-formed XML: Opening and ending tag mismatch"):
        next(rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (b"  \n", "The file is empty"),
        (b"hello <a/>", "there is text before the first element"),
        (b"<!-- only -->", "The file holds no XML element"),
        (b"<l>text</l>", "The XML file holds no records: no element has fields"),
        (b"<l><p><a/></p><p><a/></p></l>", "The XML file has no element with content at l/p"),
        (b"<x:><p a='1'/></x:>", "'' cannot be the name of an XML element"),
        (b"<l><p><a>1</a></p>", "The file is not well-formed XML: "),
        (b"<l><p><a>\xff</a></p></l>", "The file is not well-formed XML: "),
        (b'<?xml version="1.0" encoding="klingon"?><l><p><a>1</a></p></l>', "klingon"),
        (b"<!DOCTYPE l [" + b"<!-- x -->" * 200_000 + b"]><l/>", "begins with more than 1 MB"),
        (b"<!DOCTYPE l [ <!ENTITY a '>", "The file holds no XML element"),
        (b"<l>" + b"<p>" * 300, "Excessive depth in document|not well-formed"),
        (b"<l><p><a>" + b"x" * 11_000_000 + b"</a></p></l>", "The file is not well-formed XML: "),
        (b"<l><p>" + b"<a>1</a>" * 4_300_000 + b"</p></l>", "A <p> is longer than 32 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_is_no_list_of_records_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(data, record_path="l/p" if len(data) > 10_000_000 else None)


READ_NOISE = """
import io
from pim.tabular import open_table
noise = b"<g><x>1</x><y><z a='1'>2</z></y></g>" * 200_000
document = b"<l><head>" + noise + b"</head><p><a>1</a></p>" + noise + b"<p><a>2</a></p></l>"
assert list(open_table(io.BytesIO(document), format="xml", record_path="l/p")) == [(1, ["1"]), (2, ["2"])]
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_what_stands_around_the_records_takes_no_memory() -> None:
    # in a process of its own: Python does not see the memory of libxml2
    peak = int(subprocess.check_output([sys.executable, "-c", READ_NOISE])) / 1024
    assert peak < 100  # MB, of which 30 are the document and Python itself 35
