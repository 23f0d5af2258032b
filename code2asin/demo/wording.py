"""The words the demonstration products are made of. Brands, publishers and authors are invented."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Phrase:
    fr: str
    en: str


@dataclass(frozen=True)
class Colour:
    masculine: str
    feminine: str
    en: str


@dataclass(frozen=True)
class Brand:
    """`prefix`: how its EANs start (300-379 France, 400-440 Germany, 060-139 United States, 9782 French books)."""

    name: str
    prefix: str

    @property
    def english(self) -> bool:
        return self.prefix.startswith("0")


@dataclass(frozen=True)
class Family:
    category: str
    product_type: str
    brands: tuple[Brand, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True)
class Noun:
    """A kind of product; `price` in euros with tax, `kg` its weight, both lowest and highest."""

    family: Family
    feminine: bool
    name: Phrase
    options: tuple[Phrase, ...]
    sizes: tuple[Phrase, ...]
    price: tuple[float, float]
    kg: tuple[float, float]
    coloured: bool


FAMILIES = {
    "kitchen": Family(
        "Cuisine et Maison",
        "KITCHEN",
        (Brand("Kerbrune", "37601742"), Brand("Castelroux", "37602918"), Brand("Pinewood Harbor", "08417325")),
        ("Pratique au quotidien.", "Passe au lave-vaisselle.", "Facile à entretenir et durable."),
    ),
    "home": Family(
        "Ameublement et Décoration",
        "HOME",
        (Brand("Linavelle", "37603561"), Brand("Maison Orsane", "30084417"), Brand("Oak & Tallow", "06914482")),
        ("Apporte une touche chaleureuse à la maison.", "Finitions soignées.", "S'accorde à tous les intérieurs."),
    ),
    "toys": Family(
        "Jeux et Jouets",
        "TOYS_AND_GAMES",
        (Brand("Ludomiel", "37604127"), Brand("Toukibou", "37607734"), Brand("Spielwinkelchen", "40191163")),
        ("Stimule l'imagination et la motricité.", "Conforme à la norme EN 71.", "Une belle idée de cadeau."),
    ),
    "tools": Family(
        "Bricolage",
        "TOOLS",
        (Brand("Forgeval", "37605309"), Brand("Taillandal", "30127756"), Brand("Eisenbrugg", "40357728")),
        ("Prise en main ferme et confortable.", "Pour l'atelier comme pour le chantier.", "Robuste et fiable."),
    ),
    "food": Family(
        "Epicerie",
        "GROCERY",
        (
            Brand("Mas Verdelle", "37606245"),
            Brand("Conserverie Lanvoc", "30246619"),
            Brand("Les Paniers d'Albane", "37608852"),
        ),
        ("Fabriqué en petites quantités.", "À conserver à l'abri de la chaleur.", "Sans colorant ni conservateur."),
    ),
    "electronics": Family(
        "High-Tech",
        "CONSUMER_ELECTRONICS",
        (Brand("Orbivox", "37609016"), Brand("Klyntrec", "40473385"), Brand("Harrowgate Audio", "07734916")),
        ("Mise en route en quelques minutes.", "Garantie 2 ans.", "Livré avec notice en français."),
    ),
    "beauty": Family(
        "Beauté et Parfum",
        "BEAUTY",
        (Brand("Savonnerie Aubrelle", "37610473"), Brand("Florabaie d'Iroise", "30355102")),
        ("Formulé en France.", "Testé sous contrôle dermatologique.", "Parfum délicat, texture fondante."),
    ),
    "garden": Family(
        "Jardin",
        "LAWN_AND_GARDEN",
        (Brand("Verdaline", "37611924"), Brand("Potagelle", "30461187")),
        ("Résiste au gel et aux UV.", "Pour le potager, la terrasse ou le balcon.", "Peu encombrant."),
    ),
    "pets": Family(
        "Animalerie",
        "PET_SUPPLIES",
        (Brand("Moustapoil", "37612638"), Brand("Canibrune", "30578841")),
        ("Facile à nettoyer.", "Pensé avec des vétérinaires.", "Confort et solidité au quotidien."),
    ),
    "stationery": Family(
        "Fournitures de bureau",
        "OFFICE_PRODUCTS",
        (Brand("Papivole", "37613350"), Brand("Encrelle", "30692275"), Brand("Federkontor", "40588149")),
        ("Conçu pour durer.", "Idéal pour l'école et le bureau.", "Finition soignée."),
    ),
    "sport": Family(
        "Sports et Loisirs",
        "SPORTING_GOODS",
        (Brand("Cimalune", "37614191"), Brand("Rivatrek", "30715563"), Brand("Copper Ridge Supply", "08892057")),
        ("Léger et résistant.", "Pour l'entraînement comme pour la randonnée.", "Emballage sans plastique."),
    ),
}

COLOURS = (
    Colour("noir", "noire", "Black"),
    Colour("blanc", "blanche", "White"),
    Colour("rouge", "rouge", "Red"),
    Colour("bleu nuit", "bleu nuit", "Midnight Blue"),
    Colour("gris clair", "gris clair", "Light Grey"),
    Colour("vert sauge", "vert sauge", "Sage Green"),
    Colour("jaune moutarde", "jaune moutarde", "Mustard Yellow"),
    Colour("terracotta", "terracotta", "Terracotta"),
    Colour("beige", "beige", "Beige"),
)

MARKETING = (
    Phrase("Idée Cadeau", "Great Gift Idea"),
    Phrase("Qualité Supérieure", "Premium Quality"),
    Phrase("Usage Quotidien", "Everyday Use"),
    Phrase("Nouvelle Collection", "New Collection"),
    Phrase("Emballage Recyclable", "Recyclable Packaging"),
)

PUBLISHERS = (
    Brand("Éditions du Vieux Pont", "97828415"),
    Brand("Presses de la Dune", "97829607"),
    Brand("L'Encrier Vert", "97828832"),
    Brand("Brumaire Bleu", "97829124"),
)
AUTHORS = (
    "Hélène Castagnier",
    "Marc-Antoine Level",
    "Solène Aubriet",
    "Yann Kervadec",
    "Nadia Bellouane",
    "Étienne Rocquigny",
    "Claire Vaudémont",
    "Théo Lambrecht",
)
NOVEL_STARTS = (
    "Le Silence",
    "La Maison",
    "Les Héritiers",
    "L'Ombre",
    "Les Jardins",
    "Le Secret",
    "La Mémoire",
    "Les Enfants",
    "Le Voyage",
    "La Nuit",
    "Les Lettres",
    "Le Gardien",
)
NOVEL_ENDS = (
    "des falaises",
    "du vieux moulin",
    "des marées",
    "des glycines",
    "du phare",
    "de la dernière île",
    "des tilleuls",
    "du grand nord",
    "de l'horlogère",
    "des sept collines",
    "du marais",
    "de l'autre rive",
)
PRACTICAL = ("Le Guide pratique", "Petite encyclopédie", "Les Secrets", "Bien débuter : l'art")
SUBJECTS = (
    "du potager en ville",
    "du pain au levain",
    "de la reliure",
    "des conserves maison",
    "de la randonnée en famille",
    "du tricot",
    "de l'aquarelle",
    "des oiseaux du jardin",
    "du petit bricolage",
    "de la photographie de nuit",
)


def load_nouns() -> list[Noun]:
    """The table beside this module. Lists are separated by ";", a French and an English wording by "="."""
    with Path(__file__).with_name("nouns.csv").open(encoding="utf-8", newline="") as file:
        return [
            Noun(
                family=FAMILIES[row["family"]],
                feminine=row["gender"] == "f",
                name=Phrase(row["fr"], row["en"]),
                options=tuple(_phrase(text) for text in row["options"].split(";")),
                sizes=tuple(Phrase(text, _english_size(text)) for text in row["sizes"].split(";")),
                price=_span(row["price"]),
                kg=_span(row["kg"]),
                coloured=bool(row["coloured"]),
            )
            for row in csv.DictReader(file)
        ]


def _phrase(text: str) -> Phrase:
    fr, en = text.split("=")
    return Phrase(fr, en)


def _span(text: str) -> tuple[float, float]:
    low, high = text.split("-")
    return float(low), float(high)


_SIZE_WORDS = {
    "pièces": "Pieces",
    "joueurs": "Players",
    "ans": "Years",
    "pouces": "Inch",
    "godets": "Pans",
    "taille": "Size",
}


def _english_size(text: str) -> str:
    return " ".join(_SIZE_WORDS.get(word, word) for word in text.replace(",", ".").split(" "))
