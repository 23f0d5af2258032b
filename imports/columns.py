"""Which column of a file holds which product field: by the user's mapping, else by the header's words. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from catalog.fields import ALIASES, FIELDS

# All but the supplier, who is the same for all rows of a file: the job names him.
MAPPABLE: Final = tuple(field for field in FIELDS if field != "supplier_code")

UNITS: Final[dict[str, dict[str, Decimal]]] = {
    "kg": {
        **dict.fromkeys(("kg", "kgs", "kilo", "kilos", "kilogramme", "kilogrammes", "kilograms"), Decimal(1)),
        **dict.fromkeys(("g", "gr", "gramme", "grammes", "grams"), Decimal("0.001")),
        "mg": Decimal("0.000001"),
        "t": Decimal(1000),
    },
    "cm": {"cm": Decimal(1), "mm": Decimal("0.1"), "dm": Decimal(10), "m": Decimal(100)},
}

# The best name of each field first. Compared without case, accents, spaces and punctuation.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "ean": (
        *("ean", "ean13", "ean 8", "ean code", "code ean", "code ean13", "numero ean", "ean13 code", "product ean"),
        *("ean gtin", "gtin ean", "ean upc", "upc ean", "gencod", "gencode", "isbn13", "cip13", "code cip13"),
    ),
    "gtin": ("gtin", "gtin14", "gtin13", "gtin8", "code gtin", "gtin code"),
    "barcode": ("barcode", "bar code", "code barre", "code barres", "code a barres", "variant barcode"),
    "upc": ("upc", "upc a", "upc12", "upc code", "code upc"),
    "name": (
        *("name", "product name", "nom", "nom produit", "nom du produit", "title", "product title", "titre"),
        *("titre produit", "libelle", "libelle produit", "libelle article", "designation", "designation produit"),
        *("designation article", "intitule", "nom article", "nom de l'article", "item name", "article name"),
        *("article details description short", "product details description short", "description short"),
    ),
    "brand_name": (
        *("brand name", "brand", "brands", "marque", "marques", "nom marque", "nom de la marque"),
        *("manufacturer", "fabricant", "vendor", "manufacturer name", "nom fabricant"),
        *("article details manufacturer name", "product details manufacturer name"),
    ),
    "category": (
        "category",
        "categorie",
        "category name",
        "categories",
        "famille",
        "rayon",
        "product category",
        "product type",
    ),
    "price": (
        *("price", "prix", "sale price", "selling price", "retail price", "prix de vente", "prix vente", "prix ttc"),
        *("prix public", "prix de vente ttc", "prix vente ttc", "prix public ttc", "pvc", "ppc", "rrp", "msrp"),
        *("unit price", "prix unitaire", "list price", "tarif", "tarif ttc", "prix de vente ht", "variant price"),
        "article price details article price price amount",
    ),
    "cost_price": (
        *("cost price", "cost", "prix d'achat", "prix achat", "prix d'achat ht", "prix achat ht", "pa", "pa ht"),
        *("purchase price", "buying price", "wholesale price", "prix de revient", "cout", "cout d'achat"),
    ),
    "weight": ("weight", "poids", "poids net", "net weight", "poids brut", "gross weight", "poids produit"),
    "width": ("width", "largeur"),
    "height": ("height", "hauteur"),
    "depth": ("depth", "profondeur", "length", "longueur"),
    "status": ("status", "statut"),
    "is_active": ("is active", "active", "actif", "enabled", "active 0 1", "en ligne", "published"),
    "description": (
        *("description", "long description", "description longue", "descriptif", "product description"),
        *("description produit", "body html", "description html", "description long"),
        *("article details description long", "product details description long"),
    ),
    "short_description": ("short description", "description courte", "descriptif court", "resume", "accroche"),
    "reference": (
        *("reference", "sku", "ref", "reference produit", "ref produit", "code article", "code produit"),
        *("product code", "item number", "article number", "part number", "reference article", "variant sku"),
        *("reference fournisseur", "ref fournisseur", "supplier reference"),
        *("supplier article id", "supplier aid", "supplier pid", "mpn"),
    ),
    "asin": ("asin", "code asin", "asin code", "amazon asin"),
    "unit_of_measure": ("unit of measure", "unite de mesure", "uom", "unite", "unit"),
    "external_id": ("external id", "id externe", "identifiant externe"),
    "url_slug": ("url slug", "slug", "url key", "handle", "url rewritten"),
    "image_url": ("image url", "image link", "url image", "image src", "lien image", "url photo"),
}

# A price without tax: what one pays, if another column is clearly what one asks.
_PRICES_WITHOUT_TAX = ("prix ht", "prix unitaire ht", "tarif ht", "price excl tax", "price tax excl", "net price")
# Codes that serve as the EAN where no column is called so, the best one first.
_EAN_SUBSTITUTES = ("gtin", "barcode", "upc")
_BARE_CODE = "code"
_PATH = re.compile(r"[/.]")
_LANGUAGE = re.compile(r"\[([a-z]{2,3})(?:[-_][A-Za-z]{2})?\]")
_FURTHER = 1000  # how much worse than a plain name


class MappingError(ValueError):
    """The columns cannot be mapped to fields; the message names the column or field and the choices."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's cells are: the column's index and, for a measure, what turns its unit into ours."""

    index: int
    factor: Decimal = Decimal(1)


