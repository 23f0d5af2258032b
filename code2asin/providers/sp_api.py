"""Amazon's Selling Partner API, Catalog Items 2022-04-01: up to 20 codes per call, answers mapped by identifier.

https://developer-docs.amazon.com/sp-api/docs/catalog-items-api-v2022-04-01-reference
"""

import hashlib
import json
import logging
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import requests
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from catalog.identifiers import LookupClass, gtin14, isbn10_to_ean, lookup_class
from code2asin.limiter import Limiter, bucket_key
from code2asin.models import AccessToken
from code2asin.providers.base import Failure, Item, Lookup
from pim.jobs.errors import PermanentError, RetryableError
from pim.net import http_session, read_capped

logger = logging.getLogger(__name__)

Json = dict[str, Any]
PauseCheck = Callable[[], None]

DEFAULT_RATE = 2.0  # searches per second until Amazon announces another
BATCH_SIZE = PAGE_SIZE = 20  # the most the API takes
INCLUDED_DATA = "identifiers,summaries,images,relationships,salesRanks,productTypes"

TOKEN_SHARE = 0.8  # of an access token's life after which it is replaced
MAX_THROTTLES = 4  # refusals (429) of one call before the work is handed back
MAX_FAILURES = 3  # transient failures of one call before the work is handed back
MAX_RETRY_AFTER_S = 10.0  # a longer wait is left to the job's schedule
MAX_PAGES = 50
MAX_BODY = 20 * 1024 * 1024
DEADLINE_S = 30.0
ALL_REFUSED_MEANS_SETUP = 8  # when this many well-formed codes are refused one by one, it is not the codes


class _Refused(Exception):
    """A 400 for a batch: one of its codes, or the request as a whole, is not accepted."""


class _Transient(Exception):
    """A failure that may be gone at the next try; `now` False when trying at once would only hold up the worker."""

    def __init__(self, message: str, *, now: bool = True) -> None:
        super().__init__(message)
        self.now = now


