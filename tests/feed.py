"""A generated supplier feed for load: rows of some 510 bytes, 1 % broken, 0.1 % repeated EANs. Same for a seed."""

import csv
import random
from pathlib import Path

from catalog.identifiers import check_digit

HEADER = ("EAN", "Titre", "Marque", "Référence", "Prix", "Prix d'achat", "Poids (kg)", "Largeur (cm)", "Description")
WORDS = (
    "support mural fixe orientable noir blanc chêne acier lot vis lampe bureau câble rallonge tapis coussin velours "
    "coton bio table basse chaise pliante étagère rangement boîte bouteille gourde isotherme sac voyage trousse"
).split()


def ean(number: int) -> str:
    body = f"3{number:011}"
    return body + check_digit(body)


def write_feed(path: Path, rows: int, *, seed: int = 1, changed: float = 0.0) -> int:
    """Write `rows` rows; returns how many of them are broken. changed: share of rows with another price."""
    rng = random.Random(seed)
    change = random.Random(f"{seed} changed")
    broken = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for i in range(rows):
            code = ean(i - 500) if i % 1000 == 999 else ean(i)
            price = f"{rng.randrange(100, 99999) / 100:.2f}"
            name = " ".join(rng.choices(WORDS, k=6))
            description = " ".join(rng.choices(WORDS, k=rng.randrange(30, 60)))
            if i % 100 == 50:
                broken += 1
                code, price = [("12AB", price), (code, "abc"), (code, "-1")][i // 100 % 3]
            if change.random() < changed:
                price = "1.23"
            writer.writerow(
                (
                    code,
                    f"{name} {i}",
                    f"Marque {rng.randrange(300)}",
                    f"REF-{i:07}",
                    price,
                    f"{rng.randrange(50, 5000) / 100:.2f}",
                    f"{rng.randrange(1, 9999) / 1000:.3f}",
                    f"{rng.randrange(10, 2000) / 10:.1f}",
                    f"<p>{description}</p>",
                )
            )
    return broken
