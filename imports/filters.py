"""Filters of import job lists and of job logs."""

import django_filters

from catalog.filters import FlagFilter, MomentFilter
from imports.models import ImportJob, ImportLog
from pim.jobs.states import Status


class ImportJobFilter(django_filters.FilterSet):  # type: ignore[misc]
    status = django_filters.ChoiceFilter(choices=Status.choices)
    supplier_code = django_filters.CharFilter(field_name="supplier__code", lookup_expr="iexact")
    file_type = django_filters.ChoiceFilter(choices=ImportJob.FileType.choices)
    file_name = django_filters.CharFilter(lookup_expr="icontains")
    dry_run = FlagFilter()
    created_since = MomentFilter(field_name="created_at", lookup_expr="gte", label="Created at or after this time.")
    created_until = MomentFilter(field_name="created_at", lookup_expr="lt", label="Created before this time.")

    class Meta:
        model = ImportJob
        fields = ("status", "supplier_code", "file_type", "file_name", "dry_run", "created_since", "created_until")


class ImportLogFilter(django_filters.FilterSet):  # type: ignore[misc]
    level = django_filters.ChoiceFilter(choices=ImportLog.Level.choices)

    class Meta:
        model = ImportLog
        fields = ("level",)
