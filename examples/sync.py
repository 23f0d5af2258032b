"""Keeps a copy of the catalogue in an SQLite file, carrying on where the last run stopped: run it as often as you like.

    PIM_API_KEY=pm_live_… python sync.py copy.sqlite3

The products of a page and the place to carry on from are stored in one transaction, so a run that is interrupted
anywhere repeats at most one page, and repeating a page does no harm.
"""

import json
import os
import sqlite3
import sys
import time
from typing import Any

import httpx

BASE = os.environ.get("PIM_BASE_URL", "http://127.0.0.1:8000") + "/api/v1/ext"
PAGE_SIZE = 500
BEGINNING = "1970-01-01T00:00:00Z"


def main(path: str) -> None:
    copy = sqlite3.connect(path)
    copy.execute("CREATE TABLE IF NOT EXISTS product (id TEXT PRIMARY KEY, ean TEXT, data TEXT)")
    copy.execute("CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), since TEXT)")
    row = copy.execute("SELECT since FROM progress").fetchone()
    since = row[0] if row else BEGINNING
    with httpx.Client(headers={"X-API-Key": os.environ["PIM_API_KEY"]}, timeout=60) as client:
        while True:
            products, since = page(client, since)
            with copy:
                for product in products:
                    store(copy, product)
                copy.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", [since])
            if len(products) < PAGE_SIZE:
                break
    (count,) = copy.execute("SELECT count(*) FROM product").fetchone()
    copy.close()
    print(f"{count} products, up to {since}")


def page(client: httpx.Client, since: str) -> tuple[list[dict[str, Any]], str]:
    """What changed since then, and where to carry on. Waits when it is asked to; other errors end the run."""
    while True:
        answer = client.get(f"{BASE}/products/delta", params={"since": since, "page_size": PAGE_SIZE})
        if answer.status_code not in (429, 503):
            break
        time.sleep(int(answer.headers["Retry-After"]))
    answer.raise_for_status()
    body = answer.json()
    return body["data"], body["meta"]["updated_at"]


def store(copy: sqlite3.Connection, product: dict[str, Any]) -> None:
    if product["deleted"]:
        copy.execute("DELETE FROM product WHERE id = ?", [product["id"]])
    else:
        values = [product["id"], product["ean"], json.dumps(product)]
        copy.execute("INSERT OR REPLACE INTO product VALUES (?, ?, ?)", values)


if __name__ == "__main__":
    main(sys.argv[1])
