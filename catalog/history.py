"""A product's revisions as a person reads them: names instead of ids, and a link to what stands behind each."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from catalog.models import Brand, Category, Product, ProductRevision, Supplier

ENTRIES_PER_PAGE = 30
# Pages of what stands behind a revision, by its source; the apps above the catalogue are known by address only.
SOURCE_PAGES = {
    ProductRevision.Source.IMPORT: ("admin:imports_importjob_change", _("import job")),
    ProductRevision.Source.MATCH: ("admin:code2asin_code2asinjob_change", _("Code2ASIN job")),
    ProductRevision.Source.API: ("admin:apikeys_apikey_change", _("API key")),
}
REFERENCE_MODELS: dict[str, type[Supplier | Brand | Category]] = {
    "brand_id": Brand,
    "supplier_id": Supplier,
    "category_id": Category,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a revision, as shown."""

    field: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision, as shown. page: the address of what stands behind it."""

    revision: ProductRevision
    changes: list[Change]
    page: str | None
    page_label: str


def read_history(product_id: UUID, *, before: int | None = None) -> tuple[list[Entry], int | None]:
    """One page of revisions, newest first, and the `before` of the next page (None on the last one)."""
    revisions = ProductRevision.objects.filter(product_id=product_id).order_by("-id")
    if before is not None:
        revisions = revisions.filter(id__lt=before)
    found = list(revisions[: ENTRIES_PER_PAGE + 1])
    shown = found[:ENTRIES_PER_PAGE]
    names = _reference_names(shown)
    entries = []
    for revision in shown:
        page, label = _source_page(revision)
        entries.append(Entry(revision, _changes(revision, names), page, label))
    return entries, shown[-1].pk if len(found) > ENTRIES_PER_PAGE else None


def _reference_names(revisions: Sequence[ProductRevision]) -> dict[str, str]:
    """The names of all brands, suppliers and categories that the revisions mention, by id."""
    ids: dict[str, set[str]] = {}
    for revision in revisions:
        for values in (revision.old or {}, revision.new):
            for column in values.keys() & REFERENCE_MODELS.keys():
                ids.setdefault(column, set()).update({values[column]} - {None})
    names = {}
    for column, wanted in ids.items():
        for row in REFERENCE_MODELS[column]._default_manager.filter(pk__in=wanted):
            names[str(row.pk)] = str(row)
    return names


def _changes(revision: ProductRevision, names: dict[str, str]) -> list[Change]:
    old = revision.old or {}

    def shown(column: str, value: object) -> str | None:
        if column == "status" and isinstance(value, str):
            return str(Product.Status(value).label) if value in Product.Status.values else value
        if isinstance(value, bool):
            return gettext("yes") if value else gettext("no")
        return None if value is None else names.get(str(value), str(value))

    changes = []
    for column, value in revision.new.items():
        label = _("deleted") if column == "deleted" else Product._meta.get_field(column).verbose_name  # type: ignore[union-attr]
        changes.append(Change(str(label), shown(column, old.get(column)), shown(column, value)))
    return changes


def _source_page(revision: ProductRevision) -> tuple[str | None, str]:
    source = ProductRevision.Source(revision.source)
    if revision.source_id is None or source not in SOURCE_PAGES:
        return None, ""
    view, label = SOURCE_PAGES[source]
    try:
        return reverse(view, args=[revision.source_id]), str(label)
    except NoReverseMatch:
        return None, ""
