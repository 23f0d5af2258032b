"""The change feed: no writer is forgotten, and a client that polls loses nothing whatever else goes on."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F

from catalog import changes
from catalog.changes import TICK, changed_since, delta_page, drain, high_water
from catalog.editing import delete_product, edit_product
from catalog.models import Brand, Category, Product, ProductChange, ProductRevision, RenamedProduct, Supplier
from catalog.provenance import Provenance
from catalog.tasks import stamp_changes
from catalog.upsert import Row, upsert_products
from tests.feed import ean
from tests.make import make_brand, make_category, make_ean, make_product, make_supplier

BY = Provenance(ProductRevision.Source.API, "test")
START = datetime(2020, 1, 1, tzinfo=UTC)


def sql(statement: str, *parameters: Any, using: Any = connection) -> None:
    with using.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def upsert(*rows: tuple[str, str], **options: Any) -> None:
    numbered = [Row(number, code, [name]) for number, (code, name) in enumerate(rows)]
    upsert_products(fields=["name"], rows=numbered, provenance=BY, **options)


class Client:
    """A client that runs the loop printed for ERPs, as printed, and keeps a copy of the products by id."""

    def __init__(self, page_size: int = 500) -> None:
        self.page_size = page_size
        self.last_sync = START
        self.copy: dict[UUID, tuple[Any, ...]] = {}
        self.requests = 0

    def poll(self) -> list[UUID]:
        """One run of the loop; the ids it was given."""
        received = []
        while True:
            page = delta_page(since=self.last_sync, page=1, page_size=self.page_size)
            self.last_sync = page.next_since
            self.requests += 1
            self.process(page.rows)
            received += [row.product_id for row in page.rows]
            if len(page.rows) < self.page_size:
                return received

    def process(self, rows: list[changes.Change]) -> None:
        self.copy |= products(pk__in=[row.product_id for row in rows])
        for row in rows:
            if row.removed_ean:
                self.copy.pop(row.product_id, None)


def products(**conditions: Any) -> dict[UUID, tuple[Any, ...]]:
    """What clients see of products, by id."""
    seen = ("ean", "name", "status", "price", "brand__name", "supplier__code", "category__name", "deleted_at")
    return {row[0]: row[1:] for row in Product.objects.filter(**conditions).values_list("pk", *seen)}


def rename(instance: Any) -> None:
    """As the back office does it: the whole row is saved."""
    instance.name = "Renamed"
    instance.save()


@contextmanager
def second_connection() -> Iterator[Any]:
    """Another session, in a transaction of its own until `commit` or `rollback`."""
    other = connections.create_connection("default")
    other.set_autocommit(False)
    try:
        yield other
    finally:
        other.close()


def in_thread(work: Callable[[], object]) -> None:
    """Do it in another session, to its end."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.fixture
def database_clock(transactional_db: None) -> Iterator[Callable[[str], None]]:
    """Call it with an SQL expression of an interval: how far the feed's clock is off from now on."""

    def off_by(interval: str) -> None:
        sql(
            "CREATE OR REPLACE FUNCTION catalog_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            f" $$ SELECT clock_timestamp() + {interval} $$"
        )

    yield off_by
    sql(
        "CREATE OR REPLACE FUNCTION catalog_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
        " 'SELECT clock_timestamp()'"
    )
    sql("UPDATE catalog_syncclock SET last = clock_timestamp()")


# No writer can forget.


