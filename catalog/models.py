"""The catalogue's tables. Many products at once are written by `catalog.upsert`, one at a time by `catalog.editing`."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce, Lower, Now, NullIf, Substr, Upper
from django.utils.translation import gettext_lazy as _

from pim.ids import uuid7


class Supplier(models.Model):
    """A source of products, known by its code (case-insensitive)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(_("code"), max_length=100)
    name = models.CharField(_("name"), max_length=255, blank=True, db_default="")
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("supplier")
        verbose_name_plural = _("suppliers")
        ordering = ("code", "id")
        constraints = (
            models.UniqueConstraint(
                Lower("code"),
                name="catalog_supplier_code_unique",
                violation_error_message=_("A supplier with this code exists already."),
            ),
            models.CheckConstraint(name="catalog_supplier_code_not_empty", condition=~Q(code="")),
        )

    def __str__(self) -> str:
        return self.code


class Brand(models.Model):
    """A brand, known by its name (case-insensitive)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=255)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("brand")
        verbose_name_plural = _("brands")
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                Lower("name"),
                name="catalog_brand_name_unique",
                violation_error_message=_("A brand with this name exists already."),
            ),
            models.CheckConstraint(name="catalog_brand_name_not_empty", condition=~Q(name="")),
        )

    def __str__(self) -> str:
        return self.name


class Category(models.Model):
    """A node of the category tree; names are unique among siblings (case-insensitive)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=255)
    parent = models.ForeignKey(
        "self", verbose_name=_("parent"), null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("category")
        verbose_name_plural = _("categories")
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                "parent",
                Lower("name"),
                name="catalog_category_name_unique",
                nulls_distinct=False,
                violation_error_message=_("A category with this name exists already at this place."),
            ),
            models.CheckConstraint(name="catalog_category_name_not_empty", condition=~Q(name="")),
            models.CheckConstraint(name="catalog_category_not_own_parent", condition=~Q(parent=F("id"))),
        )

    def __str__(self) -> str:
        return self.name


class SearchText(Func):
    """All that a search looks at, in capitals: one expression, so that one trigram index serves every search."""

    template = "(%(expressions)s)"
    arg_joiner = " || ' ' || "
    output_field = models.TextField()

    def __init__(self) -> None:
        # Most barcodes and all UPCs read from an EAN are parts of the EAN: said once, they cost once.
        parts = (NullIf(Upper("barcode"), F("ean")), Upper("reference"), NullIf(F("upc"), Substr("ean", 2)))
        super().__init__(Upper("name"), F("ean"), *(Coalesce(part, Value("")) for part in parts))


class ProductQuerySet(models.QuerySet["Product"]):
    def live(self) -> Self:
        """Products that are not deleted."""
        return self.filter(deleted_at=None)

    def search(self, text: str) -> Self:
        """Products whose name, EAN, barcode, reference or UPC contains the text, whatever its case."""
        return self.alias(search_text=SearchText()).filter(search_text__contains=Upper(Value(text)))


