"""Writes the demonstration data: the same `seed` gives the same files.

A supplier's CSV feed with a few honest defects, and the Amazon catalogue that goes with it: most products are found
once, some are missing, some are traps that a careless match falls into.
"""

import csv
import io
import random
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from catalog.identifiers import isbn10
from code2asin.demo.products import Product, books, goods
from code2asin.demo.wording import MARKETING
from code2asin.stand_in.catalogue import Item, catalogue_to_json

DEFAULT_SEED = 20260
DEFAULT_PRODUCTS = 1500
FEED_FILE = "supplier_feed.csv"
CATALOGUE_FILE = "amazon_catalogue.json"

# column of the feed -> product field
FEED_MAPPING = {
    "EAN": "ean",
    "Titre": "name",
    "Marque": "brand_name",
    "Référence": "reference",
    "Prix HT": "cost_price",
    "Prix de vente": "price",
    "Poids (kg)": "weight",
    "Description": "description",
    "URL image": "image_url",
}

Row = dict[str, str]


class Kind(StrEnum):
    """What Amazon knows about a product of the feed."""

    UNIQUE = "unique"  # one item, listed under the code
    SPELLING = "spelling"  # one item, the code listed as UPC-A or GTIN-14 only
    MISSING = "missing"
    DUPLICATE = "duplicate"  # two items, same code, brand and pack
    PACK_AND_SINGLE = "pack_and_single"  # the unit and a pack of 6 share the code
    PACK_ONLY = "pack_only"
    BUNDLE = "bundle"
    PARENT_ONLY = "parent_only"
    BRAND_CONFLICT = "brand_conflict"  # the code belongs to another brand's product
    UNLISTED = "unlisted"  # found by the code, which the item does not list
    BAD_CHECK_DIGIT = "bad_check_digit"  # the feed's code is wrong; Amazon has the product under the right one


TRAPS = (
    Kind.SPELLING,
    Kind.DUPLICATE,
    Kind.PACK_AND_SINGLE,
    Kind.PACK_ONLY,
    Kind.BUNDLE,
    Kind.PARENT_ONLY,
    Kind.BRAND_CONFLICT,
    Kind.UNLISTED,
)


class Defect(StrEnum):
    """What is wrong with a row of the feed."""

    WRONG_CHECK_DIGIT = "wrong_check_digit"  # importable, with a warning
    REPEATED_EAN = "repeated_ean"
    MISSING_NAME = "missing_name"
    MANGLED_CODE = "mangled_code"
    UNREADABLE_PRICE = "unreadable_price"
    SHORT_CODE = "short_code"


DEFECTS = {
    Defect.WRONG_CHECK_DIGIT: 8,
    Defect.REPEATED_EAN: 6,
    Defect.MISSING_NAME: 5,
    Defect.MANGLED_CODE: 4,
    Defect.UNREADABLE_PRICE: 3,
    Defect.SHORT_CODE: 2,
}


@dataclass(frozen=True)
class DefectiveRow:
    """A broken row: its number in the file (the header is row 1), the product field and the text found there."""

    row: int
    defect: Defect
    field: str
    value: str


@dataclass(frozen=True)
class DemoSummary:
    """What a correct import and match of the data must come to.

    rows: data rows of the feed. kinds: what Amazon knows, by the EAN as the catalogue stores it, of every product
    that a correct import creates; refused rows have no entry.
    """

    rows: int
    kinds: Mapping[str, Kind]
    defects: Sequence[DefectiveRow]

    @property
    def counts(self) -> Counter[Kind]:
        return Counter(self.kinds.values())


@dataclass(frozen=True)
class Demo:
    rows: list[Row]
    items: list[Item]
    summary: DemoSummary


def generate(*, seed: int = DEFAULT_SEED, products: int = DEFAULT_PRODUCTS, image_base_url: str = "") -> Demo:
    """`products` products (100 or more), a row each and a few repeated rows; `image_base_url` is the stand-in's."""
    rng = random.Random(seed)
    unrelated = products // 15
    printed = products // 10
    made = books(rng, printed) + goods(rng, products - printed + unrelated)
    feed, others = made[:products], made[products:]
    rng.shuffle(feed)
    kinds = _kinds(rng, feed)
    items = _Shelf(rng, others)
    for product in feed:
        items.add(product, kinds[product.ean])
    for product in others:
        items.add(product, Kind.UNIQUE)
    rows, summary = _feed(rng, feed, kinds, image_base_url)
    return Demo(rows, items.shuffled(), summary)