@pytest.mark.django_db
@pytest.mark.parametrize(
    "write",
    [
        lambda p: upsert((p.ean, "new name")),
        lambda p: edit_product(product_id=p.pk, values={"name": "new name"}, provenance=BY),
        lambda p: delete_product(product_id=p.pk, provenance=BY),
        lambda p: Product.objects.filter(pk=p.pk).update(weight=2),
        lambda p: Product.objects.bulk_update([Product(pk=p.pk, name="x")], ["name"]),
        lambda p: rename(p),
        lambda p: sql("UPDATE catalog_product SET description = 'x' WHERE ean = %s", p.ean),
        lambda p: sql(
            "INSERT INTO catalog_product (id, ean, barcode, name, status)"
            " VALUES (gen_random_uuid(), %s, '', 'x', 'active') ON CONFLICT (ean) DO UPDATE SET name = excluded.name",
            p.ean,
        ),
        lambda p: Brand.objects.filter(pk=p.brand_id).update(name="Renamed"),
        lambda p: sql("UPDATE catalog_brand SET name = upper(name) WHERE id = %s", p.brand_id),
        lambda p: Supplier.objects.filter(pk=p.supplier_id).update(code="RENAMED"),
        lambda p: rename(p.category),
    ],
)
def test_whatever_writes_a_product_or_renames_what_it_names_is_in_the_next_page(write):
    related = {"brand": make_brand(), "supplier": make_supplier(), "category": make_category()}
    product = make_product(**related)
    make_product(brand=make_brand("Other"), supplier=make_supplier("OTHER"), category=make_category("Other"))
    client = Client()
    client.poll()
    write(product)
    assert client.poll() == [product.pk]
    assert client.copy == products()
    assert client.poll() == []


@pytest.mark.django_db
def test_new_products_are_in_the_feed_however_they_are_made():
    client = Client()
    first, second, third = ean(1), ean(2), ean(3)
    upsert((first, "by the merge"))
    Product.objects.create(ean=second, barcode=second, name="by Django")
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY catalog_product (id, ean, barcode, name, status) FROM STDIN") as copy,
    ):
        copy.write_row((uuid4(), third, third, "by COPY", "active"))
    client.poll()
    assert sorted(row[0] for row in client.copy.values()) == [first, second, third]


@pytest.mark.django_db
def test_what_changes_nothing_is_not_in_the_feed():
    product = make_product(name="Spread", brand=make_brand())
    client = Client()
    client.poll()
    upsert((product.ean, "Spread"))
    upsert((product.ean, "Other"), (make_ean(), "New"), dry_run=True)
    Product.objects.update(name=F("name"))
    Brand.objects.update(name=F("name"), updated_at=F("created_at"))
    with transaction.atomic():
        Product.objects.update(name="rolled back")
        transaction.set_rollback(True)
    assert client.poll() == []


@pytest.mark.django_db
def test_a_deleted_product_stays_in_the_feed_and_comes_back_under_its_id():
    product = make_product()
    delete_product(product_id=product.pk, provenance=BY)
    client = Client()
    assert client.poll() == [product.pk]
    assert client.copy[product.pk][-1] is not None
    upsert((product.ean, "Back"))
    assert client.poll() == [product.pk]
    assert client.copy == products(deleted_at=None)


@pytest.mark.django_db
def test_a_row_removed_with_sql_leaves_a_tombstone_with_its_ean():
    removed, kept = make_product(), make_product()
    client = Client()
    client.poll()
    sql("DELETE FROM catalog_product WHERE id = %s", removed.pk)
    page = delta_page(since=client.last_sync, page=1, page_size=10)
    assert [(row.product_id, row.removed_ean) for row in page.rows] == [(removed.pk, removed.ean)]
    client.poll()
    assert client.copy == products(pk=kept.pk)
    removed.save(force_insert=True)
    page = delta_page(since=client.last_sync, page=1, page_size=10)
    assert [(row.product_id, row.removed_ean) for row in page.rows] == [(removed.pk, None)]


@pytest.mark.django_db
def test_a_removed_product_comes_before_the_new_one_with_its_ean():
    removed = make_product()
    sql("DELETE FROM catalog_product")
    new = make_product(pk=UUID(int=1), ean=removed.ean)
    page = delta_page(since=START, page=1, page_size=10)
    assert [(row.product_id, row.removed_ean) for row in page.rows] == [(removed.pk, removed.ean), (new.pk, None)]


@pytest.mark.django_db(transaction=True)
def test_emptying_the_table_leaves_tombstones():
    eans = {make_product().ean for _ in range(3)}
    client = Client()
    client.poll()
    sql("TRUNCATE catalog_product CASCADE")
    page = delta_page(since=client.last_sync, page=1, page_size=10)
    assert {row.removed_ean for row in page.rows} == eans
    client.poll()
    assert client.copy == {}


@pytest.mark.django_db
def test_the_id_of_a_product_cannot_be_changed():
    product = make_product()
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        sql("UPDATE catalog_product SET id = gen_random_uuid()")
    sql("UPDATE catalog_product SET id = id, name = 'x'")
    assert Product.objects.get().pk == product.pk


