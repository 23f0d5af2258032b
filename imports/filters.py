"""Filters of import job lists and of job logs."""

import django_filters

from imports.models import ImportJob, ImportLog
from pim.jobs.states import Status


class ImportJobFilter(django_filters.FilterSet):  # type: ignore[misc]
    status = django_filters.ChoiceFilter(choices=Status.choices)
    supplier_code = django_filters.CharFilter(field_name="supplier__code", lookup_expr="iexact")

    class Meta:
        model = ImportJob
        fields = ("status", "supplier_code")


class ImportLogFilter(django_filters.FilterSet):  # type: ignore[misc]
    level = django_filters.ChoiceFilter(choices=ImportLog.Level.choices)

    class Meta:
        model = ImportLog
        fields = ("level",)
