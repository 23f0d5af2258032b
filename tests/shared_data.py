"""The one way tests reach the folder of real-world sample files that is kept beside the checkout."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("PIM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared"))


def shared_data(*parts: str) -> Path:
    """The path of a sample file; skips the running test, saying so, where the folder is absent."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"sample data not available: {'/'.join(parts)}")
    return path
