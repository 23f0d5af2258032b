"""The catalogue in the back office. Edits go through `catalog.editing` and `catalog.upsert`: each leaves a revision."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import IntegrityError
from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from catalog import identifiers
from catalog.editing import delete_product, edit_product
from catalog.fields import FIELDS, LOCKABLE
from catalog.history import read_history
from catalog.marketplaces import product_page
from catalog.models import Brand, Category, Product, ProductRevision, Supplier
from catalog.provenance import Provenance
from catalog.upsert import COLUMNS, Mode, Result, Row, upsert_products
from pim.admin import BackOfficeAdmin, badge, grouped, http_url

# One transaction a product: more belongs into an import.
MAX_SELECTED = 1000


def asin_link(asin: str | None, marketplace_id: str | None = None) -> SafeString | str:
    """The ASIN as a link to its page on the marketplace (the configured one when none is named)."""
    if not asin:
        return "–"
    page = product_page(asin, marketplace_id or settings.AMAZON_MARKETPLACE_ID)
    if page is None:
        return asin
    return format_html('<a class="pim-code" href="{}" rel="noopener noreferrer" target="_blank">{}</a>', page, asin)


# --- products -----------------------------------------------------------------------------------------------------


def _label(name: str) -> Any:
    """What the page calls a field of the public interfaces."""
    attribute = {"brand_name": "brand", "supplier_code": "supplier", "category_id": "category"}.get(name, name)
    return Product._meta.get_field(attribute).verbose_name  # type: ignore[union-attr]


class ProductForm(forms.ModelForm):  # type: ignore[type-arg]
    """A product's fields with the limits of `catalog.fields`.

    Each field carries what the page showed, so only what the user really changed is saved: an import that changes
    the price meanwhile is not undone by saving a name.
    """

    # Longer than an EAN: other spellings are normalised.
    ean = forms.CharField(
        label=_("EAN"),
        max_length=30,
        help_text=_("8 or 13 digits."),
        widget=AdminTextInputWidget({"inputmode": "numeric"}),
    )
    locked_fields = forms.MultipleChoiceField(
        label=_("Locked fields"),
        choices=[(name, _label(name)) for name in LOCKABLE],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Imports leave these fields alone."),
    )
    ean_warning: str | None = None

    class Meta:
        model = Product
        fields = (
            *("ean", "brand", "supplier", "category", "locked_fields"),
            *(name for name in COLUMNS if not name.endswith("_id")),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.show_hidden_initial = not self.instance._state.adding
            field.validators = [*field.validators, *_validators(name)]

    def clean_ean(self) -> str:
        try:
            found = identifiers.normalise(self.cleaned_data["ean"])
        except identifiers.CodeError as error:
            raise ValidationError(str(error)) from error
        if not found.check_digit_ok and settings.EAN_CHECK == "reject":
            raise ValidationError(found.warning or "")
        if settings.EAN_CHECK != "off" or found.check_digit_ok:
            self.ean_warning = found.warning
        others = Product.objects.exclude(pk=self.instance.pk).filter(ean=found.ean)
        if self.instance._state.adding:
            others = others.live()  # a deleted one comes back under its old id
        if other := others.first():
            message = _("A deleted product has this EAN.") if other.deleted_at else _("A product with this EAN exists.")
            raise ValidationError(message)
        return found.ean

    def clean_barcode(self) -> str:
        return str(self.cleaned_data["barcode"] or self.cleaned_data.get("ean", ""))

    def clean_asin(self) -> str | None:
        asin: str | None = self.cleaned_data["asin"]
        if asin is None:
            return None
        RegexValidator(r"\A[A-Z0-9]{10}\Z", _("An ASIN is ten capital letters and digits."))(asin)
        return asin

    def clean_image_url(self) -> str | None:
        address: str | None = self.cleaned_data["image_url"]
        if address is not None and http_url(address) is None:
            raise ValidationError(_("The address must begin with http:// or https://."))
        return address

    def clean_description(self) -> str | None:
        return _lines(self.cleaned_data["description"])

    def clean_short_description(self) -> str | None:
        return _lines(self.cleaned_data["short_description"])

    def _get_validation_exclusions(self) -> set[str]:
        """`clean_ean` checks the EAN: unlike the constraint, it lets a deleted product come back."""
        return {"ean", *super()._get_validation_exclusions()}  # type: ignore[misc]


def _validators(name: str) -> list[Any]:
    spec = FIELDS.get(name)
    if spec is None:
        return []
    if spec.kind == "decimal":
        return [MinValueValidator(0), MaxValueValidator(spec.maximum)]
    if spec.kind == "digits":
        lengths = " | ".join(str(length) for length in spec.lengths)
        pattern = "|".join(rf"\d{{{length}}}" for length in spec.lengths)
        return [RegexValidator(rf"\A(?:{pattern})\Z", _("Digits only, this many: %s.") % lengths)]
    return [MaxLengthValidator(spec.max_length)] if spec.max_length else []


def _lines(text: str | None) -> str | None:
    """The text with the line ends of the database, not those of a browser's form."""
    return text.replace("\r\n", "\n") if text else text


