"""Text cells that a spreadsheet would run as a formula: defused on export, restored on import.

OWASP ASVS 1.2.10: a leading apostrophe makes a spreadsheet show the cell as text.
"""

import re

_RISKY = re.compile(r"'*[=+\-@\t\r\0]")
_DEFUSED = re.compile(r"'+[=+\-@\t\r\0]")


def escape_formula(text: str) -> str:
    """`text` with an apostrophe in front if it could be read as a formula.

    Text that already looks defused gets one too: `unescape_formula` then gives back every text as it was.
    """
    return "'" + text if _RISKY.match(text) else text


def unescape_formula(text: str) -> str:
    """What `escape_formula` was given, and what a spreadsheet means by a leading apostrophe."""
    return text[1:] if text[:1] == "'" and _DEFUSED.match(text) else text