class Product(models.Model):
    """A product, keyed by its EAN. A deleted one keeps its row, so a later import revives the same id."""

    class Status(models.TextChoices):
        ACTIVE = "active", _("active")
        INACTIVE = "inactive", _("inactive")
        ARCHIVED = "archived", _("archived")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ean = models.CharField(_("EAN"), max_length=13, help_text=_("8 or 13 digits."))
    barcode = models.CharField(_("barcode"), max_length=64, blank=True, help_text=_("The EAN when left empty."))
    name = models.CharField(_("name"), max_length=255)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.ACTIVE)
    brand = models.ForeignKey(
        Brand, verbose_name=_("brand"), null=True, blank=True, on_delete=models.PROTECT, related_name="products"
    )
    supplier = models.ForeignKey(
        Supplier, verbose_name=_("supplier"), null=True, blank=True, on_delete=models.PROTECT, related_name="products"
    )
    category = models.ForeignKey(
        Category,
        verbose_name=_("category"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="products",
        db_index=False,  # below, for products that have one
    )
    price = models.DecimalField(_("price"), max_digits=8, decimal_places=2, null=True, blank=True)
    cost_price = models.DecimalField(_("cost price"), max_digits=8, decimal_places=2, null=True, blank=True)
    weight = models.DecimalField(_("weight (kg)"), max_digits=8, decimal_places=3, null=True, blank=True)
    width = models.DecimalField(_("width (cm)"), max_digits=7, decimal_places=2, null=True, blank=True)
    height = models.DecimalField(_("height (cm)"), max_digits=7, decimal_places=2, null=True, blank=True)
    depth = models.DecimalField(_("depth (cm)"), max_digits=7, decimal_places=2, null=True, blank=True)
    unit_of_measure = models.CharField(_("unit of measure"), max_length=20, null=True, blank=True)
    description = models.TextField(_("description"), null=True, blank=True)
    short_description = models.TextField(_("short description"), null=True, blank=True)
    reference = models.CharField(_("reference (SKU)"), max_length=100, null=True, blank=True)
    asin = models.CharField(_("ASIN"), max_length=10, null=True, blank=True)
    upc = models.CharField(_("UPC"), max_length=12, null=True, blank=True)
    gtin = models.CharField(_("GTIN"), max_length=14, null=True, blank=True)
    external_id = models.CharField(_("external id"), max_length=100, null=True, blank=True)
    url_slug = models.CharField(_("URL slug"), max_length=255, null=True, blank=True)
    image_url = models.CharField(
        _("image address"), max_length=2000, null=True, blank=True, help_text=_("As the supplier gives it.")
    )
    locked_fields = ArrayField(
        models.CharField(max_length=20),
        verbose_name=_("locked fields"),
        default=list,
        db_default=[],
        blank=True,
        help_text=_("Imports leave these fields alone."),
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    objects = ProductQuerySet.as_manager()

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        ordering = ("created_at", "id")
        constraints = (
            # Not unique=True on the field: that adds a second index, for LIKE, which the search index makes needless.
            models.UniqueConstraint(fields=["ean"], name="catalog_product_ean_unique"),
            models.CheckConstraint(name="catalog_product_ean_format", condition=Q(ean__regex=r"^(\d{8}|\d{13})$")),
            models.CheckConstraint(name="catalog_product_name_not_empty", condition=~Q(name="")),
            models.CheckConstraint(
                name="catalog_product_status_known", condition=Q(status__in=["active", "inactive", "archived"])
            ),
            models.CheckConstraint(
                name="catalog_product_numbers_not_negative",
                condition=~(
                    Q(price__lt=0)
                    | Q(cost_price__lt=0)
                    | Q(weight__lt=0)
                    | Q(width__lt=0)
                    | Q(height__lt=0)
                    | Q(depth__lt=0)
                ),
            ),
            models.CheckConstraint(name="catalog_product_asin_format", condition=Q(asin__regex=r"^[A-Z0-9]{10}$")),
        )
        indexes = (
            models.Index(name="catalog_product_created", fields=["created_at", "id"]),
            models.Index(name="catalog_product_category", fields=["category"], condition=Q(category__isnull=False)),
            models.Index(name="catalog_product_asin", fields=["asin"], condition=Q(asin__isnull=False)),
            GinIndex(OpClass(SearchText(), name="gin_trgm_ops"), name="catalog_product_search"),
        )

    def __str__(self) -> str:
        return f"{self.ean} {self.name}"

    @property
    def is_active(self) -> bool:
        return self.status == self.Status.ACTIVE


class ProductRevision(models.Model):
    """One change of one product: who, when, through what, and the old and new values of what changed.

    old, new: objects of column name to value; `old` is null for a creation.
    source_id: the job or API key behind it. row_number: the row of the imported file.
    """

    class Action(models.TextChoices):
        CREATED = "created", _("created")
        UPDATED = "updated", _("updated")
        DELETED = "deleted", _("deleted")
        RESTORED = "restored", _("restored")

    class Source(models.TextChoices):
        API = "api", _("API")
        ADMIN = "admin", _("back office")
        IMPORT = "import", _("import")
        MATCH = "match", _("ASIN match")

    id = models.BigAutoField(primary_key=True)
    # No database constraint: the statement that writes the product writes this row, and products are never removed.
    product = models.ForeignKey(Product, on_delete=models.DO_NOTHING, db_constraint=False, related_name="revisions")
    at = models.DateTimeField(_("time"), db_default=Now())
    action = models.CharField(_("action"), max_length=8, choices=Action.choices)
    source = models.CharField(_("through"), max_length=6, choices=Source.choices)
    source_id = models.UUIDField(null=True)
    actor = models.CharField(_("by"), max_length=200)
    row_number = models.BigIntegerField(_("row"), null=True)
    old = models.JSONField(_("before"), null=True)
    new = models.JSONField(_("after"))

    class Meta:
        verbose_name = _("product revision")
        verbose_name_plural = _("product revisions")
        ordering = ("id",)
        indexes = (models.Index(name="catalog_revision_source", fields=["source_id", "row_number"]),)

    def __str__(self) -> str:
        return f"{self.action} {self.product_id}"


class SupplierRecord(models.Model):
    """What a supplier sent last for a product, so that a value he repeats does not overwrite what people changed.

    values: column to value as staged. digest: of the whole row, to recognise a repeated one. source_id: the import.
    """

    pk = models.CompositePrimaryKey("product_id", "supplier_id")
    # No database constraints, as for revisions: the statement that writes the product writes this row.
    product = models.ForeignKey(
        Product, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    supplier = models.ForeignKey(
        Supplier, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    source_id = models.UUIDField(null=True)
    digest = models.BigIntegerField()
    values = models.JSONField()

    def __str__(self) -> str:
        return f"{self.supplier_id} {self.product_id}"


class ProductChange(models.Model):
    """The last change of a product, as readers of the change feed see it (`catalog.changes`). Written by triggers.

    stamp: null from the change until the sequencer has seen it committed; then larger than every stamp before it.
    removed_ean: the EAN of a product whose row was removed with SQL; such a row has no product.
    """

    product = models.OneToOneField(
        Product, on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    stamp = models.DateTimeField(null=True, unique=True)
    removed_ean = models.CharField(max_length=13, null=True)

    def __str__(self) -> str:
        return f"{self.product_id} {self.stamp}"


class ReferenceChange(models.Model):
    """A renamed brand, supplier or category that the sequencer has yet to see. Written by triggers."""

    reference_id = models.UUIDField(primary_key=True)

    def __str__(self) -> str:
        return str(self.reference_id)


class RenamedProduct(models.Model):
    """A product whose brand, supplier or category was renamed, until the sequencer has stamped it."""

    product_id = models.UUIDField(primary_key=True)

    def __str__(self) -> str:
        return str(self.product_id)


class SyncClock(models.Model):
    """One row: the largest stamp ever given."""

    one = models.BooleanField(primary_key=True, default=True)
    last = models.DateTimeField()

    class Meta:
        managed = False  # `flush` must leave it alone: clients hold cursors that it gave

    def __str__(self) -> str:
        return str(self.last)