# The client's loop.


@pytest.mark.django_db
def test_ten_thousand_changes_of_one_statement_take_21_requests_and_come_once_each():
    sql(
        "INSERT INTO catalog_product (id, ean, barcode, name, status)"
        " SELECT gen_random_uuid(), to_char(n, 'FM0000000000000'), '', 'x', 'active' FROM generate_series(1, 10000) n"
    )
    client = Client()
    client.poll()
    # The trigger's plan, made for one row and kept, must do for many: with nested loops it took over a minute.
    Product.objects.filter(ean=f"{1:013}").update(name="y")
    sql("SET LOCAL statement_timeout = '30s'")
    Product.objects.update(name="z")
    client.requests = 0
    received = client.poll()
    assert client.requests == 21
    assert (len(received), len(set(received))) == (10_000, 10_000)
    assert client.copy == products()
    stamps = list(ProductChange.objects.order_by("stamp").values_list("stamp", flat=True))
    assert min(b - a for a, b in pairwise(stamps)) == timedelta(microseconds=10)
    assert high_water() == stamps[-1]


@pytest.mark.django_db
def test_the_next_moment_is_just_after_the_last_row_or_after_the_high_water():
    for _ in range(3):
        make_product()
    full = delta_page(since=START, page=1, page_size=2)
    assert (len(full.rows), full.next_since, full.total) == (2, full.rows[1].stamp + TICK, 3)
    short = delta_page(since=full.next_since, page=1, page_size=2)
    assert (len(short.rows), short.next_since, short.total) == (1, high_water() + TICK, 1)
    at_the_row = delta_page(since=short.rows[0].stamp, page=1, page_size=2)
    assert at_the_row.rows == short.rows
    empty = delta_page(since=short.next_since, page=1, page_size=2)
    assert (empty.rows, empty.next_since, empty.total) == ([], high_water() + TICK, 0)
    future = delta_page(since=datetime(2999, 1, 1, tzinfo=UTC), page=1, page_size=2)
    assert (future.rows, future.next_since) == ([], high_water() + TICK)


@pytest.mark.django_db
def test_further_pages_follow_in_order_and_lead_back_to_since():
    for _ in range(5):
        make_product()
    everything = delta_page(since=START, page=1, page_size=10).rows
    second, third, fourth = (delta_page(since=START, page=number, page_size=2) for number in (2, 3, 4))
    assert (second.rows, third.rows, fourth.rows) == (everything[2:4], everything[4:], [])
    assert {(page.next_since, page.total) for page in (second, third, fourth)} == {(START, 5)}


@pytest.mark.django_db
def test_a_walk_through_pages_loses_nothing_although_rows_move_up_meanwhile():
    """What the first page gives as its end now would lie behind a row that the walk never saw."""
    for _ in range(4):
        make_product()
    first = delta_page(since=START, page=1, page_size=2)
    Product.objects.filter(pk=first.rows[0].product_id).update(name="moves to the end")
    second = delta_page(since=START, page=2, page_size=2)
    walked = {row.product_id for row in (*first.rows, *second.rows)}
    (unseen,) = set(products()) - walked
    assert unseen in {row.product_id for row in delta_page(since=second.next_since, page=1, page_size=10).rows}


@pytest.mark.django_db
def test_the_total_is_exact_as_far_as_it_is_cheap_and_an_estimate_beyond(monkeypatch):
    monkeypatch.setattr(changes, "EXACT_TOTAL", 5)
    for _ in range(5):
        make_product()
    assert [delta_page(since=START, page=number, page_size=2).total for number in (1, 2, 3, 4)] == [5, 5, 5, 5]
    sql(
        "INSERT INTO catalog_product (id, ean, barcode, name, status)"
        " SELECT gen_random_uuid(), to_char(n, 'FM0000000000000'), '', 'x', 'active' FROM generate_series(1, 995) n"
    )
    drain()
    sql("ANALYZE catalog_productchange")
    assert delta_page(since=START, page=1, page_size=2).total == pytest.approx(1000, rel=0.1)
    assert delta_page(since=high_water(), page=1, page_size=1).total == 1


