"""`manage.py create_api_key NAME --scope S`: a new API key; its secret is the last line of standard output."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from pim.apikeys.keys import create_key
from pim.apikeys.models import Scope


class Command(BaseCommand):
    help = "Creates an API key. The secret is printed once, alone, on the last line, and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="which system uses the key")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            dest="scopes",
            metavar="SCOPE",
            help=f"may be repeated; one of {', '.join(Scope.values)}",
        )
        parser.add_argument("--expires-days", type=int, metavar="N", help="the key ends after N days (default: never)")

    def handle(self, *args: Any, name: str, scopes: list[str], expires_days: int | None, **options: Any) -> None:
        try:
            expires_at = None if expires_days is None else timezone.now() + timedelta(days=expires_days)
            _key, secret = create_key(name=name, scopes=scopes, expires_at=expires_at, created_by="command line")
        except (ValueError, OverflowError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(secret)
