"""The invented products: what a product is called in French and English, its code, price and weight."""

import random
import string
import unicodedata
from dataclasses import dataclass

from catalog.identifiers import check_digit
from code2asin.demo.wording import (
    AUTHORS,
    COLOURS,
    NOVEL_ENDS,
    NOVEL_STARTS,
    PRACTICAL,
    PUBLISHERS,
    SUBJECTS,
    Brand,
    Noun,
    load_nouns,
)


@dataclass(frozen=True)
class Product:
    """`name` is what the supplier calls it; `fr` and `en` the bare names. `cents`: the price with tax."""

    ean: str
    brand: Brand
    reference: str
    name: str
    fr: str
    en: str
    description: str
    category: str
    product_type: str
    points: tuple[str, ...]
    color: str | None
    size: str | None
    cents: int
    kg: float

    @property
    def is_book(self) -> bool:
        return self.ean.startswith("978")


def goods(rng: random.Random, count: int) -> list[Product]:
    nouns = load_nouns()
    numbers = _Numbers(rng)
    taken: set[tuple[str, str]] = set()
    made: list[Product] = []
    while len(made) < count:
        noun = rng.choice(nouns)
        product = _good(rng, noun, numbers)
        if (product.brand.name, product.fr) not in taken:
            taken.add((product.brand.name, product.fr))
            made.append(product)
    return made


def _good(rng: random.Random, noun: Noun, numbers: "_Numbers") -> Product:
    brand = rng.choice(noun.family.brands)
    option, size = rng.choice(noun.options), rng.choice(noun.sizes)
    colour = rng.choice(COLOURS) if noun.coloured else None
    fr = f"{noun.name.fr} {option.fr} {size.fr}"
    en = f"{noun.name.en} {option.en}" if option.en.startswith("with ") else f"{option.en} {noun.name.en}"
    en = f"{en} {size.en}"
    tint = ""
    if colour is not None:
        tint = colour.feminine if noun.feminine else colour.masculine
        fr, en = f"{fr} {tint}", f"{en} {colour.en}"
    name = en if brand.english else fr
    if rng.random() < 0.3:
        name = f"{brand.name} {name}"
    uses = rng.sample(noun.family.uses, 2)
    ean = numbers.ean(brand)
    low, high = noun.price
    return Product(
        ean=ean,
        brand=brand,
        reference=_reference(brand, ean),
        name=name,
        fr=fr,
        en=en,
        description=f"{fr}. {' '.join(uses)}",
        category=noun.family.category,
        product_type=noun.family.product_type,
        points=tuple(uses),
        color=tint or None,
        size=size.fr,
        cents=_cents(rng, low, high),
        kg=round(rng.uniform(*noun.kg), 2),
    )


def books(rng: random.Random, count: int) -> list[Product]:
    numbers = _Numbers(rng)
    novels = [f"{start} {end}" for start in NOVEL_STARTS for end in NOVEL_ENDS]
    practical = [f"{start} {subject}" for start in PRACTICAL for subject in SUBJECTS]
    made = []
    for title in rng.sample(novels + practical, count):
        publisher, author = rng.choice(PUBLISHERS), rng.choice(AUTHORS)
        ean = numbers.ean(publisher)
        genre = "Roman" if title in novels else "Guide illustré"
        made.append(
            Product(
                ean=ean,
                brand=publisher,
                reference=_reference(publisher, ean),
                name=title,
                fr=title,
                en=title,
                description=f"{title}, de {author}. {genre}, broché.",
                category="Livres",
                product_type="ABIS_BOOK",
                points=(f"{genre} de {author}",),
                color=None,
                size=None,
                cents=_cents(rng, 7, 32),
                kg=round(rng.uniform(0.15, 0.9), 2),
            )
        )
    return made


class _Numbers:
    """EANs in the range of a company prefix, each used once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def ean(self, brand: Brand) -> str:
        while True:
            body = brand.prefix + f"{self._rng.randrange(10 ** (12 - len(brand.prefix))):0{12 - len(brand.prefix)}}"
            if body not in self._taken:
                self._taken.add(body)
                return body + check_digit(body)


def _reference(brand: Brand, ean: str) -> str:
    plain = unicodedata.normalize("NFKD", brand.name).encode("ascii", "ignore").decode()
    letters = [letter for letter in plain.upper() if letter in string.ascii_uppercase]
    return f"{''.join(letters[:3])}-{ean[7:12]}"


def _cents(rng: random.Random, low: float, high: float) -> int:
    return rng.randrange(round(low), round(high)) * 100 + rng.choice((50, 90, 95, 99))
