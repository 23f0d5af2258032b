"""The smallest client of the change feed: fetch what changed until a page is short.

Set PIM_API_KEY (with the scope ext:products:read) and PIM_BASE_URL. `sync.py` beside this file also remembers how far
it came.
"""

import json
import os
from typing import Any

import httpx

API_KEY = os.environ["PIM_API_KEY"]
BASE = os.environ.get("PIM_BASE_URL", "http://127.0.0.1:8000") + "/api/v1/ext"


def process(products: list[dict[str, Any]]) -> None:
    """Your integration logic; a product with `deleted` is to be removed."""
    for product in products:
        print(json.dumps(product))


last_sync = "2026-01-01T00:00:00Z"

while True:
    r = httpx.get(
        f"{BASE}/products/delta",
        params={"since": last_sync, "page_size": 500},
        headers={"X-API-Key": API_KEY},
    )
    body = r.json()
    products = body["data"]
    last_sync = body["meta"]["updated_at"]

    process(products)
    if len(products) < 500:
        break