def write_demo(
    directory: Path, *, image_base_url: str, seed: int = DEFAULT_SEED, products: int = DEFAULT_PRODUCTS
) -> DemoSummary:
    """Write FEED_FILE and CATALOGUE_FILE into `directory`, which is made if need be."""
    demo = generate(seed=seed, products=products, image_base_url=image_base_url)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FEED_FILE).write_text(feed_csv(demo.rows), encoding="utf-8")
    (directory / CATALOGUE_FILE).write_text(catalogue_to_json(demo.items), encoding="utf-8")
    return demo.summary


def feed_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FEED_MAPPING, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# -- what Amazon knows -------------------------------------------------------------------------------------------------


def _kinds(rng: random.Random, feed: Sequence[Product]) -> dict[str, Kind]:
    """6 % missing, 6 % traps in equal parts (books are never traps), the rest found once."""
    kinds = {product.ean: Kind.UNIQUE for product in feed}
    share = round(len(feed) * 0.06)
    goods = [product.ean for product in feed if not product.is_book]
    chosen = rng.sample(goods, 2 * share)
    kinds.update((ean, Kind.MISSING) for ean in chosen[:share])
    kinds.update((ean, TRAPS[number % len(TRAPS)]) for number, ean in enumerate(chosen[share:]))
    return kinds


class _Shelf:
    """Collects Amazon's items; `others` are products to mix up with."""

    def __init__(self, rng: random.Random, others: Sequence[Product]) -> None:
        self._rng = rng
        self._others = others
        self._items: list[Item] = []
        self._asins: set[str] = set()

    def add(self, product: Product, kind: Kind) -> None:
        single = self._item(product)
        match kind:
            case Kind.MISSING:
                return
            case Kind.UNIQUE:
                self._items += self._with_parent(single)
            case Kind.SPELLING:
                ean = product.ean
                self._items.append(replace(single, gtins=(ean[1:] if ean.startswith("0") else f"0{ean}",)))
            case Kind.DUPLICATE:
                self._items += [single, replace(self._item(product), pack=single.pack)]
            case Kind.PACK_AND_SINGLE:
                self._items += [self._pack(single), single]
            case Kind.PACK_ONLY:
                self._items.append(self._pack(single))
            case Kind.BUNDLE:
                other = self._rng.choice(self._others)
                title = f"{single.title} + {other.fr}"
                self._items.append(replace(single, title=title, classification="PRODUCT_BUNDLE"))
            case Kind.PARENT_ONLY:
                self._items.append(replace(single, classification="VARIATION_PARENT", price=None))
            case Kind.BRAND_CONFLICT:
                strangers = [other for other in self._others if other.category != product.category]
                self._items.append(replace(self._item(self._rng.choice(strangers)), gtins=(product.ean,)))
            case Kind.UNLISTED:
                self._items.append(replace(single, gtins=(), unlisted_gtins=(product.ean,)))

    def shuffled(self) -> list[Item]:
        self._rng.shuffle(self._items)
        return self._items

    def _item(self, product: Product) -> Item:
        rng = self._rng
        english = not product.is_book and rng.random() < 0.12
        price = round(product.cents * rng.uniform(0.85, 1.12)) / 100
        isbn = isbn10(product.ean)
        return Item(
            asin=isbn or self._asin(),
            title=self._title(product, english=english),
            gtins=(product.ean,) if isbn is None else (product.ean, isbn),
            brand=product.brand.name,
            manufacturer=product.brand.name,
            # titles in two languages share few words; the part number ties them
            part_number=product.reference if english != product.brand.english or rng.random() < 0.7 else None,
            pack=1 if rng.random() < 0.8 else None,
            images=tuple(f"{product.ean}-{view}" for view in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 4)))),
            category=product.category,
            product_type=product.product_type,
            color=product.color,
            size=product.size,
            weight_kg=product.kg,
            rank=rng.randrange(50, 400_000),
            price=price if rng.random() < 0.97 else None,
            bullet_points=product.points,
        )

    def _title(self, product: Product, *, english: bool) -> str:
        rng, brand = self._rng, product.brand.name
        if product.is_book:
            return rng.choice((product.fr, f"{product.fr} (Broché)", f"{product.fr} - {brand}"))
        slogan = rng.choice(MARKETING)
        if english:
            return rng.choice((f"{brand} {product.en}", f"{product.en} by {brand} - {slogan.en}"))
        return rng.choice(
            (
                f"{brand} {product.fr}",
                f"{brand} - {product.fr} - {slogan.fr}",
                f"{product.fr} {brand}, {slogan.fr}",
                f"{brand} {product.reference} {product.fr}",
                f"{product.fr[:1].upper()}{product.fr[1:]} | {brand}",
            )
        )

    def _asin(self) -> str:
        while True:
            asin = "B0" + "".join(self._rng.choices(string.digits + string.ascii_uppercase, k=8))
            if asin not in self._asins:
                self._asins.add(asin)
                return asin

    def _pack(self, single: Item) -> Item:
        return replace(
            single,
            asin=self._asin(),
            title=f"Lot de 6 x {single.title}",
            pack=6,
            price=None if single.price is None else round(single.price * 5.4, 2),
        )

    def _with_parent(self, single: Item) -> list[Item]:
        """Some coloured items hang under a variation parent, which lists no code."""
        if single.color is None or self._rng.random() > 0.1:
            return [single]
        parent = replace(
            single,
            asin=self._asin(),
            gtins=(),
            part_number=None,
            color=None,
            price=None,
            classification="VARIATION_PARENT",
        )
        return [parent, replace(single, parent=parent.asin)]