class SpApi:
    """Looks codes up at one Amazon marketplace. One instance per worker; limiter and token are shared by all."""

    name = "sp_api"
    batch_size = BATCH_SIZE

    def __init__(
        self,
        *,
        endpoint: str,
        token_url: str,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        marketplace_id: str,
        limiter: Limiter,
    ) -> None:
        self.marketplace = marketplace_id
        self._url = f"{endpoint.rstrip('/')}/catalog/2022-04-01/items"
        self._limiter = limiter
        self._session = http_session()
        self._tokens = _AccessTokens(
            self._session,
            token_url=token_url,
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
        )

    def lookup(self, codes: Sequence[str], *, pause_check: PauseCheck) -> dict[str, Lookup]:
        """See `Provider.lookup`. Malformed and restricted codes are answered without a call.

        Codes of 8, 12 and 13 digits, ISBN-13 included, are sent as 13-digit EAN: Amazon's index is GTIN-based and
        ignores the spelling, while each identifiersType needs a call of its own. Codes with a wrong check digit go
        into separate calls, because one code Amazon does not accept fails the whole call.
        """
        found: dict[str, Lookup] = {}
        groups: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for code in dict.fromkeys(codes):
            key, kind = gtin14(code), lookup_class(code)
            if kind in _UNUSABLE:
                found[key] = Lookup(key, error=Failure("invalid_data", f"{code} {_UNUSABLE[kind]}"))
            elif key not in found:
                found[key] = Lookup(key)
                groups["EAN" if key[0] == "0" else "GTIN", kind is LookupClass.BAD_CHECK_DIGIT].append(key)
        for (identifiers_type, suspicious), keys in groups.items():
            for start in range(0, len(keys), BATCH_SIZE):
                batch = keys[start : start + BATCH_SIZE]
                answers = self._resolve(batch, identifiers_type, pause_check)
                if not suspicious:
                    _check_setup(answers)
                found |= answers
        return found

    def _resolve(self, keys: list[str], identifiers_type: str, pause_check: PauseCheck) -> dict[str, Lookup]:
        """Answers for at most 20 codes: one search, halved when refused or incomplete, orphans asked for singly."""
        try:
            items, complete = self._search(keys, identifiers_type, pause_check)
        except _Refused as refusal:
            if len(keys) == 1:
                message = f"Amazon does not accept the code {keys[0].removeprefix('0')}: {refusal}"
                return {keys[0]: Lookup(keys[0], error=Failure("invalid_data", message))}
            complete, items = False, []
        if len(keys) == 1:
            if not complete:
                logger.warning("Amazon holds back a part of the items for %s", keys[0])
            return {keys[0]: _lookup(keys[0], items)}
        if not complete:
            middle = len(keys) // 2
            first = self._resolve(keys[:middle], identifiers_type, pause_check)
            return first | self._resolve(keys[middle:], identifiers_type, pause_check)
        answers = {key: Lookup(key, listed=tuple(i for i in items if key in i.identifiers)) for key in keys}
        # An item that lists none of our codes answers one that has no other answer: asking for one at a time tells
        # which. Once every such item has its code, the remaining codes are known to have none.
        orphans = {item.asin for item in items if not any(key in item.identifiers for key in keys)}
        for key in [key for key, answer in answers.items() if not answer.listed]:
            if not orphans:
                break
            answers |= self._resolve([key], identifiers_type, pause_check)
            orphans -= {item.asin for item in answers[key].unlisted}
        return answers

    def _search(self, keys: list[str], identifiers_type: str, pause_check: PauseCheck) -> tuple[list[Item], bool]:
        """All items for these codes, and whether Amazon gave as many as it counted."""
        params = {
            "identifiers": ",".join(key[1:] if identifiers_type == "EAN" else key for key in keys),
            "identifiersType": identifiers_type,
            "marketplaceIds": self.marketplace,
            "includedData": INCLUDED_DATA,
            "pageSize": str(PAGE_SIZE),
        }
        items: dict[str, Item] = {}
        seen = 0
        for _ in range(MAX_PAGES):
            page = self._call(params, pause_check)
            raw_items = _dicts(page.get("items"))
            seen += len(raw_items)
            for raw in raw_items:
                item = parse_item(raw, self.marketplace)
                if item is None:
                    logger.warning("an item without an ASIN in Amazon's answer for %s", params["identifiers"])
                else:
                    items[item.asin] = item
            token = _text(_dict(page.get("pagination")).get("nextToken"))
            if token is None:
                return list(items.values()), seen >= (_number(page.get("numberOfResults")) or 0)
            params = params | {"pageToken": token}  # all other parameters must be sent again
        raise RetryableError(f"Amazon's answer has more than {MAX_PAGES} pages", category="network")

    def _call(self, params: Mapping[str, str], pause_check: PauseCheck) -> Json:
        """One page. Waits out short refusals and blips itself; raises _Refused, RetryableError or PermanentError."""
        throttles = failures = 0
        rejected_token: str | None = None
        while True:
            token = self._tokens.get(rejected=rejected_token)
            self._limiter.acquire(pause_check=pause_check)
            try:
                status, headers, body = self._get(params, token)
            except _Transient as failure:
                failures += 1
                if failures >= MAX_FAILURES or not failure.now:
                    raise RetryableError(str(failure), category="network") from None
                time.sleep(random.uniform(0.5, 1.0) * failures)
                continue
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                throttles += 1
                self._limiter.throttled()
                wait = _float(headers.get("Retry-After"))
                if throttles >= MAX_THROTTLES or (wait or 0) > MAX_RETRY_AFTER_S:
                    message = "Amazon refuses calls: the quota is used up (QuotaExceeded)"
                    raise RetryableError(message, category="api_rate_limit", retry_after=wait)
                time.sleep(wait or 0)
                continue
            self._limiter.answered(_float(headers.get("x-amzn-RateLimit-Limit")))
            if status == HTTPStatus.OK:
                return body
            if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and rejected_token is None:
                rejected_token = token
                continue
            raise _refusal(status, _amazon_message(body), paging="pageToken" in params)

    def _get(self, params: Mapping[str, str], token: str) -> tuple[int, Mapping[str, str], Json]:
        """https://developer-docs.amazon.com/sp-api/docs/catalog-items-api-v2022-04-01-reference#searchcatalogitems"""
        return _exchange(
            lambda: self._session.get(
                self._url,
                params=dict(params),
                headers={"x-amz-access-token": token, "Accept": "application/json"},
                stream=True,
            ),
            what="Amazon's catalogue",
            setting="AMAZON_SP_API_ENDPOINT",
        )


