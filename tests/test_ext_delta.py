"""A client that only repeats the published loop ends with exactly the catalogue, whatever happens meanwhile."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from django.db import OperationalError, connection, connections, transaction

from catalog import changes
from catalog.editing import delete_product
from catalog.models import Brand, Product, ProductRevision
from catalog.provenance import Provenance
from extapi import queries
from tests.make import api_client, make_api_key, make_brand, make_category, make_ean, make_product

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[1]
EXT = "/api/v1/ext/products"
DELTA = f"{EXT}/delta"
EARLY = "2020-01-01T00:00:00Z"
LOOP = (ROOT / "examples" / "delta_loop.py").read_text(encoding="utf-8").partition("while True:")
AS_TESTS = Provenance(ProductRevision.Source.ADMIN, "tests")


class Replica:
    """A client's copy of the catalogue, kept by the loop of the example, word for word."""

    def __init__(self, base: str, *, page_size: int = 500) -> None:
        self.products: dict[str, dict] = {}
        self.since = EARLY
        self.pages: list[int] = []
        self._key = make_api_key("ext:products:read")
        self._base = base
        self._loop = compile("".join(LOOP[1:]).replace("500", str(page_size)), "delta_loop", "exec")

    def sync(self) -> list[int]:
        """The numbers of products in the pages it took."""
        self.pages = []
        names = {"httpx": httpx, "API_KEY": self._key, "BASE": self._base, "last_sync": self.since}
        names["process"] = self._process
        exec(self._loop, names)
        self.since = names["last_sync"]
        return self.pages

    def _process(self, products: list[dict]) -> None:
        self.pages.append(len(products))
        for product in products:
            if product["deleted"]:
                self.products.pop(product["id"], None)
            else:
                self.products[product["id"]] = product


def table() -> dict[str, dict]:
    """The live products as the API shows them."""
    ids = list(Product.objects.live().values_list("id", flat=True))
    products = json.loads(f"[{queries.products_in_order(ids, names=queries.COLUMNS)}]")
    return {product["id"]: product for product in products}


@pytest.fixture
def base(live_server) -> str:
    return f"{live_server.url}/api/v1/ext"


def delta(client, since: str, **parameters: object):
    answer = client.get(DELTA, {"since": since, **parameters})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    return body["data"], body["meta"]


def test_what_was_written_is_in_the_next_page():
    client = api_client()
    since = delta(client, EARLY)[1]["updated_at"]
    writes: list[Callable[[], object]] = [
        lambda: client.post(EXT, {"ean": "96385074", "name": "Pen", "brand_name": "Acme"}),
        lambda: client.post(f"{EXT}/batch", {"products": [{"ean": "96385074", "weight": 1}]}),
        lambda: client.put(f"{EXT}/96385074", {"name": "Ink", "brand_name": "Acme"}),
        lambda: client.patch(f"{EXT}/96385074", {"weight": 2}),
        lambda: Brand.objects.update(name="Apex"),
        lambda: Product.objects.update(price=1),
        lambda: delete_product(product_id=Product.objects.get().pk, provenance=AS_TESTS),
        lambda: client.post(EXT, {"ean": "96385074", "name": "Back"}),
    ]
    for write in writes:
        write()
        rows, meta = delta(client, since)
        assert [row["ean"] for row in rows] == ["96385074"], write
        assert meta["total"] == 1
        since = meta["updated_at"]
        assert delta(client, since)[0] == []


def test_deleted_products_are_told_and_come_back_under_their_id():
    client = api_client()
    product = make_product(ean="96385074", status="active")
    since = delta(client, EARLY)[1]["updated_at"]
    delete_product(product_id=product.pk, provenance=AS_TESTS)
    (gone,), meta = delta(client, since)
    told = {name: gone[name] for name in ("id", "deleted", "is_active", "status")}
    assert told == {"id": str(product.pk), "deleted": True, "is_active": False, "status": "archived"}
    assert [row["id"] for row in client.get(EXT, {"updated_since": since}).json()["data"]] == [str(product.pk)]
    assert client.get(EXT).json()["data"] == []
    client.post(EXT, {"ean": "96385074", "name": "Back"})
    (back,), _meta = delta(client, meta["updated_at"])
    assert (back["id"], back["deleted"], back["is_active"]) == (str(product.pk), False, True)