@pytest.mark.django_db(transaction=True)
def test_stamping_inside_a_transaction_is_refused():
    with transaction.atomic():
        make_product()
        with pytest.raises(RuntimeError, match="durable"):
            drain()
    assert drain() == 1


@pytest.mark.django_db(transaction=True)
def test_stamping_with_an_old_view_of_the_table_is_refused():
    with second_connection() as other:
        sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", using=other)
        with pytest.raises(ProgrammingError, match="READ COMMITTED only"):
            sql("SELECT catalog_stamp_changes(1)", using=other)


@pytest.mark.django_db
def test_the_task_stamps_what_nobody_has_read(monkeypatch):
    monkeypatch.setattr(changes, "ROUND", 2)
    for _ in range(5):
        make_product()
    assert drain(max_rounds=1) == 2
    stamp_changes()
    assert not ProductChange.objects.filter(stamp=None).exists()


@pytest.mark.django_db
def test_a_page_is_short_only_when_everything_is_stamped(monkeypatch):
    monkeypatch.setattr(changes, "ROUND", 2)
    for _ in range(7):
        make_product()
    assert len(delta_page(since=START, page=1, page_size=500).rows) == 7


# Races, step by step.


@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_late_arrives_late():
    early, late = make_product(), make_product()
    client = Client()
    client.poll()
    with second_connection() as other:
        sql("UPDATE catalog_product SET name = 'late' WHERE id = %s", late.pk, using=other)
        Product.objects.filter(pk=early.pk).update(name="early")
        assert client.poll() == [early.pk]
        assert client.poll() == []
        other.commit()
    assert client.poll() == [late.pk]
    assert client.copy == products()


@pytest.mark.django_db(transaction=True)
def test_a_change_between_the_reads_of_a_page_is_not_skipped():
    """The high-water mark and the page are two statements; what is stamped between them must not be passed over."""
    product = make_product()
    client = Client()
    client.poll()
    reads: list[str] = []

    def change() -> None:
        Product.objects.filter(pk=product.pk).update(name="between")
        drain()

    def wrapper(execute: Any, statement: str, *rest: Any) -> Any:
        result = execute(statement, *rest)
        if "catalog_syncclock" in statement or '"catalog_productchange"."stamp" >=' in statement:
            reads.append(statement)
            if len(reads) == 1:
                in_thread(change)
        return result

    with connection.execute_wrapper(wrapper):
        received = client.poll()
    assert len(reads) >= 2
    assert received + client.poll() == [product.pk]
    assert client.copy == products()


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_being_made_again_waits_and_survives_a_rollback():
    product = make_product()
    client = Client()
    client.poll()
    Product.objects.update(name="committed")
    with second_connection() as other:
        sql("UPDATE catalog_product SET name = 'again'", using=other)
        assert client.poll() == []
        other.rollback()
    assert client.poll() == [product.pk]
    assert client.copy == products()


@pytest.mark.django_db(transaction=True)
def test_a_product_that_a_writer_adds_during_a_rename_gets_the_new_name():
    brand = make_brand("Old")
    client = Client()
    client.poll()
    with second_connection() as other:
        sql(
            "INSERT INTO catalog_product (id, ean, barcode, name, status, brand_id)"
            " VALUES (gen_random_uuid(), '12345678', '', 'x', 'active', %s)",
            brand.pk,
            using=other,
        )
        with second_connection() as renaming:
            sql("UPDATE catalog_brand SET name = 'New'", using=renaming)
            other.commit()
            client.poll()
            assert [row[4] for row in client.copy.values()] == ["Old"]
            renaming.commit()
    client.poll()
    assert [row[4] for row in client.copy.values()] == ["New"]
    assert client.poll() == []


@pytest.mark.django_db(transaction=True)
def test_a_rename_reaches_a_product_that_an_open_transaction_holds_and_the_others_only_once():
    brand = make_brand("Old")
    held, free = make_product(brand=brand), make_product(brand=brand)
    client = Client()
    client.poll()
    with second_connection() as other:
        sql("UPDATE catalog_product SET name = 'x' WHERE id = %s", held.pk, using=other)
        Brand.objects.update(name="New")
        assert client.poll() == [free.pk]
        assert client.poll() == []
        other.rollback()
    assert client.poll() == [held.pk]
    assert client.copy == products()
    assert not RenamedProduct.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_second_rename_that_commits_late_is_not_taken_with_the_first():
    brand = make_brand("One")
    product = make_product(brand=brand)
    client = Client()
    client.poll()
    Brand.objects.update(name="Two")
    with second_connection() as other:
        sql("UPDATE catalog_brand SET name = 'Three'", using=other)
        client.poll()
        other.commit()
    client.poll()
    assert client.copy[product.pk][4] == "Three"