def map_columns(columns: Sequence[str], mapping: Mapping[str, str] | None) -> dict[str, Source]:
    """The column of each field that the file gives.

    mapping: {file column: field}; it is complete, except that the EAN is still found by its header when no column
    is mapped to it. Without a mapping all columns are recognised by their headers, others are left out.
    Raises MappingError for an unknown column or field, two columns for one field, and when there is no EAN.
    """
    found = _automatic(columns)
    if mapping:
        chosen = _explicit(columns, mapping)
        if "ean" not in chosen and "ean" in found and found["ean"] not in chosen.values():
            chosen["ean"] = found["ean"]
        found = chosen
    if "ean" not in found:
        raise MappingError(
            f"No column holds the EAN. Columns found: {_listed(columns)}. Name the column in the mapping, "
            'for example {"Code produit": "ean"}'
        )
    return {
        field: Source(index, UNITS[unit][_unit_word(columns[index], unit)] if unit else Decimal(1))
        for field, index in found.items()
        for unit in (FIELDS[field].unit,)
    }


def _explicit(columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, int]:
    exact = {column: index for index, column in enumerate(columns)}
    loose: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        loose.setdefault(_key(_words(column)), []).append(index)
    chosen: dict[str, int] = {}
    for column, name in mapping.items():
        field = ALIASES.get(name, name)
        if field not in MAPPABLE:
            raise MappingError(f"Unknown field {name!r} for column {column!r}. Fields: {', '.join(MAPPABLE)}")
        candidates = [exact[column]] if column in exact else loose.get(_key(_words(column)), [])
        if len(candidates) != 1:
            raise MappingError(f"The file has no column {column!r}. Columns found: {_listed(columns)}")
        index = candidates[0]
        if field in chosen:
            raise MappingError(
                f"Columns {columns[chosen[field]]!r} and {columns[index]!r} are both mapped to {field!r}; choose one"
            )
        chosen[field] = index
    return chosen


def _automatic(columns: Sequence[str]) -> dict[str, int]:
    """The field of each column whose header is known; of two columns for one field, the better name, then the first."""
    ranked: dict[str, tuple[int, int]] = {}
    without_tax: list[int] = []
    bare_code: int | None = None
    for index, column in enumerate(columns):
        words = _words(column)
        key = _key(words)
        if key == _BARE_CODE and bare_code is None:
            bare_code = index
        if key in _WITHOUT_TAX_KEYS:
            without_tax.append(index)
        field, rank = _KEYS.get(key) or _measure(words) or _in_language(column) or _within(column) or ("", 0)
        if field and (field not in ranked or rank < ranked[field][0]):
            ranked[field] = (rank, index)
    found = {field: index for field, (_, index) in ranked.items()}
    if without_tax:
        target = "cost_price" if "price" in found else "price"
        found.setdefault(target, without_tax[0])
    if "ean" not in found:
        substitute = next((field for field in _EAN_SUBSTITUTES if field in found), None)
        if substitute:
            found["ean"] = found.pop(substitute)
        elif bare_code is not None:
            found["ean"] = bare_code
    return found


def _measure(words: Sequence[str]) -> tuple[str, int] | None:
    """The field of a header that ends in a unit, such as `Poids net (g)` or `width_mm`."""
    if len(words) < 2:
        return None
    rest = words[:-2] if words[-2] in ("en", "in") else words[:-1]
    match = _KEYS.get(_key(rest))
    if match is None:
        return None
    unit = FIELDS[match[0]].unit
    return match if unit and words[-1] in UNITS[unit] else None


def _in_language(column: str) -> tuple[str, int] | None:
    """The field of a text in one of several languages, such as `title[fr]`; French goes first, then English."""
    language = _LANGUAGE.search(column)
    match = _KEYS.get(_key(_words(_LANGUAGE.sub("", column)))) if language else None
    if language is None or match is None or FIELDS[match[0]].kind != "text":
        return None
    return match[0], match[1] + _FURTHER + {"fr": 0, "en": 100}.get(language[1][:2], 200)


def _within(column: str) -> tuple[str, int] | None:
    """The code that a field within another one holds, such as `ARTICLE_DETAILS/EAN`, `variant.gtin` or `Code/@EAN`.

    Only codes: a name or a price within something else may well be that of something else.
    """
    match = _KEYS.get(_key(_words(_PATH.split(column)[-1])))
    return (match[0], match[1] + _FURTHER) if match and match[0] in ("ean", *_EAN_SUBSTITUTES) else None


def _unit_word(column: str, default: str) -> str:
    """The unit a header ends in, `default` when it names none."""
    words = _words(column)
    return words[-1] if len(words) > 1 and words[-1] in UNITS[default] else default


def _words(header: str) -> list[str]:
    """Lower-case words without accents; productName, product_name and `Product name *` are the same."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    plain = "".join(c for c in unicodedata.normalize("NFKD", spaced.casefold()) if not unicodedata.combining(c))
    return re.findall(r"\w+", plain.replace("_", " "))


def _key(words: Iterable[str]) -> str:
    return "".join(words)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(column[:60] for column in columns[:50])
    return f"{shown} and {len(columns) - 50} more" if len(columns) > 50 else shown


_KEYS: Final = {_key(_words(name)): (field, rank) for field, names in _NAMES.items() for rank, name in enumerate(names)}
_WITHOUT_TAX_KEYS: Final = {_key(_words(name)) for name in _PRICES_WITHOUT_TAX}