# -- the supplier's file -----------------------------------------------------------------------------------------------


def _feed(
    rng: random.Random, feed: Sequence[Product], kinds: Mapping[str, Kind], image_base_url: str
) -> tuple[list[Row], DemoSummary]:
    """Rows in file order with the defects put in; repeated rows, at a higher price, come last."""
    sound = [product.ean for product in feed if kinds[product.ean] is Kind.UNIQUE and not product.is_book]
    wanted = [defect for defect, count in DEFECTS.items() for _ in range(count)]
    broken = dict(zip(rng.sample(sound, len(wanted)), wanted, strict=True))
    lines: list[tuple[Row, Defect | None]] = []
    repeats: list[tuple[Row, Defect | None]] = []
    expected: dict[str, Kind] = {}
    for product in feed:
        row, defect = _row(product, image_base_url), broken.get(product.ean)
        if defect is Defect.REPEATED_EAN:
            repeats.append(({**row, "Prix de vente": _euros(product.cents + 100)}, defect))
            defect = None
        if defect is not None:
            row |= _damage(rng, product, defect)
        lines.append((row, defect))
        if defect is None:
            expected[product.ean] = kinds[product.ean]
        elif defect is Defect.WRONG_CHECK_DIGIT:
            expected[row["EAN"]] = Kind.BAD_CHECK_DIGIT
    lines += repeats
    defects = tuple(_defective(number, row, defect) for number, (row, defect) in enumerate(lines, start=2) if defect)
    return [row for row, _ in lines], DemoSummary(len(lines), expected, defects)


def _damage(rng: random.Random, product: Product, defect: Defect) -> Row:
    """The cell that makes a row defective."""
    match defect:
        case Defect.WRONG_CHECK_DIGIT:
            return {"EAN": product.ean[:-1] + str((int(product.ean[-1]) + rng.randrange(1, 10)) % 10)}
        case Defect.MISSING_NAME:
            return {"Titre": ""}
        case Defect.MANGLED_CODE:
            return {"EAN": f"{int(product.ean):.2E}"}
        case Defect.UNREADABLE_PRICE:
            return {"Prix de vente": rng.choice(("sur devis", "N/C", "voir tarif"))}
        case Defect.SHORT_CODE:
            return {"EAN": product.ean[7:12]}
        case Defect.REPEATED_EAN:
            raise ValueError("a repeated row is not damaged")


def _defective(number: int, row: Row, defect: Defect) -> DefectiveRow:
    column = {Defect.MISSING_NAME: "Titre", Defect.UNREADABLE_PRICE: "Prix de vente"}.get(defect, "EAN")
    return DefectiveRow(number, defect, FEED_MAPPING[column], row[column])


def _row(product: Product, image_base_url: str) -> Row:
    return {
        "EAN": product.ean[1:] if product.brand.english else product.ean,
        "Titre": product.name,
        "Marque": product.brand.name,
        "Référence": product.reference,
        "Prix HT": _euros(round(product.cents / 1.2 * 0.65)),
        "Prix de vente": _euros(product.cents),
        "Poids (kg)": f"{product.kg:.2f}",
        "Description": product.description,
        "URL image": f"{image_base_url}/supplier-images/{product.ean}.jpg" if image_base_url else "",
    }


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"