class AsinFilter(admin.SimpleListFilter):
    title = _("ASIN")
    parameter_name = "asin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("has an ASIN")), ("no", _("has none"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        match self.value():
            case "yes":
                return queryset.filter(asin__isnull=False)
            case "no":
                return queryset.filter(asin__isnull=True)
        return queryset


class DeletedFilter(admin.SimpleListFilter):
    """Hides deleted products unless asked for."""

    title = _("deleted")
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("only deleted")), ("all", _("with deleted"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        default, *others = super().choices(changelist)
        yield {**default, "display": _("not deleted")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        match self.value():
            case "yes":
                return queryset.filter(deleted_at__isnull=False)
            case "all":
                return queryset
        return queryset.filter(deleted_at=None)


@admin.register(Product)
class ProductAdmin(BackOfficeAdmin):
    form = ProductForm
    change_form_template = "admin/catalog/product/change_form.html"
    delete_confirmation_template = "admin/catalog/product/delete_confirmation.html"
    list_display = ("ean", "name_and_brand", "supplier", "price", "status_badge", "asin_page", "changed")
    list_display_links = ("ean", "name_and_brand")
    list_select_related = ("brand", "supplier")
    list_filter = (
        "status",
        AsinFilter,
        ("created_at", admin.DateFieldListFilter),
        DeletedFilter,
        ("supplier", admin.RelatedFieldListFilter),
    )
    search_fields = ("name",)
    search_help_text = _("Words of the name, EAN, UPC, barcode or reference.")
    ordering = ("-created_at", "-id")
    autocomplete_fields = ("brand", "supplier", "category")
    actions = ("delete_selected", "restore_selected")
    save_on_top = True
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("ean", "status"), "name", ("brand", "supplier", "category"), "reference")}),
        (_("Prices"), {"fields": (("price", "cost_price"),)}),
        (_("Codes"), {"fields": (("asin", "barcode"), ("upc", "gtin"), "external_id")}),
        (_("Texts and image"), {"fields": ("short_description", "description", "image_url", "url_slug")}),
        (_("Weight and size"), {"fields": (("weight", "unit_of_measure"), ("width", "height", "depth"))}),
        (_("Locks"), {"classes": ("collapse",), "fields": ("locked_fields",)}),
        (_("Dates"), {"fields": (("created_at", "updated_at"),)}),
    )

    # --- list ---------------------------------------------------------------------------------------------------

    @admin.display(description=_("status"), ordering="status")
    def status_badge(self, product: Product) -> SafeString:
        if product.deleted_at:
            return badge("deleted", _("deleted"))
        return badge(product.status, product.get_status_display())

    @admin.display(description=_("name and brand"), ordering="name")
    def name_and_brand(self, product: Product) -> SafeString:
        return format_html('{}<br><span class="pim-muted">{}</span>', product.name, product.brand or "–")

    @admin.display(description=_("changed"), ordering="updated_at")
    def changed(self, product: Product) -> str:
        return date_format(localtime(product.updated_at), "SHORT_DATETIME_FORMAT")

    @admin.display(description=_("ASIN"))
    def asin_page(self, product: Product) -> SafeString | str:
        return asin_link(product.asin)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        for word in search_term.split():
            queryset = queryset.search(word)  # type: ignore[attr-defined]
        return queryset, False

    # --- permissions: a deleted product is there to be read ---------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.deleted_at)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.deleted_at)

    # --- writing ------------------------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        extra = extra_context or {}
        if object_id and request.method == "GET":
            extra |= _history(object_id, request.GET.get("before"))
        try:
            return super().changeform_view(request, object_id, form_url, extra)
        except (IntegrityError, Product.DoesNotExist):
            messages.error(request, _("Somebody else saved or deleted this product meanwhile. Nothing was saved."))
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        if change:
            columns = [Product._meta.get_field(name).attname for name in form.changed_data]  # type: ignore[union-attr]
            edit_product(
                product_id=obj.pk,
                values={column: getattr(obj, column) for column in columns},
                provenance=_provenance(request),
            )
        else:
            values = [_as_text(getattr(obj, column)) for column in COLUMNS]
            outcome = upsert_products(
                fields=list(COLUMNS),
                rows=[Row(0, obj.ean, values)],
                provenance=_provenance(request),
                mode=Mode.CREATE,
            )[0]
            if outcome.result is Result.EXISTS or outcome.id is None:
                raise IntegrityError
            obj.pk = outcome.id
            if obj.locked_fields:
                locks = {"locked_fields": obj.locked_fields}
                edit_product(product_id=obj.pk, values=locks, provenance=_provenance(request))
            if outcome.result is Result.RESTORED:
                messages.info(request, _("This EAN had been deleted: the product is back, with its history."))
        if form.ean_warning and "ean" in form.changed_data:
            messages.warning(request, form.ean_warning)

    def delete_model(self, request: HttpRequest, obj: Product) -> None:
        delete_product(product_id=obj.pk, provenance=_provenance(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        for product_id in queryset.values_list("pk", flat=True):
            with suppress(Product.DoesNotExist):  # somebody else was faster
                delete_product(product_id=product_id, provenance=_provenance(request))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What goes with a product: nothing, its row stays."""
        return [str(obj) for obj in objs], {str(self.opts.verbose_name_plural): len(objs)}, set(), []

    @admin.action(description=_("Delete selected products"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        queryset = queryset.live()  # type: ignore[attr-defined]
        return delete_selected(self, request, queryset) if self._few_enough(request, queryset) else None

    @admin.action(description=_("Restore selected products"), permissions=["change"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        queryset = queryset.filter(deleted_at__isnull=False)
        if not self._few_enough(request, queryset):
            return
        rows = [Row(i, ean, [name]) for i, (ean, name) in enumerate(queryset.values_list("ean", "name"))]
        upsert_products(fields=["name"], rows=rows, provenance=_provenance(request))
        messages.success(request, ngettext("%d product is back.", "%d products are back.", len(rows)) % len(rows))

    def _few_enough(self, request: HttpRequest, queryset: QuerySet[Product]) -> bool:
        count = queryset.count()
        if count > MAX_SELECTED:
            messages.error(
                request,
                gettext("%(count)s products are selected, %(limit)s are the most at once. Nothing was changed.")
                % {"count": grouped(count), "limit": grouped(MAX_SELECTED)},
            )
        return count <= MAX_SELECTED


def _history(product_id: str, before: str | None) -> dict[str, Any]:
    """The template's context for the history on a product's page."""
    if before is not None and not before.isdecimal():
        raise Http404("There is no such page of the history.")
    try:
        entries, older = read_history(UUID(product_id), before=int(before) if before else None)
    except ValueError:
        return {}  # no id of a product: the page says so itself
    return {"history": entries, "history_older": older, "history_before": before}


def _provenance(request: HttpRequest) -> Provenance:
    return Provenance(ProductRevision.Source.ADMIN, request.user.get_username())


def _as_text(value: Any) -> str | UUID | None:
    return value if value is None or isinstance(value, UUID) else str(value)


# --- suppliers, brands, categories ----------------------------------------------------------------------------------


class ReferenceAdmin(BackOfficeAdmin):
    """What products point to: listed with the number of products, and deletable only while it is zero."""

    product_field: str
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counts = Product.objects.live().filter(**{self.product_field: OuterRef("pk")}).order_by()
        counts = counts.values(self.product_field).annotate(count=Count("*")).values("count")
        here = Coalesce(Subquery(counts, output_field=IntegerField()), 0)
        found: QuerySet[Any] = super().get_queryset(request).annotate(products_here=here)
        return found

    @admin.display(description=_("products"))
    def product_count(self, obj: Any) -> SafeString:
        page = f"{reverse('admin:catalog_product_changelist')}?{self.product_field}__id__exact={obj.pk}"
        return format_html('<a href="{}">{}</a>', page, grouped(obj.products_here))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or not Product.objects.filter(**{self.product_field: obj.pk}).exists()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.updated_at = Now()
        super().save_model(request, obj, form, change)


@admin.register(Supplier)
class SupplierAdmin(ReferenceAdmin):
    product_field = "supplier"
    list_display = ("code", "name", "product_count", "updated_at")
    search_fields = ("code", "name")
    fields = ("code", "name")
    ordering = ("code", "id")


@admin.register(Brand)
class BrandAdmin(ReferenceAdmin):
    product_field = "brand"
    list_display = ("name", "product_count", "updated_at")
    search_fields = ("name",)
    fields = ("name",)
    ordering = ("name", "id")


class CategoryForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Category
        fields = ("name", "parent")

    def clean_parent(self) -> Category | None:
        parent: Category | None = self.cleaned_data["parent"]
        above = parent
        while above is not None:
            if above.pk == self.instance.pk:
                raise ValidationError(_("A category cannot stand below itself."))
            above = above.parent
        return parent


@admin.register(Category)
class CategoryAdmin(ReferenceAdmin):
    product_field = "category"
    form = CategoryForm
    list_display = ("name", "parent", "product_count", "updated_at")
    list_select_related = ("parent",)
    search_fields = ("name",)
    autocomplete_fields = ("parent",)
    ordering = ("name", "id")
