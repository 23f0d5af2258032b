"""Benchmarks of the external API in one process: requests through the whole stack, with key and rate limit.

The limit of a page is what PostgreSQL needs to put the same products together as JSON, without authentication,
total, framework or WSGI. The limit of a batch is one statement that inserts, or updates, the same rows, with triggers
and indexes but without revisions.
"""

import io
import json
import sys
import time
from collections.abc import Callable, Sequence

from pim.api.rates import Rate

FILL = """
    INSERT INTO catalog_product (id, ean, barcode, name, status, brand_id, price, weight, reference, description)
    SELECT (lpad(to_hex(i), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid, lpad(i::text, 13, '0'),
        lpad(i::text, 13, '0'), 'Product number ' || i, 'active', (SELECT id FROM catalog_brand LIMIT 1), i %% 1000,
        1.5, 'R' || i, repeat('<p>Some description</p>', 10)
    FROM generate_series(1, %s) i
"""
INSERT = """
    INSERT INTO catalog_product (id, ean, barcode, name, status, brand_id, weight, description)
    SELECT gen_random_uuid(), e.ean, e.ean, 'New', 'active', (SELECT id FROM catalog_brand LIMIT 1), 1.5,
        repeat('<p>x</p>', 20) FROM unnest(%s::text[]) e(ean) ORDER BY e.ean
"""
UPDATE = """
    UPDATE catalog_product p SET weight = 1.6, updated_at = statement_timestamp()
    FROM (SELECT id FROM catalog_product WHERE ean = ANY(%s) ORDER BY ean FOR UPDATE) l WHERE l.id = p.id
"""
PRODUCTS = "/api/v1/ext/products"
BATCH = 500


class Caller:
    """Calls the application as a web server does."""

    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        from pim.apikeys.keys import create_key

        self._key = create_key(name="bench", scopes=["ext:products:read", "ext:products:write"])[1]
        self._application = get_wsgi_application()

    def __call__(self, address: str, body: bytes | None = None) -> bytes:
        path, _mark, query = address.partition("?")
        status: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "bench",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": sys.stderr,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body or b"")),
            "HTTP_X_API_KEY": self._key,
        }
        answer = self._application(environ, lambda line, _headers: status.append(line))
        content = b"".join(answer)
        answer.close()
        assert status[0].startswith("200"), (status, content[:500])
        return content


def pages(wipe: Callable[[], None], *, sizes: Sequence[int]) -> None:
    """Pages of the list and of the delta, in requests per second, beside bare SQL and JSON."""
    from django.conf import settings
    from django.db import connection

    from catalog import changes

    settings.RATE_LIMIT = Rate(10**9, 1, 10**9)
    call = Caller()
    for size in sizes:
        wipe()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO catalog_brand (id, name) VALUES (gen_random_uuid(), 'Acme')")
            cursor.execute(FILL, [size])
            changes.drain()
            cursor.execute("VACUUM ANALYZE catalog_product, catalog_productchange")
        for rows in (50, 500):
            limit = _per_second(lambda rows=rows: _bare(rows))
            for name, address in (
                ("list", f"{PRODUCTS}?page_size={rows}"),
                ("last page", f"{PRODUCTS}?page_size={rows}&page={size // rows - 1}"),
                ("delta", f"{PRODUCTS}/delta?since=2020-01-01&page_size={rows}"),
            ):
                ours = _per_second(lambda address=address: call(address))
                print(
                    f"ext {name:<9} {rows:>3} of {size:>9,}: {ours:>6,.0f} requests/s = {ours / limit:.2f} of SQL and"
                    f" JSON ({limit:,.0f}/s)",
                    flush=True,
                )


def batches(wipe: Callable[[], None], *, count: int = 10) -> None:
    """Batches of 500 new and of 500 changed products, beside one statement for the same rows."""
    from django.db import connection

    wipe()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO catalog_brand (id, name) VALUES (gen_random_uuid(), 'Acme')")
    call = Caller()

    def eans(start: int, batch: int) -> list[str]:
        return [str(start + batch * BATCH + i) for i in range(BATCH)]

    def body(batch: int, weight: float) -> bytes:
        rest = {"name": "New", "brand_name": "Acme", "weight": weight, "description": "<p>x</p>" * 20}
        return json.dumps({"products": [{"ean": ean} | rest for ean in eans(10**12, batch)]}).encode()

    def statement(sql: str, batch: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, [eans(2 * 10**12, batch)])

    for name, weight, sql in (("new", 1.5, INSERT), ("changed", 1.6, UPDATE)):
        ours = limit = 0.0
        for batch in range(count):  # by turns: the machine is as busy for the one as for the other
            sent = body(batch, weight)
            ours += _seconds(lambda sent=sent: call(f"{PRODUCTS}/batch", sent))
            limit += _seconds(lambda sql=sql, batch=batch: statement(sql, batch))
        rows = count * BATCH
        print(
            f"ext batch of 500 {name:<7}: {rows / ours:>7,.0f} products/s = {limit / ours:.2f} of one statement"
            f" ({rows / limit:,.0f}/s)",
            flush=True,
        )


def _bare(rows: int) -> bytes:
    from django.db import connection

    from extapi import queries

    columns = ", ".join(f"{sql} AS {name}" for name, sql in queries.COLUMNS.items())
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT json_agg(r)::text FROM (SELECT {columns} FROM catalog_product p"
            " LEFT JOIN catalog_brand b ON b.id = p.brand_id LEFT JOIN catalog_supplier s ON s.id = p.supplier_id"
            " WHERE p.deleted_at IS NULL ORDER BY p.id LIMIT %s) r",
            [rows],
        )
        return str(cursor.fetchone()[0]).encode()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _per_second(work: Callable[[], object], *, rounds: int = 5, calls: int = 20) -> float:
    """Of the best of several rounds: the machine may be busy with something else."""
    work()
    return calls / min(_seconds(lambda: [work() for _ in range(calls)]) for _ in range(rounds))
