"""What the pages of the back office share: the site's names, badges, forms that create, and pages of jobs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from pim.jobs.models import AbstractJob, AbstractJobLog
from pim.jobs.states import TERMINAL, IllegalMove, Move, Status

admin.site.site_header = _("Product catalogue")
admin.site.site_title = _("Product catalogue")
admin.site.index_title = _("Back office")
admin.site.site_url = None  # there is no other site to view

TONES = {
    "active": "good",
    "completed": "good",
    "matched": "good",
    "accepted": "good",
    "info": "quiet",
    "analyzing": "busy",
    "processing": "busy",
    "ready": "warn",
    "paused": "warn",
    "ambiguous": "warn",
    "warning": "warn",
    "expired": "warn",
    "failed": "bad",
    "error": "bad",
    "revoked": "bad",
    "rejected": "bad",
    "deleted": "bad",
}
MOVE_LABELS = {
    "start": _("Start"),
    "confirm": _("Confirm and import"),
    "pause": _("Pause"),
    "resume": _("Resume"),
    "retry": _("Retry"),
    "cancel": _("Cancel the job"),
}
LOGS_PER_PAGE = 50


def badge(value: str, label: object) -> SafeString:
    """A status as a coloured word; `value` selects the colour."""
    return format_html('<span class="pim-badge pim-{}">{}</span>', TONES.get(value, "quiet"), label)


def grouped(number: int) -> str:
    """A whole number with the language's thousands separator."""
    return number_format(number, force_grouping=True)


def http_url(address: str | None) -> str | None:
    """The address when a browser may load it as it stands: absolute, http or https; None for anything else."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return None
    return address if parts.scheme in ("http", "https") and parts.netloc else None


def duration(span: timedelta) -> str:
    """A span of time in its two largest units ("2 h 5 min")."""
    seconds = int(span.total_seconds())
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, gettext("d")), (hours, gettext("h")), (minutes, gettext("min")), (seconds, gettext("s"))]
    while len(units) > 2 and not units[0][0]:
        units.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in units[:2] if count) or f"< 1 {gettext('s')}"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of a job's page. href: the page that lists what is counted."""

    label: str
    value: str
    tone: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One point of a job's timeline. at: None for what is still going on."""

    label: str
    at: datetime | None
    detail: str = ""
    tone: str = ""


class BackOfficeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The defaults of every list: one count a page however many rows, and a title that says what is listed."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))