@pytest.mark.django_db(transaction=True)
def test_the_products_of_a_renamed_brand_come_in_rounds(monkeypatch):
    monkeypatch.setattr(changes, "ROUND", 3)
    brand = make_brand("Old")
    expected = {make_product(brand=brand).pk for _ in range(8)}
    client = Client(2)
    client.poll()
    Brand.objects.update(name="New")
    received = client.poll()
    assert (len(received), set(received)) == (8, expected)
    assert not RenamedProduct.objects.exists()


# A clock that is not to be trusted.


@pytest.mark.parametrize("step", ["interval '2 hours'", "interval '-2 hours'"])
def test_stamps_grow_although_the_clock_steps(database_clock, step):
    one, two = make_product(), make_product()
    client = Client()
    client.poll()
    before = high_water()
    database_clock(step)
    Product.objects.filter(pk=one.pk).update(name="in the other time")
    assert client.poll() == [one.pk]
    database_clock("interval '0'")
    # The newest row is changed again: the largest stamp in the table falls, the clock of the feed must not.
    Product.objects.filter(pk=one.pk).update(name="back again")
    Product.objects.filter(pk=two.pk).update(name="and another")
    assert sorted(client.poll()) == sorted([one.pk, two.pk])
    stamps = list(ProductChange.objects.order_by("stamp").values_list("stamp", flat=True))
    assert before < stamps[0] < stamps[1] == high_water()
    assert client.copy == products()