def test_a_record_that_was_removed_with_sql_is_told_by_its_ean():
    client = api_client()
    product = make_product(ean="96385074")
    since = delta(client, EARLY)[1]["updated_at"]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM catalog_product WHERE ean = '96385074'")
    rows, _meta = delta(client, since, fields="ean")
    state = {"is_active": False, "status": "archived", "deleted": True, "removed": True}
    assert rows == [{"id": str(product.pk), "ean": "96385074"} | state]


def test_the_order_is_that_of_the_changes():
    client = api_client()
    products = [make_product() for _ in range(4)]
    since = delta(client, EARLY)[1]["updated_at"]
    order = [products[2], products[0], products[3], products[1]]
    for number, product in enumerate(order):
        if number == 1:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM catalog_product WHERE id = %s", [product.pk])
        else:
            Product.objects.filter(pk=product.pk).update(name="New")
        changes.drain()
    rows, _meta = delta(client, since)
    assert [row["id"] for row in rows] == [str(product.pk) for product in order]
    assert [row.get("removed", False) for row in rows] == [False, True, False, False]


def test_a_transaction_that_commits_late_is_not_lost():
    client = api_client()
    slow, quick = make_product(), make_product()
    since = delta(client, EARLY)[1]["updated_at"]
    written, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Product.objects.filter(pk=slow.pk).update(name="Slow")
            written.set()
            release.wait(30)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert written.wait(30)
    Product.objects.filter(pk=quick.pk).update(name="Quick")
    rows, meta = delta(client, since)
    assert [row["name"] for row in rows] == ["Quick"]
    release.set()
    holder.join()
    rows, _meta = delta(client, meta["updated_at"])
    assert [row["name"] for row in rows] == ["Slow"]


def test_ten_thousand_rows_of_one_statement_are_twenty_one_requests(base):
    Product.objects.bulk_create(Product(ean=(ean := make_ean()), barcode=ean, name="x") for _ in range(10_000))
    replica = Replica(base)
    assert replica.sync() == [500] * 20 + [0]
    Product.objects.update(name="y")
    assert replica.sync() == [500] * 20 + [0]
    assert replica.sync() == [0]
    assert replica.products == table()


def test_a_since_from_the_future_is_led_back():
    client = api_client()
    make_product()
    rows, meta = delta(client, "2999-01-01T00:00:00Z")
    assert rows == []
    assert meta["updated_at"] < "2999"
    make_product(ean="96385074")
    assert [row["ean"] for row in delta(client, meta["updated_at"])[0]] == ["96385074"]


def test_pages_of_a_list_since_then_miss_nothing():
    client = api_client()
    old = make_product()
    since = client.get(EXT).json()["meta"]["updated_at"]
    delta(client, EARLY)
    since = delta(client, EARLY)[1]["updated_at"]
    changed = [make_product() for _ in range(5)]
    delete_product(product_id=changed[1].pk, provenance=AS_TESTS)
    answers = [client.get(EXT, {"updated_since": since, "page": page, "page_size": 2}).json() for page in (1, 2, 3)]
    assert [row["id"] for answer in answers for row in answer["data"]] == [str(product.pk) for product in changed]
    assert {answer["meta"]["total"] for answer in answers} == {5}
    Product.objects.filter(pk=old.pk).update(name="Late")
    again = client.get(EXT, {"updated_since": answers[0]["meta"]["updated_at"]}).json()
    assert [row["id"] for row in again["data"]] == [str(old.pk)]


