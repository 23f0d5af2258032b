"""Statuses of a job and its moves, as data. A domain combines these into its own table of moves."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    PENDING = "pending", _("pending")
    ANALYZING = "analyzing", _("analyzing")
    READY = "ready", _("ready")
    PROCESSING = "processing", _("processing")
    PAUSED = "paused", _("paused")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Move:
    """A change of status that a person or client asks for.

    sources: statuses it starts from. target: where it ends, None for "where the pause began".
    already: statuses in which asking again changes nothing and is no error.
    """

    name: str
    sources: frozenset[Status]
    target: Status | None
    already: frozenset[Status]


def move(name: str, sources: Iterable[Status], target: Status | None, already: Iterable[Status] = ()) -> Move:
    return Move(name, frozenset(sources), target, frozenset(already))


class IllegalMove(Exception):
    """The job's status does not allow the move; nothing was changed."""

    def __init__(self, move_name: str, status: str) -> None:
        super().__init__(f"Cannot {move_name} a job whose status is {status}.")
        self.move_name = move_name
        self.status = status