def from_settings() -> SpApi:
    """The provider as configured; raises PermanentError naming the settings that are missing."""
    needed = ("AMAZON_CLIENT_ID", "AMAZON_CLIENT_SECRET", "AMAZON_REFRESH_TOKEN")
    missing = [name for name in needed if not getattr(settings, name)]
    if missing:
        raise PermanentError(
            f"Amazon's Selling Partner API is not set up: set {', '.join(missing)}", category="unknown"
        )
    key = bucket_key(
        SpApi.name,
        "searchCatalogItems",
        settings.AMAZON_SP_API_ENDPOINT,
        settings.AMAZON_CLIENT_ID,
        settings.AMAZON_REFRESH_TOKEN,
    )
    return SpApi(
        endpoint=settings.AMAZON_SP_API_ENDPOINT,
        token_url=settings.AMAZON_LWA_TOKEN_URL,
        client_id=settings.AMAZON_CLIENT_ID,
        client_secret=settings.AMAZON_CLIENT_SECRET,
        refresh_token=settings.AMAZON_REFRESH_TOKEN,
        marketplace_id=settings.AMAZON_MARKETPLACE_ID,
        limiter=Limiter(key, default_rate=DEFAULT_RATE),
    )


_UNUSABLE = {
    LookupClass.MALFORMED: "is not a code of 8, 12, 13 or 14 digits",
    LookupClass.RESTRICTED: "is an in-store, coupon, serial or variable-measure code, which no marketplace lists",
}


def _lookup(key: str, items: Sequence[Item]) -> Lookup:
    """The answer to a search for one single code."""
    listed = tuple(item for item in items if key in item.identifiers)
    return Lookup(key, listed=listed, unlisted=tuple(item for item in items if item not in listed))


def _check_setup(answers: Mapping[str, Lookup]) -> None:
    errors = [answer.error for answer in answers.values() if answer.error]
    if len(errors) == len(answers) >= ALL_REFUSED_MEANS_SETUP:
        raise PermanentError(
            f"Amazon refused each of {len(errors)} well-formed codes, so the request itself is wrong; check "
            f"AMAZON_MARKETPLACE_ID and AMAZON_SP_API_ENDPOINT ({errors[0].message})",
            category="unknown",
        )


def _refusal(status: int, message: str, *, paging: bool) -> Exception:
    """The error for a final answer other than 200; the category of set-up errors is "unknown": no code is to blame."""
    if status == HTTPStatus.BAD_REQUEST and paging:
        return RetryableError(f"Amazon no longer knows its page token: {message}", category="network")
    if status == HTTPStatus.BAD_REQUEST and "marketplace" in message.lower():
        return PermanentError(f"Amazon: {message} Check AMAZON_MARKETPLACE_ID.", category="unknown")
    if status == HTTPStatus.BAD_REQUEST:
        return _Refused(message)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return PermanentError(
            f"Amazon denies access with a fresh token: {message} Check that the application has the Product Listing "
            "role, that AMAZON_SP_API_ENDPOINT is the account's region, and that AMAZON_REFRESH_TOKEN was issued "
            "after the role was granted.",
            category="unknown",
        )
    return PermanentError(f"Amazon answered {status}: {message} Check AMAZON_SP_API_ENDPOINT.", category="unknown")


# --- tokens -----------------------------------------------------------------------------------------------------