def test_the_loop_as_published_under_fire(base):
    eans = [make_ean() for _ in range(400)]
    brands = [make_brand(f"Brand {number}") for number in range(5)]
    category = make_category()
    Product.objects.bulk_create(
        Product(ean=ean, barcode=ean, name="x", brand=random.choice(brands), category=category) for ean in eans
    )
    writer_key = make_api_key()

    def some(limit: int = 40) -> list[str]:
        return random.sample(eans, random.randint(1, limit))

    def through_the_api() -> None:
        products = [{"ean": ean, "name": f"n{random.random()}", "brand_name": "Brand 1"} for ean in some()]
        httpx.post(f"{base}/products/batch", json={"products": products}, headers={"X-API-Key": writer_key}, timeout=60)

    def with_sql() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE catalog_product SET weight = random() WHERE id IN"
                " (SELECT id FROM catalog_product WHERE ean = ANY(%s) ORDER BY ean FOR UPDATE)",
                [some()],
            )
            time.sleep(random.random() / 5)
            if random.random() < 0.2:
                transaction.set_rollback(True)

    def rename() -> None:
        name = f"Renamed {random.random()}"
        Brand.objects.filter(pk=random.choice(brands).pk).update(name=name)
        time.sleep(0.05)

    def delete_and_revive() -> None:
        for product in Product.objects.live().filter(ean__in=some(4)).order_by("ean"):
            with suppress(Product.DoesNotExist):
                delete_product(product_id=product.pk, provenance=AS_TESTS)
        products = [{"ean": ean, "name": "Back"} for ean in some(4)]
        httpx.post(f"{base}/products/batch", json={"products": products}, headers={"X-API-Key": writer_key}, timeout=60)

    def everything_at_once() -> None:
        with transaction.atomic():
            ids = Product.objects.order_by("ean").select_for_update().values_list("pk", flat=True)
            Product.objects.filter(pk__in=list(ids)).update(price=random.randint(1, 1000))
        time.sleep(0.8)

    replicas = [Replica(base), Replica(base, page_size=7)]
    polls = [replica.sync for replica in replicas]
    with at_work(*polls), at_work(through_the_api, with_sql, with_sql, rename, delete_and_revive, everything_at_once):
        time.sleep(4)
    for replica in replicas:
        replica.sync()
        assert replica.sync() == [0]
        assert replica.products == table()
    assert len(table()) > 300


@contextmanager
def at_work(*actions: Callable[[], object]) -> Iterator[None]:
    """Each repeated in a thread of its own; one that PostgreSQL picks as a deadlock's victim just goes on."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(action: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                with suppress(OperationalError):
                    action()
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work, args=(action,)) for action in actions]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []


def run(*command: str, base: str, **extra: str) -> str:
    environment = os.environ | {"PIM_API_KEY": make_api_key(), "PIM_BASE_URL": base.removesuffix("/api/v1/ext")} | extra
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_loop_example_prints_the_products(base):
    products = [make_product() for _ in range(3)]
    printed = run(sys.executable, "examples/delta_loop.py", base=base).splitlines()
    assert [json.loads(line)["ean"] for line in printed] == [product.ean for product in products]


def test_the_copying_example_carries_on_where_it_stopped(base, tmp_path):
    copy = tmp_path / "copy.sqlite3"

    def sync() -> dict[str, dict]:
        run(sys.executable, "examples/sync.py", str(copy), base=base)
        with sqlite3.connect(copy) as database:
            return {pk: json.loads(data) for pk, data in database.execute("SELECT id, data FROM product")}

    products = [make_product() for _ in range(3)]
    assert sync() == table()
    delete_product(product_id=products[0].pk, provenance=AS_TESTS)
    Product.objects.filter(pk=products[1].pk).update(name="New")
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE product SET data = '{}' WHERE id = ?", [str(products[2].pk)])
    synced = sync()
    assert synced == table() | {str(products[2].pk): {}}  # what did not change was not fetched again


def test_the_curl_example_works(base):
    printed = [json.loads(line) for line in run("sh", "examples/products.sh", base=base).splitlines()]
    assert [answer["success"] for answer in printed] == [True] * 7
    assert Product.objects.get(ean="4006381333931").status == "inactive"
    again = [json.loads(line) for line in run("sh", "examples/products.sh", base=base).splitlines()]
    assert again[1]["data"]["created"] is False  # another key made the request
