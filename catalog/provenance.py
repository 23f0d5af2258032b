"""Who changes products and through what: written with every revision."""

from dataclasses import dataclass
from uuid import UUID

from catalog.models import ProductRevision


@dataclass(frozen=True, slots=True)
class Provenance:
    """source: the door. actor: the person or key, as shown. source_id: the job or key behind the change."""

    source: ProductRevision.Source
    actor: str
    source_id: UUID | None = None
