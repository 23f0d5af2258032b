"""The review queue: one doubtful match at a time, our product beside every candidate, decided by click or key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext

from catalog.marketplaces import product_page
from catalog.models import Supplier
from code2asin import results
from code2asin.models import Code2AsinJob, MatchResult, Review
from pim.admin import BackOfficeAdmin, badge, http_url

PERMISSION = "code2asin.review_match"
KEYS = 9  # candidates that a digit key accepts
_WORD = re.compile(r"[^\W_]+")
_LOWERS = re.compile(r"-0\.\d|capped at")
_RAISES = re.compile(r"\+0\.\d")
BRAND_TONES = {"equal": "good", "close": "warn", "conflict": "bad"}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which doubtful matches are looked at: all of them, or those of a job or of a supplier's products."""

    job: Code2AsinJob | None = None
    supplier: Supplier | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Selection":
        """Read `job` (an id) and `supplier` (a code). Raises Http404 for what does not exist."""
        job = supplier = None
        if job_id := query.get("job"):
            job = Code2AsinJob.objects.filter(pk=_uuid(job_id)).first()
        if code := query.get("supplier"):
            supplier = Supplier.objects.filter(code__iexact=code).first()
        if (job_id and job is None) or (code and supplier is None):
            raise Http404("There is no such job or supplier.")
        return cls(job, supplier)

    @property
    def query(self) -> dict[str, str]:
        chosen = {"job": self.job and str(self.job.pk), "supplier": self.supplier and self.supplier.code}
        return {name: value for name, value in chosen.items() if value}

    def waiting(self) -> QuerySet[Review]:
        found = Review.objects.filter(status=MatchResult.Status.AMBIGUOUS)
        if self.job:
            found = found.filter(job=self.job)
        if self.supplier:
            found = found.filter(product__supplier=self.supplier)
        return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate as its card shows it.

    key: the digit that accepts it, None past the ninth. title: its words, and whether ours lacks them.
    reasons: each with its sign, "+", "–" or "·". pack, brand: with the tone that says whether they agree with ours.
    """

    key: int | None
    asin: str
    page: str | None
    image: str | None
    title: list[tuple[str, bool]]
    brand: str
    brand_tone: str
    pack: int | None
    pack_tone: str
    percent: int
    reasons: list[tuple[str, str]]


class ReviewAdmin(BackOfficeAdmin):
    """The list is the queue, an object's page is one match, decided or not."""

    template = "admin/code2asin/review/match.html"

    class Media:
        css: ClassVar = {"all": ["code2asin/review.css"]}
        js: ClassVar = ["code2asin/review.js"]

    # --- who ----------------------------------------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(PERMISSION)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(PERMISSION)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # --- pages --------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.decide_view)
        return [path("<uuid:result_id>/decide/", view, name="code2asin_review_decide"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The next match that waits, behind `after` when given."""
        self._require_permission(request)
        selection = Selection.of(request.GET)
        waiting = selection.waiting()
        upcoming = waiting.select_related("job", "product__brand", "product__supplier").order_by("id")
        after = request.GET.get("after")
        result = (upcoming.filter(id__gt=_uuid(after)) if after else upcoming).first()
        if result is None and after and waiting.exists():
            messages.info(request, gettext("That was the end of the queue; here are the matches you skipped."))
            return HttpResponseRedirect(_queue(selection))
        context: dict[str, Any] = {"title": gettext("Review matches"), "selection": selection}
        if result is not None:
            context |= self._match_context(request, result)
            context |= waiting.aggregate(left=Count("id"), position=Count("id", filter=Q(id__lte=result.pk)))
            context["skip_page"] = _queue(selection, after=result.pk)
        return self._render(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One match, whatever was decided."""
        self._require_permission(request)
        found = Review.objects.select_related("job", "product__brand", "product__supplier")
        result = found.filter(pk=_uuid(unquote(object_id))).first()
        if result is None:
            raise Http404("There is no such match.")
        context = {"title": gettext("Match of %s") % result.code, "selection": Selection()}
        return self._render(request, context | self._match_context(request, result))

    def decide_view(self, request: HttpRequest, result_id: UUID) -> HttpResponse:
        """Accept the candidate named `accept`, or reject all, then go to the next match."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._require_permission(request)
        selection = Selection.of(request.POST)
        shown = Review.objects.select_related("product").filter(pk=result_id).first()
        if shown is None:
            raise Http404("There is no such match.")
        asin = request.POST.get("accept", "").strip().upper()
        if not asin and "reject" not in request.POST:
            messages.error(request, gettext("Nothing was decided: name an ASIN or reject."))
            return HttpResponseRedirect(reverse("admin:code2asin_review_change", args=[result_id]))
        actor = request.user.get_username()
        try:
            with transaction.atomic():
                if asin:
                    results.accept(result_id=result_id, asin=asin, actor=actor)
                else:
                    results.reject(result_id=result_id, actor=actor)
                self.log_change(request, shown, _decision_text(shown, asin))
        except results.InvalidAsin as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:code2asin_review_change", args=[result_id]))
        except results.AlreadyDecided as error:
            messages.warning(request, _decided_by_other(error, shown.code))
        except results.DecisionRefused as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _done(shown, asin))
        return HttpResponseRedirect(_queue(selection, after=result_id))

    def _require_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _render(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "subtitle": None}
        return TemplateResponse(request, self.template, common | context)

    def _match_context(self, request: HttpRequest, result: Review) -> dict[str, Any]:
        product = result.product
        features = result.candidates[0].get("features", {}) if result.candidates else {}
        open_to_me = not result.review or result.reviewed_by == request.user.get_username()
        return {
            "result": result,
            "product": product,
            "product_image": http_url(product.image_url) if product else None,
            "pack_ours": features.get("pack_ours"),
            "status_badge": badge(result.status, result.get_status_display()),
            "may_decide": open_to_me and result.status != MatchResult.Status.PENDING,
            "candidates": [_candidate(number, raw, result) for number, raw in enumerate(result.candidates, start=1)],
        }


def _candidate(number: int, raw: dict[str, Any], result: Review) -> Candidate:
    features = raw.get("features") or {}
    product = result.product
    known = f"{product.name} {product.brand or ''}" if product else ""
    ours = {word.casefold() for word in _WORD.findall(known)}
    pack, pack_ours = features.get("pack_theirs"), features.get("pack_ours")
    return Candidate(
        key=number if number <= KEYS else None,
        asin=raw["asin"],
        page=product_page(raw["asin"], result.job.marketplace),
        image=http_url(raw.get("image")),
        title=[
            (word, not ours.issuperset(part.casefold() for part in _WORD.findall(word)))
            for word in (raw.get("title") or "").split()
        ],
        brand=raw.get("brand") or "",
        brand_tone=BRAND_TONES.get(str(features.get("brand")), "quiet"),
        pack=pack,
        pack_tone="quiet" if pack == pack_ours else "bad",
        percent=round((raw.get("score") or 0) * 100),
        reasons=[(_sign(reason), reason) for reason in raw.get("reasons") or []],
    )


def _sign(reason: str) -> str:
    if _LOWERS.search(reason):
        return "–"
    return "+" if _RAISES.search(reason) else "·"


def _decision_text(shown: Review, asin: str) -> str:
    """What the audit log keeps: the decision and what was on the screen."""
    candidates = ", ".join(f"{c['asin']} {round((c.get('score') or 0) * 100)} %" for c in shown.candidates)
    decision = f"Accepted {asin}" if asin else "Rejected all candidates"
    product = f" ({shown.product.name})" if shown.product else ""
    return f"{decision} for {shown.code}{product}. Shown: {candidates or 'no candidate'}."


def _done(shown: Review, asin: str) -> SafeString:
    text = (
        gettext("%(asin)s accepted for %(code)s.") % {"asin": asin, "code": shown.code}
        if asin
        else gettext("All candidates of %(code)s rejected.") % {"code": shown.code}
    )
    page = reverse("admin:code2asin_review_change", args=[shown.pk])
    return format_html('{} <a href="{}">{}</a>', text, page, gettext("Look again"))


def _decided_by_other(error: results.AlreadyDecided, code: str) -> str:
    at = date_format(localtime(error.reviewed_at), "DATETIME_FORMAT") if error.reviewed_at else ""
    text = (
        gettext("%(user)s accepted a candidate for %(code)s on %(at)s. Your decision was not saved.")
        if error.decision == MatchResult.Review.ACCEPTED
        else gettext("%(user)s rejected all candidates of %(code)s on %(at)s. Your decision was not saved.")
    )
    return text % {"user": error.reviewed_by, "code": code, "at": at}


def _queue(selection: Selection, *, after: UUID | None = None) -> str:
    query = urlencode(selection.query | ({"after": str(after)} if after else {}))
    return reverse("admin:code2asin_review_changelist") + (f"?{query}" if query else "")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404(f"{text!r} is not an id.") from None