class _AccessTokens:
    """Login with Amazon: one access token for all workers, replaced by one of them under a row lock."""

    def __init__(
        self, session: requests.Session, *, token_url: str, client_id: str, client_secret: str, refresh_token: str
    ) -> None:
        self._session = session
        self._token_url = token_url
        self._form = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": refresh_token,
        }
        fingerprint = hashlib.sha256("\0".join((token_url, client_id, refresh_token)).encode()).hexdigest()[:32]
        self._key = f"lwa:{fingerprint}"

    def get(self, *, rejected: str | None = None) -> str:
        """A token that is good for now, and not the one Amazon has just rejected."""
        row = AccessToken.objects.filter(key=self._key).first()
        if row is not None and _is_usable(row, rejected):
            return row.token
        if row is None:
            AccessToken.objects.get_or_create(key=self._key, defaults={"token": "", "expires_at": timezone.now()})
        with transaction.atomic(durable=True):
            row = AccessToken.objects.select_for_update().get(key=self._key)
            if not _is_usable(row, rejected):  # no other worker was faster
                row.token, life = self._request()
                row.expires_at = timezone.now() + timedelta(seconds=TOKEN_SHARE * life)
                row.save()
            return row.token

    def _request(self) -> tuple[str, float]:
        """https://developer-docs.amazon.com/sp-api/docs/connect-to-the-selling-partner-api"""
        try:
            status, headers, body = _exchange(
                lambda: self._session.post(self._token_url, data=self._form, stream=True),
                what="Login with Amazon",
                setting="AMAZON_LWA_TOKEN_URL",
            )
        except _Transient as failure:
            raise RetryableError(str(failure), category="network") from None
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = _float(headers.get("Retry-After"))
            raise RetryableError(
                "Login with Amazon: too many tokens asked for", category="api_rate_limit", retry_after=wait
            )
        if status != HTTPStatus.OK:
            error = _text(body.get("error")) or f"status {status}"
            remedy = _TOKEN_REMEDIES.get(error, "check AMAZON_LWA_TOKEN_URL and the AMAZON_ credentials")
            raise PermanentError(f"Login with Amazon refused the credentials ({error}): {remedy}", category="unknown")
        token, life = _text(body.get("access_token")), _float(body.get("expires_in"))
        if token is None or life is None:
            raise RetryableError("Login with Amazon gave an answer without a token", category="network")
        return token, life


_TOKEN_REMEDIES = {
    "invalid_client": "check AMAZON_CLIENT_ID and AMAZON_CLIENT_SECRET; Amazon's client secrets expire and must be "
    "renewed in the developer console",
    "invalid_grant": "AMAZON_REFRESH_TOKEN is wrong or was revoked; authorise the application again",
    "unauthorized_client": "AMAZON_REFRESH_TOKEN does not belong to the application of AMAZON_CLIENT_ID",
}


def _is_usable(row: AccessToken, rejected: str | None) -> bool:
    return row.expires_at > timezone.now() and row.token not in ("", rejected)


# --- transport --------------------------------------------------------------------------------------------------


def _exchange(send: Callable[[], requests.Response], *, what: str, setting: str) -> tuple[int, Mapping[str, str], Json]:
    """Send, read within bounds, decode. Errors are raised without their cause, which holds the request's secrets."""
    try:
        response = send()
        content = read_capped(response, max_bytes=MAX_BODY, deadline_s=DEADLINE_S)
    except requests.Timeout:
        raise _Transient(f"{what} did not answer in time", now=False) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise PermanentError(f"{what} has no usable address: check {setting}", category="unknown") from None
    except requests.RequestException as error:
        raise _Transient(f"{what} cannot be reached ({type(error).__name__})") from None
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Transient(f"{what} answered {response.status_code}")
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if response.status_code == HTTPStatus.OK and not isinstance(body, dict):
        raise _Transient(f"{what} gave an answer that is cut short or not JSON")
    return response.status_code, response.headers, _dict(body)


def _amazon_message(body: Json) -> str:
    """Amazon's own words on an error, at most 200 characters."""
    first = next(iter(_dicts(body.get("errors"))), {})
    return (_text(first.get("message")) or _text(first.get("code")) or "no reason given.")[:200]


