"""The stand-in as a WSGI application: Login with Amazon, Catalog Items, pricing, images and its own controls.

Models: https://github.com/amzn/selling-partner-api-models (catalogItems_2022-04-01, productPricing_2022-05-01).
"""

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from code2asin.stand_in.answers import INCLUDED_DATA, PRICE_DATA, Json, catalogue_item, competitive_summary
from code2asin.stand_in.catalogue import ASIN, Catalogue, Item
from code2asin.stand_in.images import LARGE, SMALL, tile
from code2asin.stand_in.state import Behaviour, Operation, Refusal, State, Stats

MARKETPLACES = frozenset(
    {
        "A13V1IB3VIYZZH",  # France
        "A1PA6795UKMFR9",  # Germany
        "APJ6JRA9NG5V4",  # Italy
        "A1RKKUPIHCS9HS",  # Spain
        "A1F83G8C2ARO7P",  # United Kingdom
        "AMEN7PMS3EDWL",  # Belgium
        "A1805IZSGTT6HS",  # Netherlands
        "A1C3SOZRARQ6R3",  # Poland
        "ATVPDKIKX0DER",  # United States
    }
)
MAX_IDENTIFIERS = 20
MAX_KEYWORDS = 20
MAX_PAGE_SIZE = 20
MAX_PRICED_ASINS = 20

