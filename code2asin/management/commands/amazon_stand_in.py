"""`amazon_stand_in`: serve the local stand-in for Amazon's APIs until stopped."""

import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from code2asin.demo.generate import generate
from code2asin.stand_in.app import StandIn
from code2asin.stand_in.catalogue import Catalogue, load_catalogue
from code2asin.stand_in.server import StandInServer
from code2asin.stand_in.state import Behaviour


class Command(BaseCommand):
    help = "Serves a local stand-in for Amazon's token, Catalog Items and pricing APIs. Ctrl-C or SIGTERM ends it."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        default = Behaviour()
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--catalogue", type=Path, help="JSON file (default: the demonstration catalogue)")
        parser.add_argument("--rate", type=float, default=default.rate, help="catalogue calls per second (%(default)s)")
        parser.add_argument("--burst", type=int, default=default.burst, help="catalogue burst (%(default)s)")
        parser.add_argument("--pricing-rate", type=float, default=default.pricing_rate, help="(%(default)s)")
        parser.add_argument("--pricing-burst", type=int, default=default.pricing_burst, help="(%(default)s)")

    def handle(self, **options: Any) -> None:
        catalogue = _catalogue(options["catalogue"])
        behaviour = Behaviour(
            rate=options["rate"],
            burst=options["burst"],
            pricing_rate=options["pricing_rate"],
            pricing_burst=options["pricing_burst"],
        )
        try:
            server = StandInServer(StandIn(catalogue, behaviour=behaviour), options["host"], options["port"])
        except OSError as error:
            raise CommandError(f"cannot listen on {options['host']}:{options['port']}: {error}") from error
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.stdout.write(f"Amazon stand-in with {len(catalogue)} items at {server.url}")
        self.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("Amazon stand-in stopped")
        finally:
            server.stop()


def _catalogue(path: Path | None) -> Catalogue:
    if path is None:
        return Catalogue(generate().items)
    try:
        return load_catalogue(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot serve {path}: {error}") from error