# --- items ------------------------------------------------------------------------------------------------------


def parse_item(raw: Json, marketplace_id: str) -> Item | None:
    """An item of the Catalog Items model, None without an ASIN. Unknown values are kept, wrong types are skipped."""
    asin = _text(raw.get("asin"))
    if asin is None:
        return None
    summary = next(_of_marketplace(raw, "summaries", marketplace_id), {})
    images = _largest_images(raw, marketplace_id)
    pack = _number(summary.get("packageQuantity"))
    return Item(
        asin=asin,
        title=_text(summary.get("itemName")),
        brand=_text(summary.get("brand")),
        manufacturer=_text(summary.get("manufacturer")),
        part_number=_text(summary.get("partNumber")),
        model_number=_text(summary.get("modelNumber")),
        identifiers=_identifiers(raw, marketplace_id),
        pack=pack if pack and pack > 0 else None,
        item_class=_text(summary.get("itemClassification")),
        parent_asin=_parent(raw, marketplace_id),
        image=images.get("MAIN"),
        images=tuple(images.values()),
        sales_rank=_best_rank(raw, marketplace_id),
        raw=raw,
    )


def _of_marketplace(raw: Json, data_set: str, marketplace_id: str) -> Iterator[Json]:
    """The entries of a data set for our marketplace; entries that do not say count as ours."""
    for entry in _dicts(raw.get(data_set)):
        if entry.get("marketplaceId", marketplace_id) == marketplace_id:
            yield entry


def _identifiers(raw: Json, marketplace_id: str) -> tuple[str, ...]:
    """Every listed GTIN in its canonical form, whatever type it is listed under; ISBN-10 as their EAN."""
    codes: dict[str, None] = {}
    for entry in _of_marketplace(raw, "identifiers", marketplace_id):
        for listed in _dicts(entry.get("identifiers")):
            if listed.get("identifierType") in ("ASIN", "SKU", "MINSAN"):
                continue
            text = re.sub(r"[\s-]", "", _text(listed.get("identifier")) or "").upper()
            if listed.get("identifierType") == "ISBN" and re.fullmatch(r"\d{9}[\dX]", text, re.ASCII):
                text = isbn10_to_ean(text)
            if re.fullmatch(r"\d{8,14}", text, re.ASCII):
                codes[gtin14(text)] = None
    return tuple(codes)


def _largest_images(raw: Json, marketplace_id: str) -> dict[str, str]:
    """The link of the largest size of each variant, MAIN first; colour swatches (SWCH) are no pictures of the item."""
    largest: dict[str, tuple[int, str]] = {}
    for entry in _of_marketplace(raw, "images", marketplace_id):
        for image in _dicts(entry.get("images")):
            variant, link = _text(image.get("variant")), _text(image.get("link"))
            area = (_number(image.get("height")) or 0) * (_number(image.get("width")) or 0)
            if variant and link and variant != "SWCH" and area > largest.get(variant, (-1, ""))[0]:
                largest[variant] = (area, link)
    return {variant: largest[variant][1] for variant in sorted(largest, key=lambda name: (name != "MAIN", name))}


def _parent(raw: Json, marketplace_id: str) -> str | None:
    for entry in _of_marketplace(raw, "relationships", marketplace_id):
        for relationship in _dicts(entry.get("relationships")):
            parents = relationship.get("parentAsins")
            if relationship.get("type") == "VARIATION" and isinstance(parents, list) and parents:
                return _text(parents[0])
    return None


def _best_rank(raw: Json, marketplace_id: str) -> int | None:
    """The best rank in the shop's main groups, else in its finer classes."""
    for group in ("displayGroupRanks", "classificationRanks"):
        ranks = [
            rank
            for entry in _of_marketplace(raw, "salesRanks", marketplace_id)
            for listed in _dicts(entry.get(group))
            if (rank := _number(listed.get("rank"))) and rank > 0
        ]
        if ranks:
            return min(ranks)
    return None


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[Json]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: object) -> float | None:
    """A positive number, also as text; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return None
    return number if 0 < number < 1e9 else None
