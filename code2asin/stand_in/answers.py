"""Items in the shapes of Amazon's models: Catalog Items 2022-04-01 and Product Pricing 2022-05-01."""

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from code2asin.stand_in.catalogue import Catalogue, Item
from code2asin.stand_in.images import LARGE, SMALL

Json = dict[str, Any]

_IDENTIFIER_TYPES = {8: "EAN", 10: "ISBN", 12: "UPC", 13: "EAN", 14: "GTIN"}
_SELLER = "A1STANDIN0SELL"


def catalogue_item(
    item: Item, *, catalogue: Catalogue, marketplace_id: str, base_url: str, included: Iterable[str]
) -> Json:
    """An `Item` of the Catalog Items model with the `included` data sets only."""
    answer: Json = {"asin": item.asin}
    for name in included:
        if name == "attributes":
            answer[name] = _attributes(item, marketplace_id)
        else:
            found = _DATA_SETS[name](item, catalogue, base_url)
            answer[name] = [{"marketplaceId": marketplace_id, **found}] if found else []
    return answer


def _identifiers(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    listed = [{"identifierType": _IDENTIFIER_TYPES[len(code)], "identifier": code} for code in item.gtins]
    return {"identifiers": listed}


def _summaries(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    return _filled(
        adultProduct=False,
        brand=item.brand,
        browseClassification=_browse_node(item.category) if item.category else None,
        color=item.color,
        itemClassification=item.classification,
        itemName=item.title,
        manufacturer=item.manufacturer,
        modelNumber=item.model_number,
        packageQuantity=item.pack,
        partNumber=item.part_number,
        size=item.size,
        websiteDisplayGroupName=item.category,
    )


def _images(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    images = []
    for position, name in enumerate(item.images[:9]):
        variant = f"PT{position:02}" if position else "MAIN"
        for suffix, pixels in (("", LARGE), (f"._SL{SMALL}_", SMALL)):
            link = f"{base_url}/images/{name}{suffix}.jpg"
            images.append({"variant": variant, "link": link, "height": pixels, "width": pixels})
    return {"images": images}


def _relationships(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    theme = {"attributes": ["color"], "theme": "COLOR_NAME"}
    relationships: list[Json] = []
    if item.parent is not None:
        relationships.append({"type": "VARIATION", "parentAsins": [item.parent], "variationTheme": theme})
    children = catalogue.children(item.asin)
    if children:
        relationships.append({"type": "VARIATION", "childAsins": list(children), "variationTheme": theme})
    return {"relationships": relationships}


def _sales_ranks(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    if item.rank is None or item.category is None:
        return {}
    group = re.sub(r"\W+", "_", item.category.lower()) + "_display_on_website"
    return {"displayGroupRanks": [{"websiteDisplayGroup": group, "title": item.category, "rank": item.rank}]}


def _product_types(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    return _filled(productType=item.product_type)


def _classifications(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    return {"classifications": [_browse_node(item.category)]} if item.category else {}


def _dimensions(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    if item.weight_kg is None:
        return {}
    return {"item": {"weight": {"unit": "kilograms", "value": item.weight_kg}}}


def _vendor_details(item: Item, catalogue: Catalogue, base_url: str) -> Json:
    return {}  # for vendors; the stand-in answers as to a seller


def _attributes(item: Item, marketplace_id: str) -> Json:
    single = {
        "item_name": item.title,
        "brand": item.brand,
        "manufacturer": item.manufacturer,
        "model_number": item.model_number,
        "part_number": item.part_number,
        "color": item.color,
    }
    attributes: Json = {
        name: [{"value": value, "marketplace_id": marketplace_id}] for name, value in single.items() if value
    }
    if item.bullet_points:
        attributes["bullet_point"] = [
            {"value": point, "language_tag": "fr_FR", "marketplace_id": marketplace_id} for point in item.bullet_points
        ]
    return attributes


_DATA_SETS: dict[str, Callable[[Item, Catalogue, str], Json]] = {
    "classifications": _classifications,
    "dimensions": _dimensions,
    "identifiers": _identifiers,
    "images": _images,
    "productTypes": _product_types,
    "relationships": _relationships,
    "salesRanks": _sales_ranks,
    "summaries": _summaries,
    "vendorDetails": _vendor_details,
}
INCLUDED_DATA = frozenset({"attributes", *_DATA_SETS})


def competitive_summary(item: Item, *, marketplace_id: str, included: Iterable[str]) -> Json:
    """A `CompetitiveSummaryResponseBody` of the pricing model; without an offer its lists are empty."""
    answer: Json = {"asin": item.asin, "marketplaceId": marketplace_id}
    for name in included:
        answer[name] = _PRICE_SETS[name](item) if item.price is not None else []
    return answer


def _offer(item: Item) -> Json:
    return {
        "sellerId": _SELLER,
        "condition": "New",
        "fulfillmentType": "AFN",
        "listingPrice": {"amount": item.price, "currencyCode": item.currency},
        "shippingOptions": [{"shippingOptionType": "DEFAULT", "price": {"amount": 0.0, "currencyCode": item.currency}}],
    }


def _featured(item: Item) -> list[Json]:
    segments = [{"customerMembership": "DEFAULT", "segmentDetails": {"glanceViewWeightPercentage": 100}}]
    return [
        {
            "buyingOptionType": "New",
            "segmentedFeaturedOffers": [{**_offer(item), "featuredOfferSegments": segments}],
        }
    ]


def _references(item: Item) -> list[Json]:
    return [{"name": "CompetitivePrice", "price": {"amount": item.price, "currencyCode": item.currency}}]


def _lowest(item: Item) -> list[Json]:
    return [
        {
            "lowestPricedOffersInput": {"itemCondition": "New", "offerType": "Consumer"},
            "offers": [{**_offer(item), "subCondition": "New"}],
        }
    ]


def _similar(item: Item) -> list[Json]:
    return [{"items": []}]


_PRICE_SETS: dict[str, Callable[[Item], list[Json]]] = {
    "featuredBuyingOptions": _featured,
    "referencePrices": _references,
    "lowestPricedOffers": _lowest,
    "similarItems": _similar,
}
PRICE_DATA = frozenset(_PRICE_SETS)


def _browse_node(category: str) -> Json:
    return {"displayName": category, "classificationId": str(zlib.crc32(category.encode()))}


def _filled(**values: Any) -> Json:
    return {name: value for name, value in values.items() if value is not None}