_GTIN = re.compile(r"\d{8}|\d{12,14}")
_IDENTIFIER_PATTERNS = {
    "ASIN": ASIN,
    "EAN": _GTIN,
    "GTIN": _GTIN,
    "ISBN": re.compile(r"\d{9}[\dX]|97[89]\d{10}"),
    "JAN": _GTIN,
    "MINSAN": re.compile(r"\d{9}"),
    "SKU": re.compile(r".{1,40}"),
    "UPC": _GTIN,
}
_IMAGE_NAME = re.compile(rf"(?P<name>(?P<key>[\w]+)(?:-(?P<view>\d))?)(?P<small>\._SL{SMALL}_)?\.jpg")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    content_type: str
    token: str
    base_url: str

    def csv(self, name: str) -> list[str]:
        """The values of a list parameter, written with commas or repeated."""
        return [value for text in self.query.get(name, ()) for value in text.split(",") if value]

    def text(self, name: str) -> str:
        return self.query.get(name, [""])[-1]


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A refusal in Amazon's error format."""

    def __init__(
        self, status: int, code: str, message: str, *, details: str | None = None, error_type: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.body: Json = {"code": code, "message": message}
        if details is not None:
            self.body["details"] = details


class StandIn:
    """The application. `clock` gives seconds and only ever moves forward."""

    def __init__(
        self, catalogue: Catalogue, *, behaviour: Behaviour | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.catalogue = catalogue
        self._state = State(behaviour or Behaviour(), clock)

    def stats(self) -> Stats:
        return self._state.stats()

    def set(self, *, reset_stats: bool = False, revoke_tokens: bool = False, **changes: Any) -> Behaviour:
        """Change switches (the fields of Behaviour); raises ValueError, changing nothing, for a bad one."""
        self._state.change(changes)
        if revoke_tokens:
            self._state.revoke_tokens()
        if reset_stats:
            self._state.reset_stats()
        return self._state.behaviour

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._route(_request(environ))
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        start_response(status, list((headers | response.headers).items()))
        return [response.body]

    def _route(self, request: Request) -> Response:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["auth", "o2", "token"]:
                return self._token(request)
            case "GET", ["catalog", "2022-04-01", "items"]:
                return self._api(request, Operation.SEARCH, self._search)
            case "GET", ["catalog", "2022-04-01", "items", asin]:
                return self._api(request, Operation.GET_ITEM, lambda asked: self._get_item(asked, asin))
            case "POST", ["batches", "products", "pricing", "2022-05-01", "items", "competitiveSummary"]:
                return self._api(request, Operation.PRICING, self._prices)
            case "GET", ["images", file]:
                return self._image(file)
            case "GET", ["supplier-images", file]:
                return self._supplier_image(file)
            case "GET", ["__stats"]:
                return _json(HTTPStatus.OK, asdict(self.stats()))
            case "POST", ["__set"]:
                return self._control(request)
        return _json(HTTPStatus.NOT_FOUND, {"errors": [{"code": "NotFound", "message": f"No {request.path} here."}]})

    # -- Login with Amazon ------------------------------------------------------------------------------------------

    def _token(self, request: Request) -> Response:
        """https://developer-docs.amazon.com/sp-api/docs/connect-to-the-selling-partner-api"""
        try:
            form = _form(request)
        except (ApiError, ValueError):
            return _oauth_error("invalid_request", "The request body cannot be read")
        behaviour = self._state.behaviour
        required = {"refresh_token": "refresh_token", "client_credentials": "scope"}.get(form.get("grant_type", ""))
        if required is None:
            return _oauth_error("unsupported_grant_type", "The authorization grant type is not supported")
        for name in ("client_id", "client_secret", required):
            if not form.get(name):
                return _oauth_error("invalid_request", f"The request is missing a required parameter : {name}")
        if behaviour.client_secret not in ("", form["client_secret"]):
            return _oauth_error("invalid_client", "Client authentication failed", status=HTTPStatus.UNAUTHORIZED)
        refreshing = required == "refresh_token"
        if refreshing and behaviour.refresh_token not in ("", form["refresh_token"]):
            return _oauth_error("invalid_grant", "The request has an invalid grant parameter : refresh_token")
        answer: Json = {
            "access_token": self._state.issue_token(form["client_id"]),
            "token_type": "bearer",
            "expires_in": behaviour.token_lifetime,
            required: form[required],
        }
        return _json(HTTPStatus.OK, answer, {"Cache-Control": "no-store"})

    # -- Selling Partner API ----------------------------------------------------------------------------------------

    def _api(self, request: Request, operation: Operation, answer: Callable[[Request], Json]) -> Response:
        refusal = self._state.admit(request.token, operation)
        behaviour = self._state.behaviour
        if behaviour.delay:
            time.sleep(behaviour.delay)
        headers = {"x-amzn-RequestId": secrets.token_hex(8)}
        try:
            _raise(refusal, behaviour.fail_status)
            status, body = int(HTTPStatus.OK), answer(request)
        except ApiError as error:
            status, body = error.status, {"errors": [error.body]}
            if error.error_type is not None:
                headers["x-amzn-ErrorType"] = error.error_type
        if behaviour.rate_header and status in (200, 400, 404):
            headers["x-amzn-RateLimit-Limit"] = str(behaviour.limits(operation)[0])
        self._state.record(status)
        response = _json(status, body, headers)
        if status == HTTPStatus.OK and self._state.truncates():
            return Response(status, response.body[: len(response.body) // 2], headers=headers)
        return response

    def _search(self, request: Request) -> Json:
        marketplace_id, included = _common_parameters(request)
        identifiers, keywords = request.csv("identifiers"), request.csv("keywords")
        if not identifiers and not keywords:
            raise _invalid("Missing required 'identifiers' or 'keywords'.")
        if identifiers and (keywords or request.csv("brandNames") or request.csv("classificationIds")):
            raise _invalid("'identifiers' cannot be used with 'keywords', 'brandNames' or 'classificationIds'.")
        size = _page_size(request)
        found = self._identified(request, identifiers) if identifiers else self._named(request, keywords)
        offset = _offset(request)
        page = found[offset : offset + size]
        answer: Json = {"numberOfResults": len(found)}
        if offset + size < len(found) and self._state.behaviour.next_token:
            answer["pagination"] = {"nextToken": _page_token(request, offset + size)}
        answer["items"] = [self._item(item, request, marketplace_id, included) for item in page]
        self._state.record_codes(identifiers)
        return answer

    def _identified(self, request: Request, identifiers: list[str]) -> list[Item]:
        kind = request.text("identifiersType")
        if len(identifiers) > MAX_IDENTIFIERS:
            raise _invalid(f"'identifiers' takes at most {MAX_IDENTIFIERS} values.")
        if kind not in _IDENTIFIER_PATTERNS:
            raise _invalid("Missing or invalid 'identifiersType'.")
        if kind == "SKU" and not request.text("sellerId"):
            raise _invalid("Missing required 'sellerId'.")
        rejected = self._state.behaviour.rejected_codes
        if any(not _IDENTIFIER_PATTERNS[kind].fullmatch(code) or code in rejected for code in identifiers):
            raise _invalid(f"Invalid '{kind.lower()}' provided.")
        if kind == "ASIN":
            return self.catalogue.by_asins(identifiers)
        return [] if kind in ("MINSAN", "SKU") else self.catalogue.by_gtins(identifiers)

    def _named(self, request: Request, keywords: list[str]) -> list[Item]:
        if len(keywords) > MAX_KEYWORDS:
            raise _invalid(f"'keywords' takes at most {MAX_KEYWORDS} values.")
        return self.catalogue.by_keywords(" ".join(keywords), brands=request.csv("brandNames"))

    def _get_item(self, request: Request, asin: str) -> Json:
        marketplace_id, included = _common_parameters(request)
        if not ASIN.fullmatch(asin):
            raise _invalid("Invalid 'asin' provided.")
        item = self.catalogue.item(asin)
        if item is None:
            message = f"Requested item '{asin}' not found in marketplace(s) '{marketplace_id}'."
            raise ApiError(HTTPStatus.NOT_FOUND, "NOT_FOUND", message, details="")
        return self._item(item, request, marketplace_id, included)

    def _item(self, item: Item, request: Request, marketplace_id: str, included: list[str]) -> Json:
        return catalogue_item(
            item,
            catalogue=self.catalogue,
            marketplace_id=marketplace_id,
            base_url=request.base_url,
            included=included,
        )

    def _prices(self, request: Request) -> Json:
        asked = _body(request).get("requests")
        if not isinstance(asked, list) or not 1 <= len(asked) <= MAX_PRICED_ASINS:
            raise _invalid(f"'requests' takes 1 to {MAX_PRICED_ASINS} entries.")
        for entry in asked:
            _check_price_request(entry)
        return {"responses": [self._price(entry) for entry in asked]}

    def _price(self, entry: Json) -> Json:
        asin, marketplace_id, included = entry["asin"], entry["marketplaceId"], entry["includedData"]
        refused: Json = {"asin": asin, "marketplaceId": marketplace_id}
        if not ASIN.fullmatch(asin):
            refused["errors"] = [{"code": "INVALID_ASIN", "message": f"{asin} is not a valid ASIN"}]
            return {"status": {"statusCode": 400, "reasonPhrase": "Client Error"}, "body": refused}
        item = self.catalogue.item(asin)
        if item is None:
            refused["errors"] = [{"code": "NOT_FOUND", "message": f"{asin} was not found in {marketplace_id}"}]
            return {"status": {"statusCode": 404, "reasonPhrase": "Not Found"}, "body": refused}
        body = competitive_summary(item, marketplace_id=marketplace_id, included=included)
        return {"status": {"statusCode": 200, "reasonPhrase": "Success"}, "body": body}

    # -- pictures and controls --------------------------------------------------------------------------------------

    def _image(self, file: str) -> Response:
        match = _IMAGE_NAME.fullmatch(file)
        if match is None or match["name"] not in self.catalogue.images:
            return Response(HTTPStatus.NOT_FOUND, b"no such image", "text/plain")
        self._state.record_image()
        size = SMALL if match["small"] else LARGE
        return Response(HTTPStatus.OK, tile(match["key"], view=int(match["view"] or 0), size=size), "image/jpeg")

    def _supplier_image(self, file: str) -> Response:
        """Our own product's picture, for any code: the figure and hue of the item whose images bear the same key."""
        match = _IMAGE_NAME.fullmatch(file)
        if match is None:
            return Response(HTTPStatus.NOT_FOUND, b"no such image", "text/plain")
        self._state.record_image()
        return Response(HTTPStatus.OK, tile(match["key"], tinted=True), "image/jpeg")

    def _control(self, request: Request) -> Response:
        try:
            behaviour = self.set(**_body(request))
        except (ApiError, ValueError) as error:
            return _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        return _json(HTTPStatus.OK, asdict(behaviour))


def _raise(refusal: Refusal | None, fail_status: int) -> None:
    match refusal:
        case Refusal.ACCESS:
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "Unauthorized",
                "Access to requested resource is denied.",
                details="The access token you provided is revoked, malformed or invalid.",
                error_type="AccessDeniedException",
            )
        case Refusal.QUOTA:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "QuotaExceeded",
                "You exceeded your quota for the requested resource.",
                error_type="TooManyRequestsException",
            )
        case Refusal.FAILURE:
            code = "ServiceUnavailable" if fail_status == HTTPStatus.SERVICE_UNAVAILABLE else "InternalFailure"
            raise ApiError(fail_status, code, "We encountered an internal error. Please try again.", details="")


def _check_price_request(entry: object) -> None:
    if not isinstance(entry, dict):
        raise _invalid("'requests' takes objects.")
    for name in ("asin", "marketplaceId", "method", "uri"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            raise _invalid(f"Missing or invalid '{name}'.")
    included = entry.get("includedData")
    if not isinstance(included, list) or not included or not PRICE_DATA.issuperset(map(str, included)):
        raise _invalid("Missing or invalid 'includedData'.")
    if entry["marketplaceId"] not in MARKETPLACES:
        raise _invalid("Invalid 'marketplaceId' provided.")


def _common_parameters(request: Request) -> tuple[str, list[str]]:
    marketplaces = request.csv("marketplaceIds")
    if len(marketplaces) != 1:
        raise _invalid("'marketplaceIds' takes exactly one value.")
    if marketplaces[0] not in MARKETPLACES:
        raise _invalid("Invalid 'marketplaceIds' provided.")
    included = request.csv("includedData") or ["summaries"]
    unknown = set(included) - INCLUDED_DATA
    if unknown:
        raise _invalid(f"Invalid 'includedData' provided: {', '.join(sorted(unknown))}.")
    return marketplaces[0], included


def _page_size(request: Request) -> int:
    text = request.text("pageSize") or "10"
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_PAGE_SIZE:
        raise _invalid("Invalid 'pageSize' provided.")
    return int(text)


def _page_token(request: Request, offset: int) -> str:
    """Opaque to the client; valid only with the parameters of the first call, as Amazon's."""
    asked = {name: values for name, values in request.query.items() if name != "pageToken"}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode(f"{offset}:{digest}".encode()).decode()


def _offset(request: Request) -> int:
    token = request.text("pageToken")
    if not token:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token).decode().partition(":")[0])
    except ValueError:
        raise _invalid("Invalid 'pageToken' provided.") from None
    if token != _page_token(request, offset):
        raise _invalid("Invalid 'pageToken' provided.")
    return offset


def _invalid(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "InvalidInput", message, details="")


def _body(request: Request) -> Json:
    try:
        body = json.loads(request.body)
    except ValueError:
        raise _invalid("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise _invalid("The body is not a JSON object.")
    return body


def _form(request: Request) -> dict[str, str]:
    if request.content_type.startswith("application/json"):
        return {name: str(value) for name, value in _body(request).items()}
    return {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}


def _oauth_error(error: str, description: str, *, status: int = HTTPStatus.BAD_REQUEST) -> Response:
    return _json(status, {"error_description": description, "error": error})


def _json(status: int, body: Json, headers: dict[str, str] | None = None) -> Response:
    return Response(status, json.dumps(body, ensure_ascii=False).encode(), headers=headers or {})


def _request(environ: WSGIEnvironment) -> Request:
    # the whole body is read even when it is not wanted: the connection serves the next request
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        query=parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True),
        body=environ["wsgi.input"].read(length) if length else b"",
        content_type=environ.get("CONTENT_TYPE", ""),
        token=environ.get("HTTP_X_AMZ_ACCESS_TOKEN", ""),
        base_url=f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}",
    )
