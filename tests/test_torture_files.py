"""Hostile and odd files: each ends in rows or in a TableError, within bounded memory and processor time."""

import io
import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pim.tabular import TableError, open_table
from tests.shared_data import shared_data
from tests.test_compressed_files import FILES, PACKERS

# Reads every file named on stdin in one process that must not use more than 1 GB of addresses or 60 s of processor,
# and writes what became of each: rows, or the message.
READ_ALL = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from pim.tabular import TableError, UnreadableRow, open_table
outcomes = {}
for name in sys.stdin.read().split("\\n"):
    try:
        with open_table(name) as table:
            outcomes[name] = sum(1 for _ in table)
    except TableError as error:
        outcomes[name] = str(error)
peak = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) // 1024
print(json.dumps([outcomes, peak]))
"""

WORKBOOKS: dict[str, int | str] = {
    "54764-2.xlsx": "The file refers to the entity &lol9;, li",
    "54764.xlsx": "The file refers to the entity &lol9;, li",
    "CellWithStringDataType.xlsx": 1,
    "CellsWithTimeSpanDataTypeOrFormatting.xlsx": 11,
    "Date1904System.xlsx": 2,
    "DateFormatTests.xlsx": 3,
    "EmptyCellValue.xlsx": "Sheet 'Sheet1' has a header but no rows",
    "InlineStrings.xlsx": 6,
    "NewlineInFormulas.xlsx": 9,
    "NoReferencesOnRowsOrCells.xlsx": 1,
    "SampleSS.strict.xlsx": 2,
    "TableHeadersWithLineBreaks.xlsx": 6,
    "any_sheets.xlsx": 3,
    "clusterfuzz-testcase-minimized-POIXSSFFuzzer-5937385319563264.xlsx": 22,
    "clusterfuzz-testcase-minimized-XLSX2CSVFuzzer-5025401116950528.xlsx": "The ZIP archive (or Excel workbook) is d",
    "clusterfuzz-testcase-minimized-XLSX2CSVFuzzer-5542865479270400.xlsx": "The ZIP archive (or Excel workbook) is d",
    "clusterfuzz-testcase-minimized-XLSX2CSVFuzzer-5636439151607808.xlsx": "The ZIP archive (or Excel workbook) is d",
    "clusterfuzz-testcase-minimized-XLSX2CSVFuzzer-6504225896792064.xlsx": "The ZIP archive (or Excel workbook) is d",
    "clusterfuzz-testcase-minimized-XLSX2CSVFuzzer-6594557414080512.xlsx": "The ZIP archive (or Excel workbook) is d",
    "date.xlsx": 2,
    "date_1904.xlsx": 2,
    "date_iso.xlsx": 5,
    "empty_sheet.xlsx": "Every sheet of the workbook is empty",
    "encoded_entities.xlsx": "Sheet 'Sheet1' has a header but no rows",
    "errors.xlsx": 6,
    "has_x000D_.xlsx": "Sheet 'Sheet1' has a header but no rows",
    "header-row.xlsx": 2,
    "hidden_sheets.xlsx": "Every sheet of the workbook is empty",
    "inlineStr_cdata.xlsx": 1,
    "inlineStr_with_value.xlsx": 1,
    "invalid.xlsx": "The ZIP archive must hold exactly one fi",
    "issues.xlsx": 5,
    "lockfile_LoadPivotTables.xlsx": "This is not an Excel workbook (.xlsx); s",
    "merged_range.xlsx": 2,
    "minimal_package.xlsx": 194,
    "nonstandard-xml-ns-prefix.xlsx": 2,
    "pass_protected.xlsx": "The workbook is protected by a password;",
    "poc-shared-strings.xlsx": "The first row is no header: cell 1 has 1",
    "poc-xmlbomb-empty.xlsx": "The file refers to the entity &a5;, line",
    "poc-xmlbomb.xlsx": "The file refers to the entity &a5;, line",
    "preserve-whitespace.xlsx": "Sheet 'Sheet1' has a header but no rows",
    "protected_passtika.xlsx": "The workbook is protected by a password;",
    "richtext-namespaced.xlsx": "Sheet 'Sheet1' has a header but no rows",
    "row-index-1-based.xlsx": 1,
    "shared_formulas.xlsx": 40,
    "strict_iso_paths.xlsx": 75,
    "tdf105840_allRowsHidden.xlsx": "Every sheet of the workbook is empty",
    "temperature-in-middle.xlsx": 2,
    "testConvertExcelToXmlWrongSeparatorsInDeliveryTime.xlsx": 1,
    "testCreateBMEcatFromExcelFullDataGTINAlsZahl.xlsx": 1,
    "testCreateBMEcatFromExcelFullDataStrictValidation.xlsx": 2,
    "testCreateBMEcatNoPossibleSheet.xlsx": 1,
    "testCreateBMEcatTwoPossibleSheets.xlsx": 1,
    "unopim_1k_products_no_dimension.xlsx": 1000,
    "unopim_empty.xlsx": "Every sheet of the workbook is empty",
    "whitespace_trim.xlsx": 2,
    "xxe_in_schema.xlsx": 1,
}


def outcomes(*folder: str) -> dict[str, int | str]:
    """What became of each file in a folder of the sample files, by its name."""
    paths = [path for path in sorted(shared_data("data", "torture", *folder).rglob("*")) if path.is_file()]
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL], input="\n".join(map(str, paths)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, peak = json.loads(done.stdout)
    assert peak < 120  # MB
    assert len(found) == len(paths)
    return {Path(name).name: outcome for name, outcome in found.items()}


def summary(found: dict[str, int | str]) -> dict[str, int | str]:
    return {name: outcome if isinstance(outcome, int) else outcome[:40] for name, outcome in found.items()}


def test_workbooks() -> None:
    found = outcomes("xlsx")
    assert summary(found) == WORKBOOKS


def test_xml() -> None:
    found = outcomes("xml")
    read = {name: outcome for name, outcome in found.items() if isinstance(outcome, int)}
    assert read == {"quadratic-defattr.xml": 1}
    bombs = {
        name: outcome.split(";")[0].removeprefix("The file refers to the entity ")[:10]
        for name, outcome in found.items()
        if isinstance(outcome, str) and "refers to the entity" in outcome
    }
    assert bombs == {
        "extparsedent.xml": "&c",
        "good.xml": "&d",
        "good_attr.xml": "&d",
        "huge_dtd.xml": "&ent",
        "lol_classic.xml": "&ha48",
        "lol_eg.xml": "&g3",
        "lol_ig_attr.xml": "&laugh13",
        "lol_ig_content.xml": "&laugh13",
        "lol_long_name.xml": "&laughhhhh",
        "lol_long_value.xml": "&laugh29",
        "rec_ext.ent": "&e",
        "rec_ext_ent.xml": "&e",
    }


@pytest.mark.parametrize("folder", ["csv", "json"])
def test_csv_and_json(folder: str) -> None:
    assert len(outcomes(folder)) > 50


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("ending", FILES)
def test_damaged_files_raise_nothing_else(ending: str, packing: str) -> None:
    pick = random.Random(ending + packing)
    whole = PACKERS[packing](FILES[ending][:6000] if ending != "xlsx" else FILES[ending], f"feed.{ending}")
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(pick.randrange(1, 6)):
            at = pick.randrange(len(data))
            match pick.randrange(4):
                case 0:
                    data[at] = pick.randrange(256)
                case 1:
                    del data[at : at + pick.randrange(1, 50)]
                case 2:
                    data[at:at] = data[: pick.randrange(1, 50)]
                case _:
                    del data[max(at, 1) :]
        with (
            suppress(TableError),
            open_table(io.BytesIO(bytes(data)), format=ending.removeprefix("nd")) as table,
        ):
            for _ in table:
                json.dumps(table.position)
