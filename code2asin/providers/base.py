"""What every provider takes and gives: codes in, items and per-code failures out. No Django."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pim.jobs.errors import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One marketplace item, reduced to what scoring and review need. None and () mean the answer did not say."""

    asin: str
    title: str | None = None
    brand: str | None = None
    manufacturer: str | None = None
    part_number: str | None = None
    model_number: str | None = None
    identifiers: tuple[str, ...] = ()  # canonical GTIN-14
    pack: int | None = None  # units in the package, >= 1
    item_class: str | None = None  # BASE_PRODUCT, PRODUCT_BUNDLE, VARIATION_PARENT or OTHER
    parent_asin: str | None = None
    image: str | None = None  # the main picture, largest size
    images: tuple[str, ...] = ()  # all pictures, main first, largest size of each
    sales_rank: int | None = None  # best rank, 1 is the best seller
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Failure(NamedTuple):
    """Why a code has no answer; the message is shown to the user."""

    category: Category
    message: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer for one code. All empty and no error means: the marketplace knows no such item, which is final."""

    code: str  # canonical GTIN-14
    listed: tuple[Item, ...] = ()  # items whose identifiers contain the code
    unlisted: tuple[Item, ...] = ()  # returned for this code alone, yet not listing it
    error: Failure | None = None


class Provider(Protocol):
    """A source of candidates. `batch_size` is the most codes one request carries; larger look-ups are split."""

    name: str
    marketplace: str
    batch_size: int

    def lookup(self, codes: Sequence[str], *, pause_check: Callable[[], None]) -> dict[str, Lookup]:
        """Look up codes of 8, 12, 13 or 14 digits; the answer has one entry per code, by its GTIN-14.

        pause_check is called before every wait and request and may raise to stop the look-up.
        Raises RetryableError or PermanentError when the look-up as a whole failed; what is wrong with one code
        is in its `Lookup.error`.
        """
        ...
