"""The filters of the product list; a match job selects its products with the same ones."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from catalog.models import Product, ProductQuerySet
from pim.api.times import parse_time

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class FlagField(forms.Field):
    """true or false; anything else is refused instead of meaning "no filter"."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        flag = _FLAGS.get(str(value).lower())
        if flag is None:
            raise ValidationError(_("Must be true or false."), code="invalid")
        return flag


class MomentField(forms.Field):
    """A point in time: ISO 8601, UTC when it has no offset."""

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            return parse_time(str(value))
        except ValueError:
            raise ValidationError(_("Must be an ISO 8601 date or time."), code="invalid") from None


class FlagFilter(django_filters.BooleanFilter):  # type: ignore[misc]
    field_class = FlagField


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = MomentField


class TextsFilter(django_filters.BaseInFilter, django_filters.CharFilter):  # type: ignore[misc]
    """Any of several values, separated by commas."""


class ProductFilterSet(django_filters.FilterSet):  # type: ignore[misc]
    search = django_filters.CharFilter(
        method="matching", max_length=255, label="Part of the name, EAN, barcode, reference (SKU) or UPC, in any case."
    )
    ean = TextsFilter(lookup_expr="in", label="EANs, separated by commas.")
    is_active = FlagFilter(method="active", label="True: status active; false: inactive or archived.")
    status = django_filters.ChoiceFilter(choices=Product.Status.choices)
    supplier_id = django_filters.UUIDFilter()
    supplier_code = django_filters.CharFilter(field_name="supplier__code", lookup_expr="iexact")
    brand_id = django_filters.UUIDFilter()
    brand_name = django_filters.CharFilter(field_name="brand__name", lookup_expr="iexact")
    category_id = django_filters.UUIDFilter()
    has_asin = FlagFilter(field_name="asin", lookup_expr="isnull", exclude=True, label="Whether an ASIN is known.")
    price_min = django_filters.NumberFilter(field_name="price", lookup_expr="gte")
    price_max = django_filters.NumberFilter(field_name="price", lookup_expr="lte")
    updated_since = MomentFilter(field_name="updated_at", lookup_expr="gte", label="Changed at or after this time.")

    class Meta:
        model = Product
        fields: tuple[str, ...] = ()

    def __init__(self, data: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        # form fields only for what is asked: making all of them costs more than the query
        for name in FILTERS.difference(data):
            del self.filters[name]

    def matching(self, queryset: ProductQuerySet, name: str, value: str) -> ProductQuerySet:
        return queryset.search(value)

    def active(self, queryset: ProductQuerySet, name: str, value: bool) -> ProductQuerySet:
        active = Product.Status.ACTIVE
        return queryset.filter(status=active) if value else queryset.exclude(status=active)


def _takes_many(name: str) -> bool:
    return isinstance(ProductFilterSet.base_filters[name], TextsFilter)


FILTERS: frozenset[str] = frozenset(ProductFilterSet.base_filters)


def filter_products(selection: Mapping[str, Any]) -> ProductQuerySet:
    """The live products that a JSON object of the product list's filters selects; all of them when it is empty.

    null is the same as leaving a filter out. Raises Django's ValidationError, by filter name, for an unknown filter
    or a value that it does not take.
    """
    errors: dict[str, list[str]] = {}
    data: dict[str, str] = {}
    for name, value in selection.items():
        if name not in FILTERS:
            errors[name] = [_("Unknown filter. Known: %(known)s.") % {"known": ", ".join(sorted(FILTERS))}]
        elif isinstance(value, list) and _takes_many(name) and all(isinstance(item, str) for item in value):
            data[name] = ",".join(value)
        elif isinstance(value, bool | int | float | str) and value != "":
            data[name] = str(value)
        elif value is not None:
            errors[name] = [_("Must be a text, a number, true or false.")]
    if errors:
        raise ValidationError(errors)
    filters = ProductFilterSet(data, queryset=Product.objects.live())
    if not filters.is_valid():
        raise ValidationError(filters.errors.as_data())
    products: ProductQuerySet = filters.qs
    return products
