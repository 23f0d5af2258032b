"""The items the stand-in knows, found by GTIN-14, by ASIN or by words."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.identifiers import gtin14, isbn10_to_ean

CLASSIFICATIONS = ("BASE_PRODUCT", "OTHER", "PRODUCT_BUNDLE", "VARIATION_PARENT")
ASIN = re.compile(r"[A-Z0-9]{10}")

_ISBN10 = re.compile(r"\d{9}[\dX]")
_GTIN = re.compile(r"\d{8}|\d{12,14}")
_WORD = re.compile(r"[a-z0-9]+")


class CatalogueError(ValueError):
    """A catalogue that cannot be served; the message names the item and the field."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One Amazon item.

    gtins: the codes its `identifiers` list, spelled as they are listed (8, 12, 13 or 14 digits, or an ISBN-10).
    unlisted_gtins: codes that find it although `identifiers` does not list them.
    pack: units in the package (`packageQuantity`); None when Amazon does not say.
    parent: ASIN of the variation parent.
    images: names served as /images/NAME.jpg; what stands before the "-" sets the colour, the number after it the
    figure ("3760000000017-0").
    rank: best sales rank. price: featured offer; None when nobody sells it.
    """

    asin: str
    title: str
    gtins: tuple[str, ...] = ()
    unlisted_gtins: tuple[str, ...] = ()
    brand: str | None = None
    manufacturer: str | None = None
    model_number: str | None = None
    part_number: str | None = None
    pack: int | None = None
    classification: str = "BASE_PRODUCT"
    parent: str | None = None
    images: tuple[str, ...] = ()
    category: str | None = None
    product_type: str | None = None
    color: str | None = None
    size: str | None = None
    weight_kg: float | None = None
    rank: int | None = None
    price: float | None = None
    currency: str = "EUR"
    bullet_points: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not ASIN.fullmatch(self.asin):
            raise CatalogueError(f"item {self.asin!r}: asin is not 10 capital letters and digits")
        if self.classification not in CLASSIFICATIONS:
            raise CatalogueError(f"item {self.asin}: classification {self.classification!r} is not one of Amazon's")
        for code in (*self.gtins, *self.unlisted_gtins):
            if canonical(code) is None:
                raise CatalogueError(f"item {self.asin}: {code!r} is not a GTIN or an ISBN")

    @cached_property
    def words(self) -> frozenset[str]:
        return words(f"{self.brand or ''} {self.title} {self.part_number or ''} {self.model_number or ''}")


_LISTS = frozenset({"gtins", "unlisted_gtins", "images", "bullet_points"})
_FIELDS = frozenset(field.name for field in fields(Item))


def canonical(code: str) -> str | None:
    """The GTIN-14 of a GTIN of 8, 12, 13 or 14 digits or of an ISBN-10; None when it is neither."""
    if _GTIN.fullmatch(code):
        return gtin14(code)
    if _ISBN10.fullmatch(code):
        return gtin14(isbn10_to_ean(code))
    return None


def words(text: str) -> frozenset[str]:
    """The words of a text in lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return frozenset(_WORD.findall(plain))


class Catalogue:
    """Items in a fixed order, which is the order of every answer."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: Sequence[Item] = tuple(items)
        self._by_asin: dict[str, int] = {}
        self._by_gtin: dict[str, set[int]] = defaultdict(set)
        self._by_word: dict[str, list[int]] = defaultdict(list)
        self._children: dict[str, list[str]] = defaultdict(list)
        for position, item in enumerate(self.items):
            if item.asin in self._by_asin:
                raise CatalogueError(f"item {item.asin}: the asin is there twice")
            self._by_asin[item.asin] = position
            for code in (*item.gtins, *item.unlisted_gtins):
                self._by_gtin[canonical(code) or code].add(position)
            for word in item.words:
                self._by_word[word].append(position)
            if item.parent is not None:
                self._children[item.parent].append(item.asin)
        self.images = frozenset(name for item in self.items for name in item.images)

    def __len__(self) -> int:
        return len(self.items)

    def item(self, asin: str) -> Item | None:
        position = self._by_asin.get(asin)
        return None if position is None else self.items[position]

    def children(self, asin: str) -> Sequence[str]:
        return self._children.get(asin, ())

    def by_gtins(self, codes: Iterable[str]) -> list[Item]:
        """Items carrying any of these GTINs or ISBN-10, whatever the spelling, in catalogue order."""
        found: set[int] = set()
        for code in codes:
            found |= self._by_gtin.get(canonical(code) or code, set())
        return [self.items[position] for position in sorted(found)]

    def by_asins(self, asins: Iterable[str]) -> list[Item]:
        """Items with these ASINs, in catalogue order."""
        found = {self._by_asin[asin] for asin in asins if asin in self._by_asin}
        return [self.items[position] for position in sorted(found)]

    def by_keywords(self, text: str, *, brands: Iterable[str] = ()) -> list[Item]:
        """Items that share at least half of the words, or carry a code given as a word; best first."""
        wanted = words(text)
        allowed = {brand.casefold() for brand in brands}
        hits = Counter(position for word in wanted for position in self._by_word.get(word, ()))
        for word in wanted:
            hits.update({position: len(wanted) for position in self._by_gtin.get(canonical(word.upper()) or word, ())})
        found = sorted((-count, position) for position, count in hits.items() if 2 * count >= len(wanted))
        items = (self.items[position] for _, position in found)
        return [item for item in items if not allowed or (item.brand or "").casefold() in allowed]


def catalogue_from_json(text: str) -> Catalogue:
    """A catalogue from `{"items": [{"asin": …, "title": …, …}]}`; the keys of an item are the fields of Item."""
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise CatalogueError('a catalogue is an object with a list "items"')
    return Catalogue(_item(position, raw) for position, raw in enumerate(document["items"]))


def catalogue_to_json(items: Iterable[Item]) -> str:
    """The text catalogue_from_json reads; fields that keep their default are left out."""
    defaults = {field.name: field.default for field in fields(Item)}
    documents = (
        {name: value for name, value in vars(item).items() if name in _FIELDS and value != defaults[name]}
        for item in items
    )
    return '{"items": [\n' + ",\n".join(json.dumps(document, ensure_ascii=False) for document in documents) + "\n]}\n"


def load_catalogue(path: Path) -> Catalogue:
    """The catalogue in a JSON file; raises CatalogueError naming item and field, OSError when unreadable."""
    return catalogue_from_json(path.read_text(encoding="utf-8"))


def catalogue_from_pairs(rows: Iterable[tuple[str, str, str, str]]) -> Catalogue:
    """A catalogue from known pairs `(code, asin, title, brand)`; rows of one ASIN make one item with several codes."""
    codes: dict[str, list[str]] = defaultdict(list)
    names: dict[str, tuple[str, str]] = {}
    for code, asin, title, brand in rows:
        codes[asin].append(code)
        names.setdefault(asin, (title, brand))
    return Catalogue(
        Item(asin=asin, title=title, brand=brand or None, gtins=tuple(dict.fromkeys(codes[asin])))
        for asin, (title, brand) in names.items()
    )


def _item(position: int, raw: Mapping[str, Any]) -> Item:
    unknown = raw.keys() - _FIELDS
    if unknown:
        raise CatalogueError(f"items[{position}]: unknown fields {', '.join(sorted(unknown))}")
    missing = {"asin", "title"} - raw.keys()
    if missing:
        raise CatalogueError(f"items[{position}]: missing {', '.join(sorted(missing))}")
    values: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in raw.items()}
    return Item(**values)