class CreateFormAdmin(BackOfficeAdmin):
    """Objects that are created through a plain form and cannot be edited afterwards."""

    create_form: type[forms.Form]
    create_fieldsets: Sequence[tuple[str | Promise | None, dict[str, Any]]]
    create_label: str | Promise
    add_form_template = "admin/create_form.html"

    def create(self, request: HttpRequest, form: Any) -> Model | None:
        """The object made from the valid form; None when an error was added to the form instead."""
        raise NotImplementedError

    def page_of(self, obj: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def response_created(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return HttpResponseRedirect(self.page_of(obj))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        submitted = request.method == "POST"
        form: Any = self.create_form(request.POST, request.FILES) if submitted else self.create_form()
        if submitted and form.is_valid() and (obj := self.create(request, form)) is not None:
            self.log_addition(request, obj, [{"added": {}}])
            return self.response_created(request, obj)
        adminform = helpers.AdminForm(form, list(self.create_fieldsets), {}, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            "title": self.create_label,
            "subtitle": None,
            "adminform": adminform,
            "inline_admin_formsets": [],
            "errors": helpers.AdminErrorList(form, []),
            "media": self.media + form.media,
            "submit_label": self.create_label,
            "is_popup": False,
            "preserved_filters": self.get_preserved_filters(request),
            **(extra_context or {}),
        }
        return self.render_change_form(request, context, add=True, form_url=form_url)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class JobAdmin(CreateFormAdmin):
    """A kind of job: list, form that creates one, and a page with figures, log and the moves that are legal now."""

    page_template: str
    moves: Mapping[str, Move]
    log_model: type[Any]  # an AbstractJobLog with its `job`
    list_select_related = ("supplier",)
    ordering = ("-created_at", "-id")

    def control(self, job: Any, name: str) -> bool:
        """Make the move; False when the job was already there. Raises IllegalMove."""
        raise NotImplementedError

    def total(self, job: Any) -> int | None:
        """Units the job has to do, None while that is unknown."""
        raise NotImplementedError

    def page_context(self, request: HttpRequest, job: Any) -> dict[str, Any]:
        raise NotImplementedError

    # --- list ---------------------------------------------------------------------------------------------------

    @admin.display(description=_("status"), ordering="status")
    def status_badge(self, job: AbstractJob) -> SafeString:
        return badge(job.status, job.get_status_display())

    @admin.display(description=_("when"), ordering="created_at")
    def created(self, job: AbstractJob) -> str:
        at = date_format(localtime(job.created_at), "SHORT_DATETIME_FORMAT")
        return gettext("%(at)s by %(user)s") % {"at": at, "user": job.created_by} if job.created_by else at

    @admin.display(description=_("progress"))
    def progress(self, job: AbstractJob) -> SafeString | str:
        percent = self.percent(job)
        if percent is None:
            return "–"
        return format_html(
            '<progress class="pim-progress" max="100" value="{0}" aria-label="{1}"></progress> {0} %<br>{2}',
            percent,
            gettext("progress"),
            gettext("of %(total)s") % {"total": grouped(self.total(job) or 0)},
        )

    def percent(self, job: AbstractJob) -> int | None:
        if job.status == Status.COMPLETED:
            return 100
        total = self.total(job)
        return job.cursor * 100 // total if total else None

    # --- page ---------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_move"
        view = self.admin_site.admin_view(self.move_view)
        return [path("<uuid:job_id>/move/<slug:name>/", view, name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The job's page. Nothing on it is editable: what can be done are moves."""
        job = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return, attr-defined]
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET"])
        may_move = self.has_change_permission(request, job)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(job),
            "subtitle": None,
            "job": job,
            "status_badge": self.status_badge(job),
            "running": job.status in job.claimable,
            "percent": self.percent(job),
            "pace": self.pace(job),
            "moves": list(self.legal_moves(job)) if may_move else [],
            "timeline": list(self.timeline(job)),
            "media": self.media,
            "levels": AbstractJobLog.Level.choices,
            **self.page_context(request, job),
        }
        return TemplateResponse(request, self.page_template, context)

    def legal_moves(self, job: AbstractJob) -> Iterator[dict[str, object]]:
        """The moves that the job's status allows, the one that ends it last."""
        legal = [move for move in self.moves.values() if job.status in move.sources]
        for move in sorted(legal, key=lambda move: move.target is Status.CANCELLED):
            yield {
                "label": MOVE_LABELS[move.name],
                "url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_move", args=[job.pk, move.name]),
                "final": move.target is Status.CANCELLED,
            }

    def move_view(self, request: HttpRequest, job_id: UUID, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if name not in self.moves:
            raise Http404(f"There is no move {name!r}.")
        job = get_object_or_404(self.get_queryset(request), pk=job_id)
        if not self.has_change_permission(request, job):
            raise PermissionDenied
        label = MOVE_LABELS[name]
        try:
            moved = self.control(job, name)
        except IllegalMove:
            messages.error(
                request,
                gettext("“%(move)s” is not possible: the job is %(status)s. Nothing was changed.")
                % {"move": label, "status": job.get_status_display()},
            )
        else:
            if moved:
                self.log_change(request, job, str(label))
            messages.success(request, gettext("The job is now %(status)s.") % {"status": job.get_status_display()})
        return HttpResponseRedirect(self.page_of(job))

    def timeline(self, job: AbstractJob) -> Iterator[Event]:
        by = gettext("by %(user)s") % {"user": job.created_by} if job.created_by else ""
        yield Event(pgettext("timeline", "Created"), job.created_at, by)
        if job.started_at:
            yield Event(gettext("Started"), job.started_at)
        if job.status not in TERMINAL:
            detail = ""
            if job.attempt:
                detail = ngettext("%d retry so far", "%d retries so far", job.attempt) % job.attempt
                if job.next_run_at > timezone.now():
                    detail += ", " + gettext("next attempt in %(span)s") % {
                        "span": duration(job.next_run_at - timezone.now())
                    }
            yield Event(capfirst(job.get_status_display()), None, detail, TONES.get(job.status, ""))
        elif job.completed_at:
            since = job.started_at or job.created_at
            took = gettext("after %(span)s") % {"span": duration(job.completed_at - since)}
            yield Event(capfirst(job.get_status_display()), job.completed_at, took, TONES.get(job.status, ""))

    def pace(self, job: AbstractJob) -> str:
        """Speed and time left of a job that is being worked on."""
        total = self.total(job)
        if job.status != Status.PROCESSING or not (total and job.cursor and job.started_at):
            return ""
        elapsed = timezone.now() - job.started_at
        rate = job.cursor / max(elapsed.total_seconds(), 1)
        return gettext("%(rate)s a second, about %(span)s left") % {
            "rate": grouped(round(rate)) if rate >= 1 else f"{rate:.1f}",
            "span": duration(timedelta(seconds=(total - job.cursor) / rate)),
        }

    def log_page(self, request: HttpRequest, job: AbstractJob) -> dict[str, Any]:
        """One page of the job's log, by level; keyset paging makes a log of a million lines as quick as a short one."""
        level = request.GET.get("level", "")
        after = request.GET.get("after", "0")
        if level not in ("", *AbstractJobLog.Level.values) or not after.isdecimal():
            raise Http404("There is no such page of the log.")
        logs = self.log_model._default_manager.filter(job=job, id__gt=int(after)).order_by("id")
        if level:
            logs = logs.filter(level=level)
        lines = list(logs[: LOGS_PER_PAGE + 1])
        more = len(lines) > LOGS_PER_PAGE
        lines = lines[:LOGS_PER_PAGE]
        return {
            "level": level,
            "after": int(after),
            "logs": [(line, badge(line.level, line.get_level_display())) for line in lines],
            "next_after": lines[-1].pk if more else None,
        }
