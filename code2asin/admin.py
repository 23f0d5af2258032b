"""Matching jobs in the back office; doubtful matches are decided in `code2asin.review`."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Avg, Count, Q
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from catalog.admin import asin_link
from catalog.models import Product, Supplier
from code2asin import lifecycle
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult, Review
from code2asin.review import ReviewAdmin
from pim.admin import JobAdmin, Tile, badge, grouped
from pim.jobs.backoff import MAX_RETRIES

RESULTS_PER_PAGE = 50
TABS = {"results": _("Results"), "logs": _("Log"), "configuration": _("Configuration")}
SHOWN_STATUSES = (MatchResult.Status.MATCHED, MatchResult.Status.AMBIGUOUS, MatchResult.Status.UNMATCHED)


class NewJobForm(forms.Form):
    """A selection of the catalogue and the rule for accepting matches. Fields after `name` become filters."""

    name = forms.CharField(label=_("Name"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))
    supplier = forms.ModelChoiceField(
        label=_("Supplier"), required=False, queryset=Supplier.objects.order_by("code", "id"), empty_label=_("all")
    )
    brand_name = forms.CharField(label=_("Brand"), required=False, max_length=255)
    search = forms.CharField(
        label=_("Search"), required=False, max_length=255, help_text=_("Part of the name, EAN, barcode or reference.")
    )
    status = forms.ChoiceField(
        label=_("Status"), required=False, choices=[("", _("any")), *Product.Status.choices], initial="active"
    )
    has_asin = forms.ChoiceField(
        label=_("Products"),
        required=False,
        choices=[("false", _("without an ASIN")), ("", _("with or without an ASIN")), ("true", _("with an ASIN"))],
        initial="false",
    )
    auto_match = forms.BooleanField(
        label=_("Accept certain matches"),
        required=False,
        initial=True,
        help_text=_("When off, every match waits for a person."),
    )
    threshold = forms.DecimalField(
        label=_("Confidence threshold (%)"),
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=1,
        initial=Decimal(85),
        help_text=_("A match below it waits for a person."),
    )

    def product_filter(self) -> dict[str, Any]:
        """The filters of the product list that the form selects."""
        data = self.cleaned_data
        chosen = {name: data[name] for name in ("brand_name", "search", "status", "has_asin") if data[name]}
        if "has_asin" in chosen:
            chosen["has_asin"] = chosen["has_asin"] == "true"
        if data["supplier"]:
            chosen["supplier_code"] = data["supplier"].code
        return chosen


@admin.register(Code2AsinJob)
class Code2AsinJobAdmin(JobAdmin):
    create_form = NewJobForm
    create_label = _("Create a Code2ASIN job")
    create_fieldsets = (
        (None, {"fields": ("name",)}),
        (_("Which products"), {"fields": ("supplier", "brand_name", "search", "status", "has_asin")}),
        (_("Accepting matches"), {"fields": ("auto_match", "threshold")}),
    )
    page_template = "admin/code2asin/code2asinjob/page.html"
    moves = lifecycle.MOVES
    log_model = Code2AsinLog
    list_display = (
        "name",
        "supplier",
        "status_badge",
        "progress",
        "matched",
        "to_review",
        "unmatched",
        "created",
    )
    list_filter = ("status", ("created_at", admin.DateFieldListFilter))
    search_fields = ("name", "supplier__code", "supplier__name")
    search_help_text = _("Name or supplier.")

    def control(self, job: Code2AsinJob, name: str) -> bool:
        if name == "retry" and job.retry_count >= MAX_RETRIES:
            lifecycle.retry(job, reset_counter=True)  # a person decides to go on: the limit is for machines
            return True
        return lifecycle.control(job, name)

    def total(self, job: Code2AsinJob) -> int | None:
        return job.total_codes or None

    @admin.display(description=_("to review"), ordering="ambiguous")
    def to_review(self, job: Code2AsinJob) -> SafeString | str:
        return format_html('<a href="{}">{}</a>', _review_page(job), grouped(job.ambiguous)) if job.ambiguous else "0"

    def create(self, request: HttpRequest, form: NewJobForm) -> Code2AsinJob:
        data = form.cleaned_data
        return lifecycle.create_job(
            name=data["name"],
            product_filter=form.product_filter(),
            actor=request.user.get_username(),
            auto_match=data["auto_match"],
            confidence_threshold=data["threshold"] / 100,
        )

    def page_context(self, request: HttpRequest, job: Code2AsinJob) -> dict[str, Any]:
        tab = request.GET.get("tab", "results")
        if tab not in TABS:
            raise Http404("There is no such tab.")
        may_review = request.user.has_perm("code2asin.review_match")
        context: dict[str, Any] = {
            "tab": tab,
            "tabs": TABS.items(),
            "tiles": _tiles(job, may_review=may_review),
            "may_review": may_review,
            "review_page": _review_page(job),
            "log_kind": "codes",
            "log_query": "tab=logs&",
        }
        if tab == "logs":
            context |= self.log_page(request, job)
        elif tab == "results":
            context |= _results(request, job)
        else:
            context["threshold"] = f"{job.confidence_threshold * 100:.1f}".rstrip("0").rstrip(".")
            context["max_retries"] = MAX_RETRIES
        return context


def _review_page(job: Code2AsinJob) -> str:
    return f"{reverse('admin:code2asin_review_changelist')}?job={job.pk}"


def _tiles(job: Code2AsinJob, *, may_review: bool) -> list[Tile]:
    kinds = MatchResult.MatchType
    found = MatchResult.objects.filter(job=job, status=MatchResult.Status.MATCHED).aggregate(
        **{kind: Count("id", filter=Q(match_type=kind)) for kind in kinds.values}, confidence=Avg("confidence")
    )
    review = _review_page(job) if may_review and job.ambiguous else ""
    confidence = found["confidence"]
    return [
        Tile(gettext("Codes"), grouped(job.total_codes)),
        Tile(gettext("With ASIN"), grouped(job.matched), "good" if job.matched else ""),
        Tile(gettext("To review"), grouped(job.ambiguous), "warn" if job.ambiguous else "", review),
        Tile(
            gettext("Not found"),
            grouped(job.unmatched),
            "bad" if job.unmatched else "",
            "?tab=results&status=unmatched" if job.unmatched else "",
        ),
        Tile(gettext("Exact matches"), grouped(found[kinds.EXACT])),
        Tile(gettext("Partial and fuzzy matches"), grouped(found[kinds.PARTIAL] + found[kinds.FUZZY])),
        Tile(gettext("Decided by a person"), grouped(found[kinds.MANUAL])),
        Tile(gettext("Average confidence"), f"{confidence:.0%}" if confidence is not None else "–"),
    ]


def _results(request: HttpRequest, job: Code2AsinJob) -> dict[str, Any]:
    """One page of what the codes came to, in the order of the job."""
    status = request.GET.get("status", "")
    after = request.GET.get("after", "0")
    if status not in ("", *SHOWN_STATUSES) or not after.isdecimal():
        raise Http404("There is no such page of results.")
    statuses = [status] if status else SHOWN_STATUSES
    results = MatchResult.objects.filter(job=job, status__in=statuses, position__gt=int(after))
    lines = list(results.select_related("product").order_by("position")[: RESULTS_PER_PAGE + 1])
    more = len(lines) > RESULTS_PER_PAGE
    lines = lines[:RESULTS_PER_PAGE]
    return {
        "status": status,
        "statuses": [(value, value.label) for value in SHOWN_STATUSES],
        "after": int(after),
        "results": [
            {
                "match": line,
                "badge": badge(line.status, line.get_status_display()),
                "asin": asin_link(line.asin, job.marketplace),
                "percent": None if line.confidence is None else round(line.confidence * 100),
            }
            for line in lines
        ],
        "next_after": lines[-1].position if more else None,
    }


admin.site.register(Review, ReviewAdmin)
