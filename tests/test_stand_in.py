"""The stand-in for Amazon behaves as the real service: tokens, quotas, refusals, matching, paging, answer shapes."""

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.management import CommandError, call_command
from jsonschema import Draft4Validator

from code2asin.stand_in.answers import INCLUDED_DATA, PRICE_DATA
from code2asin.stand_in.app import StandIn
from code2asin.stand_in.catalogue import (
    Catalogue,
    CatalogueError,
    Item,
    catalogue_from_json,
    catalogue_from_pairs,
    catalogue_to_json,
)
from code2asin.stand_in.server import running
from code2asin.stand_in.state import Behaviour
from tests.shared_data import shared_data

FRANCE = "A13V1IB3VIYZZH"
SEARCH = "/catalog/2022-04-01/items"
PRICES = "/batches/products/pricing/2022-05-01/items/competitiveSummary"
CREDENTIALS = {
    "grant_type": "refresh_token",
    "client_id": "shop",
    "client_secret": "secret",
    "refresh_token": "Atzr|1",
}

LAMP = Item(
    asin="B0LAMP0001",
    title="Lampe de bureau LED",
    gtins=("3760174200017",),
    brand="Kerbrune",
    part_number="KER-1",
    pack=1,
    parent="B0LAMP0000",
    images=("3760174200017-0", "3760174200017-1"),
    category="Luminaires",
    product_type="LAMP",
    color="noir",
    size="35 cm",
    weight_kg=0.8,
    rank=12,
    price=39.9,
    bullet_points=("Bras articulé",),
)
LAMP_PARENT = Item(asin="B0LAMP0000", title="Lampe de bureau", classification="VARIATION_PARENT")
KETTLE = Item(asin="B0KETTLE01", title="Bouilloire 1 L", gtins=("036000291452",), brand="Tallow", price=25.0)
CASE = Item(asin="B0CASE0001", title="Cups, case", gtins=("00036000291452",), brand="Tallow")
BOOK = Item(asin="2070368220", title="L'Étranger", gtins=("9782070368228", "2070368220"))
HIDDEN = Item(asin="B0HIDDEN01", title="Savon", gtins=("4006381333931",), unlisted_gtins=("3760174200024",))
SHELF = Catalogue((LAMP_PARENT, LAMP, KETTLE, CASE, BOOK, HIDDEN))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Calls the application in process, on a clock the test moves."""

    app: StandIn
    clock: Clock
    token: str = ""
    url: str = field(default="http://amazon.test")

    def call(self, method: str, path: str, *, body: bytes = b"", content_type: str = "", **query: str) -> Answer:
        seen: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            seen.update(status=int(status[:3]), headers=dict(headers))

        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": urlencode(query),
            "HTTP_HOST": "amazon.test",
            "HTTP_X_AMZ_ACCESS_TOKEN": self.token,
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
        }
        setup_testing_defaults(environ)
        return Answer(body=b"".join(self.app(environ, start_response)), **seen)

    def login(self, **fields: str) -> Answer:
        form = urlencode(CREDENTIALS | fields).encode()
        answer = self.call("POST", "/auth/o2/token", body=form, content_type="application/x-www-form-urlencoded")
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    def search(self, *codes: str, **query: str) -> Answer:
        asked = {"identifiers": ",".join(codes), "identifiersType": "EAN", "marketplaceIds": FRANCE}
        return self.call("GET", SEARCH, **{name: value for name, value in (asked | query).items() if value})

    def post(self, path: str, body: Any) -> Answer:
        return self.call("POST", path, body=json.dumps(body).encode(), content_type="application/json")


def client(catalogue: Catalogue = SHELF, **switches: Any) -> Client:
    """A client with a token, of a stand-in whose quota is out of the way unless the test sets it."""
    generous = {"rate": 1000.0, "burst": 1000, "pricing_rate": 1000.0, "pricing_burst": 1000}
    clock = Clock()
    made = Client(StandIn(catalogue, behaviour=Behaviour().changed(generous | switches), clock=clock), clock)
    made.login()
    return made


def asins(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["asin"] for item in answer.json["items"]]


# -- tokens ---------------------------------------------------------------------------------------------------------


def test_a_refresh_token_buys_an_access_token() -> None:
    amazon = client()
    answer = amazon.login().json
    assert answer == {
        "access_token": amazon.token,
        "refresh_token": "Atzr|1",
        "token_type": "bearer",
        "expires_in": 3600,
    }
    assert amazon.token.startswith("Atza|")
    assert amazon.app.stats().tokens_issued == 2


def test_client_credentials_answer_a_scope_and_no_refresh_token() -> None:
    asked = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b", "scope": "notifications"}
    answer = client().post("/auth/o2/token", asked)  # JSON is as good as a form
    assert answer.status == 200
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "scope"}


@pytest.mark.parametrize(
    ("fields", "status", "error", "description"),
    [
        ({"client_secret": "old"}, 401, "invalid_client", "Client authentication failed"),
        (
            {"refresh_token": "Atzr|other"},
            400,
            "invalid_grant",
            "The request has an invalid grant parameter : refresh_token",
        ),
        (
            {"refresh_token": ""},
            400,
            "invalid_request",
            "The request is missing a required parameter : refresh_token",
        ),
        (
            {"grant_type": "password"},
            400,
            "unsupported_grant_type",
            "The authorization grant type is not supported",
        ),
    ],
)
def test_bad_credentials_are_refused(fields: dict[str, str], status: int, error: str, description: str) -> None:
    amazon = client(client_secret="secret", refresh_token="Atzr|1")
    answer = amazon.login(**fields)
    assert (answer.status, answer.json) == (status, {"error": error, "error_description": description})
    assert amazon.app.stats().tokens_issued == 1


def test_an_unreadable_token_request_is_refused() -> None:
    amazon = client()
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        answer = amazon.call("POST", "/auth/o2/token", body=b"\xff{", content_type=content_type)
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")


DENIED = {
    "errors": [
        {
            "code": "Unauthorized",
            "message": "Access to requested resource is denied.",
            "details": "The access token you provided is revoked, malformed or invalid.",
        }
    ]
}


def denied(answer: Answer) -> bool:
    assert "x-amzn-RateLimit-Limit" not in answer.headers
    return (answer.status, answer.json, answer.headers.get("x-amzn-ErrorType")) == (
        403,
        DENIED,
        "AccessDeniedException",
    )


@pytest.mark.parametrize("token", ["", "Atza|forged"])
def test_a_missing_or_unknown_token_is_403(token: str) -> None:
    amazon = client()
    amazon.token = token
    assert denied(amazon.search("3760174200017"))
    assert denied(amazon.call("GET", f"{SEARCH}/{LAMP.asin}", marketplaceIds=FRANCE))
    assert denied(amazon.post(PRICES, {"requests": []}))


def test_a_token_expires_and_can_be_revoked() -> None:
    amazon = client(token_lifetime=2)
    amazon.clock.now += 1.9
    assert amazon.search("3760174200017").status == 200
    amazon.clock.now += 0.1
    assert denied(amazon.search("3760174200017"))
    amazon.login()
    assert amazon.search("3760174200017").status == 200
    amazon.app.set(revoke_tokens=True)
    assert denied(amazon.search("3760174200017"))


def test_access_can_be_denied_to_good_tokens() -> None:
    amazon = client(deny_access=True)
    assert denied(amazon.search("3760174200017"))


# -- quota ----------------------------------------------------------------------------------------------------------


def test_the_bucket_empties_and_refills_at_the_rate() -> None:
    amazon = client(rate=2.0, burst=2)
    statuses = [amazon.search("3760174200017").status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    amazon.clock.now += 0.5
    assert [amazon.search("3760174200017").status for _ in range(2)] == [200, 429]
    amazon.clock.now += 60
    assert [amazon.search("3760174200017").status for _ in range(3)] == [200, 200, 429]


def test_a_429_names_no_rate_and_no_delay() -> None:
    amazon = client(rate=2.0, burst=1)
    assert amazon.search("3760174200017").headers["x-amzn-RateLimit-Limit"] == "2.0"
    answer = amazon.search("3760174200017")
    assert answer.status == 429
    assert answer.json == {
        "errors": [{"code": "QuotaExceeded", "message": "You exceeded your quota for the requested resource."}]
    }
    assert answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert answer.headers.keys().isdisjoint({"x-amzn-RateLimit-Limit", "Retry-After"})


def test_the_quota_belongs_to_client_and_operation_not_to_the_token() -> None:
    amazon = client(rate=2.0, burst=1)
    assert amazon.search("3760174200017").status == 200
    amazon.login()  # another token of the same client
    assert amazon.search("3760174200017").status == 429
    assert amazon.call("GET", f"{SEARCH}/{LAMP.asin}", marketplaceIds=FRANCE).status == 200
    amazon.login(client_id="another shop")
    assert amazon.search("3760174200017").status == 200


def test_a_rate_changes_while_running() -> None:
    amazon = client(rate=5.0, burst=1)
    assert amazon.search("3760174200017").headers["x-amzn-RateLimit-Limit"] == "5.0"
    amazon.app.set(rate=2)
    amazon.clock.now += 0.2  # enough at 5 a second, not at 2
    assert amazon.search("3760174200017").status == 429
    amazon.clock.now += 0.3
    assert amazon.search("3760174200017").headers["x-amzn-RateLimit-Limit"] == "2.0"


def test_counters_tell_rate_and_throttling() -> None:
    amazon = client(rate=2.0, burst=2)
    for _ in range(5):
        amazon.search("3760174200017", "3760174200024")
    amazon.clock.now += 1
    amazon.search("3760174200017")
    amazon.call("GET", SEARCH, marketplaceIds=FRANCE)
    stats = amazon.call("GET", "/__stats").json
    assert stats == {
        "ok": 3,
        "throttled": 3,
        "errors": 1,
        "calls": {"searchCatalogItems": 7},
        "tokens_issued": 1,
        "codes": 5,
        "distinct_codes": 2,
        "images": 0,
        "max_per_second": 5,
        "longest_throttle_run": 3,
    }
    amazon.app.set(reset_stats=True)
    assert amazon.call("GET", "/__stats").json["ok"] == 0


# -- refused searches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"identifiers": ""}, "Missing required 'identifiers' or 'keywords'."),
        (
            {"keywords": "lampe"},
            "'identifiers' cannot be used with 'keywords', 'brandNames' or 'classificationIds'.",
        ),
        (
            {"brandNames": "Kerbrune"},
            "'identifiers' cannot be used with 'keywords', 'brandNames' or 'classificationIds'.",
        ),
        ({"identifiers": ",".join(["3760174200017"] * 21)}, "'identifiers' takes at most 20 values."),
        ({"identifiers": "", "keywords": ",".join("abcdefghijklmnopqrstu")}, "'keywords' takes at most 20 values."),
        ({"identifiersType": "PZN"}, "Missing or invalid 'identifiersType'."),
        ({"identifiersType": ""}, "Missing or invalid 'identifiersType'."),
        ({"identifiersType": "SKU"}, "Missing required 'sellerId'."),
        ({"marketplaceIds": ""}, "'marketplaceIds' takes exactly one value."),
        ({"marketplaceIds": f"{FRANCE},A1PA6795UKMFR9"}, "'marketplaceIds' takes exactly one value."),
        ({"marketplaceIds": "www.amazon.fr"}, "Invalid 'marketplaceIds' provided."),
        ({"includedData": "identifiers,reviews"}, "Invalid 'includedData' provided: reviews."),
        ({"identifiers": "3760174200017,376O174200024"}, "Invalid 'ean' provided."),
        ({"identifiers": "3760174200017,37601742"[:-1]}, "Invalid 'ean' provided."),
        ({"identifiers": "B0lamp0001", "identifiersType": "ASIN"}, "Invalid 'asin' provided."),
        ({"pageSize": "21"}, "Invalid 'pageSize' provided."),
        ({"pageSize": "0"}, "Invalid 'pageSize' provided."),
        ({"pageToken": "tomorrow"}, "Invalid 'pageToken' provided."),
    ],
)
def test_a_bad_search_is_refused_whole(query: dict[str, str], message: str) -> None:
    answer = client().search("3760174200017", **query)
    assert answer.status == 400
    assert answer.json == {"errors": [{"code": "InvalidInput", "message": message, "details": ""}]}
    assert answer.headers["x-amzn-RateLimit-Limit"] == "1000.0"


# -- matching -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("3760174200017", "EAN", ["B0LAMP0001"]),
        ("03760174200017", "GTIN", ["B0LAMP0001"]),
        ("3760174200017", "UPC", ["B0LAMP0001"]),  # the type does not matter
        ("0036000291452", "EAN", ["B0KETTLE01", "B0CASE0001"]),
        ("036000291452", "UPC", ["B0KETTLE01", "B0CASE0001"]),
        ("9782070368228", "EAN", ["2070368220"]),
        ("2070368220", "ISBN", ["2070368220"]),
        ("2070368220", "ASIN", ["2070368220"]),
        ("3760174200031", "EAN", []),
    ],
)
def test_codes_match_whatever_their_spelling(code: str, kind: str, expected: list[str]) -> None:
    assert asins(client().search(code, identifiersType=kind)) == expected


def test_items_come_in_catalogue_order_and_the_code_is_not_echoed() -> None:
    answer = client().search("4006381333931", "3760174200031", "3760174200017", includedData="identifiers")
    assert asins(answer) == ["B0LAMP0001", "B0HIDDEN01"]
    assert answer.json["numberOfResults"] == 2


def test_identifiers_show_the_listed_spellings_only() -> None:
    def listed(*codes: str) -> list[tuple[str, str]]:
        items = client().search(*codes, includedData="identifiers").json["items"]
        return [
            (entry["identifierType"], entry["identifier"])
            for item in items
            for entry in item["identifiers"][0]["identifiers"]
        ]

    assert listed("0036000291452") == [("UPC", "036000291452"), ("GTIN", "00036000291452")]
    assert listed("9782070368228") == [("EAN", "9782070368228"), ("ISBN", "2070368220")]
    assert listed("3760174200024") == [("EAN", "4006381333931")]  # found by a code it does not list


def test_summaries_alone_by_default_and_only_what_is_asked() -> None:
    amazon = client()
    assert amazon.search("3760174200017").json["items"] == [
        {
            "asin": "B0LAMP0001",
            "summaries": [
                {
                    "marketplaceId": FRANCE,
                    "adultProduct": False,
                    "brand": "Kerbrune",
                    "browseClassification": {"displayName": "Luminaires", "classificationId": "3733536410"},
                    "color": "noir",
                    "itemClassification": "BASE_PRODUCT",
                    "itemName": "Lampe de bureau LED",
                    "packageQuantity": 1,
                    "partNumber": "KER-1",
                    "size": "35 cm",
                    "websiteDisplayGroupName": "Luminaires",
                }
            ],
        }
    ]
    asked = amazon.search("3760174200017", includedData="salesRanks,relationships").json["items"][0]
    assert asked.keys() == {"asin", "salesRanks", "relationships"}
    assert asked["salesRanks"][0]["displayGroupRanks"][0]["rank"] == 12
    assert asked["relationships"][0]["relationships"][0]["parentAsins"] == ["B0LAMP0000"]
    parent = amazon.search("B0LAMP0000", identifiersType="ASIN", includedData="relationships").json["items"][0]
    assert parent["relationships"][0]["relationships"][0]["childAsins"] == ["B0LAMP0001"]


def test_words_find_items_best_first() -> None:
    amazon = client()
    assert asins(amazon.search(keywords="lampe,led", identifiersType="")) == ["B0LAMP0001", "B0LAMP0000"]
    assert asins(amazon.search(keywords="LAMPE,bureau", identifiersType="", brandNames="kerbrune")) == ["B0LAMP0001"]
    assert asins(amazon.search(keywords="etranger", identifiersType="")) == ["2070368220"]
    assert asins(amazon.search(keywords="3760174200017", identifiersType="")) == ["B0LAMP0001"]
    assert asins(amazon.search(keywords="tondeuse", identifiersType="")) == []


def test_one_item_by_asin() -> None:
    amazon = client()
    found = amazon.call("GET", f"{SEARCH}/B0KETTLE01", marketplaceIds=FRANCE, includedData="identifiers")
    listed = [{"identifierType": "UPC", "identifier": "036000291452"}]
    assert found.json == {"asin": "B0KETTLE01", "identifiers": [{"marketplaceId": FRANCE, "identifiers": listed}]}
    missing = amazon.call("GET", f"{SEARCH}/B0NOTHERE1", marketplaceIds=FRANCE)
    assert (missing.status, missing.json["errors"][0]["code"]) == (404, "NOT_FOUND")
    assert missing.headers["x-amzn-RateLimit-Limit"] == "1000.0"
    malformed = amazon.call("GET", f"{SEARCH}/short", marketplaceIds=FRANCE)
    assert (malformed.status, malformed.json["errors"][0]["message"]) == (400, "Invalid 'asin' provided.")


# -- paging ---------------------------------------------------------------------------------------------------------

CROWD = catalogue_from_pairs((f"{3760174200017}", f"B0CROWD{n:03}", f"Item {n}", "") for n in range(23))


def test_pages_are_chained_by_token() -> None:
    amazon = client(CROWD)
    first = amazon.search("3760174200017")
    second = amazon.search("3760174200017", pageToken=first.json["pagination"]["nextToken"])
    third = amazon.search("3760174200017", pageToken=second.json["pagination"]["nextToken"])
    assert [len(asins(page)) for page in (first, second, third)] == [10, 10, 3]
    assert asins(first) + asins(second) + asins(third) == [f"B0CROWD{n:03}" for n in range(23)]
    assert {page.json["numberOfResults"] for page in (first, second, third)} == {23}
    assert "pagination" not in third.json


def test_a_page_token_needs_the_first_call_s_parameters() -> None:
    amazon = client(CROWD)
    token = amazon.search("3760174200017", pageSize="20").json["pagination"]["nextToken"]
    assert len(asins(amazon.search("3760174200017", pageSize="20", pageToken=token))) == 3
    assert amazon.search("3760174200017", pageToken=token).status == 400


# -- oddities -------------------------------------------------------------------------------------------------------


def test_the_next_token_can_be_missing() -> None:
    answer = client(CROWD, next_token=False).search("3760174200017")
    assert answer.json["numberOfResults"] == 23
    assert "pagination" not in answer.json


def test_the_rate_header_can_be_missing() -> None:
    assert "x-amzn-RateLimit-Limit" not in client(rate_header=False).search("3760174200017").headers


@pytest.mark.parametrize(("status", "code"), [(500, "InternalFailure"), (503, "ServiceUnavailable")])
def test_the_next_calls_can_fail(status: int, code: str) -> None:
    amazon = client(fail_next=2, fail_status=status)
    answers = [amazon.search("3760174200017") for _ in range(3)]
    assert [answer.status for answer in answers] == [status, status, 200]
    assert answers[0].json["errors"][0]["code"] == code
    assert "x-amzn-RateLimit-Limit" not in answers[0].headers


def test_the_next_calls_can_be_throttled() -> None:
    amazon = client(throttle_next=3)
    assert [amazon.search("3760174200017").status for _ in range(4)] == [429, 429, 429, 200]
    assert amazon.app.stats().longest_throttle_run == 3


def test_an_answer_can_be_cut_short() -> None:
    amazon = client(truncate_next=1)
    cut = amazon.search("3760174200017")
    assert cut.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.body)
    assert asins(amazon.search("3760174200017")) == ["B0LAMP0001"]


def test_a_well_formed_code_can_spoil_its_batch() -> None:
    amazon = client(rejected_codes=["3760174200024"])
    assert amazon.search("3760174200017", "3760174200024").status == 400
    assert asins(amazon.search("3760174200017")) == ["B0LAMP0001"]


def test_switches_are_set_over_http_and_bad_ones_change_nothing() -> None:
    amazon = client()
    assert amazon.post("/__set", {"rate": 5, "throttle_next": 1}).json["rate"] == 5.0
    assert amazon.search("3760174200017").status == 429
    for bad in ({"rate": 9, "burts": 3}, {"rate": 9, "burst": "many"}, {"rate": True}, [1]):
        assert amazon.post("/__set", bad).status == 400
    assert amazon.search("3760174200017").headers["x-amzn-RateLimit-Limit"] == "5.0"


# -- prices ---------------------------------------------------------------------------------------------------------


def price_request(asin: str, *included: str) -> dict[str, Any]:
    return {
        "asin": asin,
        "marketplaceId": FRANCE,
        "includedData": list(included or ["featuredBuyingOptions"]),
        "method": "GET",
        "uri": "/products/pricing/2022-05-01/items/competitiveSummary",
    }


def test_prices_answer_item_by_item() -> None:
    asked = [price_request(asin) for asin in (LAMP.asin, BOOK.asin, "B0NOTHERE1", "11_AABB_123")]
    answer = client().post(PRICES, {"requests": asked})
    assert answer.status == 200
    lamp, book, missing, malformed = answer.json["responses"]
    assert lamp["status"] == {"statusCode": 200, "reasonPhrase": "Success"}
    offer = lamp["body"]["featuredBuyingOptions"][0]["segmentedFeaturedOffers"][0]
    assert offer["listingPrice"] == {"amount": 39.9, "currencyCode": "EUR"}
    assert book["body"] == {"asin": BOOK.asin, "marketplaceId": FRANCE, "featuredBuyingOptions": []}
    assert (missing["status"]["statusCode"], missing["body"]["errors"][0]["code"]) == (404, "NOT_FOUND")
    assert malformed == {
        "status": {"statusCode": 400, "reasonPhrase": "Client Error"},
        "body": {
            "asin": "11_AABB_123",
            "marketplaceId": FRANCE,
            "errors": [{"code": "INVALID_ASIN", "message": "11_AABB_123 is not a valid ASIN"}],
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"requests": []},
        {"requests": [price_request(LAMP.asin)] * 21},
        {"requests": [price_request(LAMP.asin, "reviews")]},
        {"requests": [price_request(LAMP.asin) | {"uri": ""}]},
        {"requests": [price_request(LAMP.asin) | {"marketplaceId": "FR"}]},
        {"requests": [price_request(LAMP.asin) | {"includedData": "featuredBuyingOptions"}]},
        {"requests": ["B0LAMP0001"]},
        [],
    ],
)
def test_bad_price_requests_are_refused_whole(body: Any) -> None:
    answer = client().post(PRICES, body)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "InvalidInput")


def test_prices_have_a_quota_of_their_own() -> None:
    amazon = client(pricing_rate=0.033, pricing_burst=1)
    body = {"requests": [price_request(LAMP.asin)]}
    assert [amazon.post(PRICES, body).status for _ in range(2)] == [200, 429]
    assert amazon.search("3760174200017").status == 200
    amazon.clock.now += 31
    assert amazon.post(PRICES, body).headers["x-amzn-RateLimit-Limit"] == "0.033"


# -- Amazon's published models --------------------------------------------------------------------------------------


def validator(file: str, definition: str) -> Draft4Validator:
    model = json.loads(shared_data("amazon", file).read_text(encoding="utf-8"))
    return Draft4Validator({"definitions": model["definitions"], "allOf": [{"$ref": f"#/definitions/{definition}"}]})


def everything() -> Iterator[tuple[str, Answer]]:
    """One answer of every kind the catalogue operations give, with the definition it must fit."""
    amazon, all_sets = client(CROWD), ",".join(sorted(INCLUDED_DATA))
    yield "ItemSearchResults", amazon.search("3760174200017", includedData=all_sets)
    amazon = client()
    codes = ("3760174200017", "036000291452", "9782070368228", "3760174200024")
    yield "ItemSearchResults", amazon.search(*codes, includedData=all_sets)
    yield "ItemSearchResults", amazon.search("B0LAMP0000", identifiersType="ASIN", includedData=all_sets)
    yield "ItemSearchResults", amazon.search("3760174200031")
    yield "ItemSearchResults", amazon.search(keywords="lampe", identifiersType="", includedData=all_sets)
    yield "Item", amazon.call("GET", f"{SEARCH}/{LAMP.asin}", marketplaceIds=FRANCE, includedData=all_sets)
    yield "ErrorList", amazon.call("GET", f"{SEARCH}/B0NOTHERE1", marketplaceIds=FRANCE)
    yield "ErrorList", amazon.search("3760174200017", marketplaceIds="")
    yield "ErrorList", client(throttle_next=1).search("3760174200017")
    yield "ErrorList", client(fail_next=1).search("3760174200017")
    yield "ErrorList", client(deny_access=True).search("3760174200017")


def test_every_catalogue_answer_fits_the_published_model() -> None:
    statuses = []
    for definition, answer in everything():
        statuses.append(answer.status)
        validator("catalogItems_2022-04-01.json", definition).validate(answer.json)
    assert statuses == [200, 200, 200, 200, 200, 200, 404, 400, 429, 503, 403]


def test_every_price_answer_fits_the_published_model() -> None:
    asked = [price_request(asin, *sorted(PRICE_DATA)) for asin in (LAMP.asin, BOOK.asin, "B0NOTHERE1", "short")]
    answer = client().post(PRICES, {"requests": asked})
    validator("productPricing_2022-05-01.json", "CompetitiveSummaryBatchResponse").validate(answer.json)
    refused = client().post(PRICES, {"requests": []})
    validator("productPricing_2022-05-01.json", "Errors").validate(refused.json)


# -- pictures -------------------------------------------------------------------------------------------------------


def jpeg_size(body: bytes) -> tuple[int, int]:
    """Width and height from the frame header, having walked every segment up to the scan."""
    assert body[:2] == b"\xff\xd8"
    assert body[-2:] == b"\xff\xd9"
    position, size = 2, (0, 0)
    while body[position + 1] != 0xDA:
        assert body[position] == 0xFF
        if body[position + 1] == 0xC0:
            height, width = body[position + 5 : position + 7], body[position + 7 : position + 9]
            size = int.from_bytes(width, "big"), int.from_bytes(height, "big")
        position += 2 + int.from_bytes(body[position + 2 : position + 4], "big")
    return size


def test_every_image_link_is_a_jpeg_of_the_announced_size() -> None:
    amazon = client()
    images = amazon.search("3760174200017", includedData="images").json["items"][0]["images"][0]["images"]
    assert [(image["variant"], image["width"]) for image in images] == [
        ("MAIN", 280),
        ("MAIN", 56),
        ("PT01", 280),
        ("PT01", 56),
    ]
    bodies = set()
    for image in images:
        assert image["link"].startswith("http://amazon.test/images/")
        picture = amazon.call("GET", urlsplit(image["link"]).path)
        assert (picture.status, picture.headers["Content-Type"]) == (200, "image/jpeg")
        assert jpeg_size(picture.body) == (image["width"], image["height"])
        bodies.add(picture.body)
    assert len(bodies) == 4
    assert amazon.app.stats().images == 4
    assert amazon.call("GET", "/images/3760174200017-7.jpg").status == 404


def test_supplier_images_exist_for_any_code() -> None:
    amazon = client()
    ours = amazon.call("GET", "/supplier-images/3760174200017.jpg")
    assert (ours.status, jpeg_size(ours.body)) == (200, (280, 280))
    assert ours.body != amazon.call("GET", "/images/3760174200017-0.jpg").body  # same figure, another ground
    assert amazon.call("GET", "/supplier-images/3760174200017.png").status == 404


# -- catalogue files ------------------------------------------------------------------------------------------------


def test_a_catalogue_survives_its_file() -> None:
    assert catalogue_from_json(catalogue_to_json(SHELF.items)).items == SHELF.items


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", 'a catalogue is an object with a list "items"'),
        ('{"items": [{"asin": "B0LAMP0001"}]}', "items[0]: missing title"),
        ('{"items": [{"asin": "B0LAMP0001", "title": "x", "ean": "1"}]}', "items[0]: unknown fields ean"),
        ('{"items": [{"asin": "lamp", "title": "x"}]}', "item 'lamp': asin is not 10 capital letters and digits"),
        (
            '{"items": [{"asin": "B0LAMP0001", "title": "x", "gtins": ["123"]}]}',
            "item B0LAMP0001: '123' is not a GTIN or an ISBN",
        ),
        (
            '{"items": [{"asin": "B0LAMP0001", "title": "x"}, {"asin": "B0LAMP0001", "title": "y"}]}',
            "item B0LAMP0001: the asin is there twice",
        ),
    ],
)
def test_a_bad_catalogue_is_named(text: str, message: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue_from_json(text)
    assert str(caught.value) == message


def test_pairs_make_a_catalogue_with_one_item_per_asin() -> None:
    made = catalogue_from_pairs(
        [("0602498646670", "B0001BKAEY", "Album", "Artist"), ("602498646670", "B0001BKAEY", "Album", "Artist")]
    )
    assert [item.gtins for item in made.items] == [("0602498646670", "602498646670")]


def test_ten_thousand_items_are_searched_by_index() -> None:
    amazon = client(catalogue_from_pairs((f"{376 * 10**10 + n}", f"B{n:09}", f"Item {n}", "") for n in range(10_000)))
    codes = [f"{376 * 10**10 + n}" for n in range(9_980, 10_000)]
    assert asins(amazon.search(*codes, pageSize="20")) == [f"B{n:09}" for n in range(9_980, 10_000)]


# -- over the network -----------------------------------------------------------------------------------------------


def test_it_serves_threads_on_kept_connections_and_stops_cleanly() -> None:
    before = threading.active_count()
    with running(SHELF, rate=1000.0, burst=1000) as amazon:
        host = urlsplit(amazon.url).netloc
        connections = [http.client.HTTPConnection(host, timeout=10) for _ in range(8)]
        tokens: list[str] = []

        def work(connection: http.client.HTTPConnection) -> None:
            connection.request("POST", urlsplit(amazon.token_url).path, urlencode(CREDENTIALS))
            token = json.loads(connection.getresponse().read())["access_token"]
            kept = connection.sock
            for _ in range(5):
                query = urlencode({"identifiers": "3760174200017", "identifiersType": "EAN", "marketplaceIds": FRANCE})
                connection.request("GET", f"{SEARCH}?{query}", headers={"x-amz-access-token": token})
                assert json.loads(connection.getresponse().read())["numberOfResults"] == 1
            assert connection.sock is kept
            tokens.append(token)

        workers = [threading.Thread(target=work, args=(connection,)) for connection in connections]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(set(tokens)) == 8
        stats = amazon.stats()
        assert (stats.ok, stats.codes, stats.distinct_codes, stats.tokens_issued) == (40, 40, 1, 8)
        amazon.set(throttle_next=1)
        connections[0].request("GET", SEARCH, headers={"x-amz-access-token": tokens[0]})
        assert connections[0].getresponse().read()
        assert amazon.stats().throttled == 1
    # connections still open on our side do not keep a thread of the server
    assert threading.active_count() == before
    with pytest.raises(ConnectionError):
        http.client.HTTPConnection(host, timeout=10).request("GET", "/__stats")
    for connection in connections:
        connection.close()


def test_the_command_refuses_an_unreadable_catalogue(tmp_path: Path) -> None:
    bad = tmp_path / "catalogue.json"
    bad.write_text('{"items": 3}')
    with pytest.raises(CommandError, match='a catalogue is an object with a list "items"'):
        call_command("amazon_stand_in", port=0, catalogue=bad)
    with pytest.raises(CommandError, match="No such file"):
        call_command("amazon_stand_in", port=0, catalogue=tmp_path / "none.json")