def test_sequencers_at_once_give_each_change_one_stamp_above_all_before(database_clock):
    database_clock("(random() * 4 - 2) * interval '1 hour'")
    sql(
        "INSERT INTO catalog_product (id, ean, barcode, name, status)"
        " SELECT gen_random_uuid(), to_char(n, 'FM0000000000000'), '', 'x', 'active' FROM generate_series(1, 12000) n"
    )
    stamped: list[int] = []
    start = threading.Barrier(3)

    def sequencer() -> None:
        start.wait()
        while now := changes._stamp():
            stamped.append(now)

    threads = [threading.Thread(target=lambda: in_thread(sequencer)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stamped) == [2000, 5000, 5000]
    last = ProductChange.objects.order_by("-stamp").values_list("stamp", flat=True)
    assert last.filter(stamp=None).count() == 0
    assert high_water() == last[0]


# The list.


@pytest.mark.django_db
def test_products_changed_since_a_moment_include_deleted_ones_and_exclude_the_moment_itself():
    one, two, three = make_product(), make_product(), make_product()
    drain()
    moment = high_water()
    delete_product(product_id=two.pk, provenance=BY)
    drain()
    Product.objects.filter(pk=three.pk).update(name="not stamped yet")
    assert set(changed_since(Product.objects.all(), moment)) == {two, three}
    assert set(changed_since(Product.objects.live(), moment)) == {three}
    drain()
    assert set(changed_since(Product.objects.all(), START)) == {one, two, three}
    assert not changed_since(Product.objects.all(), high_water()).exists()


# Everything at once.


def test_a_client_that_polls_ends_with_the_table_whatever_writers_and_the_clock_do(database_clock):
    """Stamps given in the trigger, by sequencers without a lock, or above the largest one in the table fail here."""
    database_clock("(random() * 4 - 2) * interval '1 hour'")
    brands = [make_brand(f"Brand {n}") for n in range(20)]
    suppliers = [make_supplier(f"S{n}") for n in range(3)]
    categories = [make_category(f"Category {n}") for n in range(3)]
    Product.objects.bulk_create(
        Product(
            ean=ean(n),
            barcode=ean(n),
            name="x",
            brand=brands[n % 20],
            supplier=suppliers[n % 3],
            category=categories[n % 3],
        )
        for n in range(1200)
    )
    until = time.monotonic() + 8
    failures: list[BaseException] = []
    commits = [0] * 7

    def writer(number: int, pause: float, write: Callable[[random.Random], None]) -> None:
        rng = random.Random(number)
        while time.monotonic() < until:
            try:
                with transaction.atomic():
                    write(rng)
                    if rng.random() < 0.1:
                        raise ZeroDivisionError
                commits[number] += 1
            except ZeroDivisionError:
                pass
            except OperationalError as error:  # writers in conflicting orders may deadlock, with or without the feed
                if not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    raise
            time.sleep(rng.random() * pause)

    def merge(rng: random.Random) -> None:
        names = ["name", "price", "brand_name"]
        rows = [
            Row(n, ean(n), [f"merged {rng.random()}", f"{rng.randrange(1, 9)}", f"Brand {rng.randrange(20)}"])
            for n in sorted(rng.sample(range(1500), rng.randrange(1, 200)))
        ]
        upsert_products(fields=names, rows=rows, provenance=BY)
        time.sleep(rng.random() * 0.1)

    def edit(rng: random.Random) -> None:
        some = [ean(rng.randrange(1500)) for _ in range(20)]
        product_id = Product.objects.live().filter(ean__in=some).values_list("pk", flat=True).first() or uuid4()
        with suppress(Product.DoesNotExist):  # none there, or another writer was first
            if rng.random() < 0.5:
                edit_product(product_id=product_id, values={"name": f"edited {rng.random()}"}, provenance=BY)
            else:
                delete_product(product_id=product_id, provenance=BY)

    def raw(rng: random.Random) -> None:
        for n in sorted(rng.sample(range(1500), 5)):
            sql(
                "UPDATE catalog_product SET description = %s, name = %s WHERE ean = %s",
                "d",
                f"raw {rng.random()}",
                ean(n),
            )
            time.sleep(rng.random() * 0.02)

    def bulk(rng: random.Random) -> None:
        Product.objects.update(name=f"bulk {rng.random()}")

    def rename(rng: random.Random) -> None:
        Brand.objects.filter(pk=rng.choice(brands).pk).update(name=f"Renamed {rng.random()}")
        if rng.random() < 0.2:
            Supplier.objects.filter(pk=rng.choice(suppliers).pk).update(code=f"R{rng.random()}")
            Category.objects.filter(pk=rng.choice(categories).pk).update(name=f"Renamed {rng.random()}")
        time.sleep(rng.random() * 0.05)

    def remove(rng: random.Random) -> None:
        for n in sorted(rng.sample(range(1500), 3)):
            sql("DELETE FROM catalog_product WHERE ean = %s", ean(n))

    def poller(client: Client) -> None:
        while time.monotonic() < until:
            client.poll()
            time.sleep(0.02)
        client.poll()

    def sequencer() -> None:
        while time.monotonic() < until:
            drain()
            time.sleep(0.01)

    def guarded(work: Callable[..., None], *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        return threading.Thread(target=run)

    clients = [Client(1), Client(7), Client(500)]
    for client in clients:
        client.page_size, page_size = 500, client.page_size
        client.poll()
        client.page_size = page_size
    writers = [(merge, 0.1), (merge, 0.1), (edit, 0.02), (raw, 0.05), (bulk, 1.6), (rename, 0.1), (remove, 0.1)]
    threads = [guarded(writer, number, pause, write) for number, (write, pause) in enumerate(writers)]
    threads += [guarded(poller, client) for client in clients]
    threads += [guarded(sequencer), guarded(sequencer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(commits) > 0
    table = products()
    for client in clients:
        client.poll()
        client.requests = 0
        assert client.poll() == []
        assert client.requests == 1
        assert client.copy == table, f"page size {client.page_size}"


# The migration.


@pytest.mark.django_db(transaction=True)
def test_the_feed_can_be_taken_out_and_put_in_again_with_every_product():
    product = make_product()
    drain()
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    executor.migrate([("catalog", "0002_supplier_memory")])
    try:
        assert not {"catalog_productchange", "catalog_syncclock"} & set(connection.introspection.table_names())
        sql("UPDATE catalog_product SET name = 'nobody notes it'")
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(leaves)
    assert Client().poll() == [product.pk]
