"""The Selling Partner API provider against the local stand-in: mapping by identifier, limits, failures, secrets."""

import json
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from catalog.identifiers import check_digit, gtin14
from code2asin.limiter import Limiter, bucket_key
from code2asin.models import AccessToken, RateBucket
from code2asin.providers.base import Failure, Lookup, Provider
from code2asin.providers.sp_api import SpApi, from_settings, parse_item
from code2asin.stand_in.catalogue import Catalogue, Item
from code2asin.stand_in.server import Running, running
from pim.jobs.errors import PermanentError, RetryableError
from tests.shared_data import shared_data

pytestmark = pytest.mark.django_db

MARKETPLACE = "A13V1IB3VIYZZH"
SECRET, REFRESH = "amzn1.client-secret-canary", "Atzr|refresh-canary"
KEY = bucket_key("sp_api", "searchCatalogItems", "test")
FAST = {"rate": 500.0, "burst": 500}


def no_pause() -> None:
    pass


def ean(number: int) -> str:
    body = f"376000{number:06}"
    return body + check_digit(body)


def asin(number: int) -> str:
    return f"B{number:09}"


def item(number: int, **fields: Any) -> Item:
    return Item(**({"asin": asin(number), "title": f"Product {number}", "gtins": (ean(number),)} | fields))


def provider_for(url: str, **changes: Any) -> SpApi:
    arguments: dict[str, Any] = {
        "endpoint": url,
        "token_url": f"{url}/auth/o2/token",
        "client_id": "client-id",
        "client_secret": SECRET,
        "refresh_token": REFRESH,
        "marketplace_id": MARKETPLACE,
        "limiter": Limiter(KEY, default_rate=500.0),
    }
    return SpApi(**(arguments | changes))


def listed(answers: dict[str, Lookup]) -> dict[str, list[str]]:
    """ASINs that list each code, by the 13-digit code."""
    return {key[1:]: [found.asin for found in answer.listed] for key, answer in answers.items()}


def searches(amazon: Running) -> int:
    return amazon.stats().calls.get("searchCatalogItems", 0)


@pytest.fixture
def amazon(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Twenty products, in the reverse order of their numbers."""
    with running(Catalogue(item(number) for number in reversed(range(1, 21))), **FAST) as server:
        yield server


# --- answers belong to codes by identifier ---


def test_answers_are_never_mapped_by_position() -> None:
    """One code in the middle has no item, and the answer comes in another order than the codes were sent."""
    codes = [ean(number) for number in range(1, 21)]
    catalogue = Catalogue(item(number) for number in (7, 3, *range(20, 11, -1), 1, 2, 9, 8, 4, 5, 6, 10))
    with running(catalogue, **FAST) as amazon:
        answers = provider_for(amazon.url).lookup(codes, pause_check=no_pause)
        assert searches(amazon) == 1
    expected = {ean(number): [asin(number)] for number in range(1, 21)} | {ean(11): []}
    assert listed(answers) == expected
    assert answers[gtin14(ean(11))] == Lookup(gtin14(ean(11)))


def test_several_items_of_one_code_are_all_kept() -> None:
    catalogue = Catalogue([item(1), item(2, gtins=(ean(1),), pack=6, classification="PRODUCT_BUNDLE"), item(3)])
    with running(catalogue, **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([ean(1), ean(3)], pause_check=no_pause)
    assert listed(answers) == {ean(1): [asin(1), asin(2)], ean(3): [asin(3)]}
    bundle = answers[gtin14(ean(1))].listed[1]
    assert (bundle.pack, bundle.item_class) == (6, "PRODUCT_BUNDLE")


@pytest.mark.parametrize(
    ("asked", "spelled"),
    [
        ("036000291452", "0036000291452"),
        ("0036000291452", "036000291452"),
        ("0036000291452", "00036000291452"),
        ("96385074", "00000096385074"),
        ("9780439023481", "0439023483"),
        ("13017620422000", "13017620422000"),
    ],
)
def test_the_spelling_of_a_code_does_not_matter(asked: str, spelled: str) -> None:
    with running(Catalogue([item(1, gtins=(spelled,)), item(2)]), **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([asked, ean(2)], pause_check=no_pause)
    assert [found.asin for found in answers[gtin14(asked)].listed] == [asin(1)]
    assert [found.asin for found in answers[gtin14(ean(2))].listed] == [asin(2)]


def test_two_spellings_of_one_code_are_one_look_up() -> None:
    with running(Catalogue([item(1, gtins=("036000291452",))]), **FAST) as amazon:
        answers = provider_for(amazon.url).lookup(["036000291452", "0036000291452"], pause_check=no_pause)
        assert amazon.stats().codes == 1
    assert listed(answers) == {"0036000291452": [asin(1)]}


def test_an_item_that_does_not_list_its_code_is_found_by_asking_singly() -> None:
    hidden = item(2, gtins=(ean(99),), unlisted_gtins=(ean(2),))
    with running(Catalogue([item(1), hidden, item(3)]), **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([ean(1), ean(4), ean(2), ean(5), ean(3)], pause_check=no_pause)
        # the batch, then 4 (nothing) and 2 (the orphan); by then it is known that 5 has nothing
        assert searches(amazon) == 3
    assert listed(answers) == {ean(1): [asin(1)], ean(4): [], ean(2): [], ean(5): [], ean(3): [asin(3)]}
    assert [found.asin for found in answers[gtin14(ean(2))].unlisted] == [asin(2)]
    assert all(answer.unlisted == () for key, answer in answers.items() if key != gtin14(ean(2)))


def test_missing_codes_cost_no_further_call_when_every_item_is_explained(amazon: Running) -> None:
    provider_for(amazon.url).lookup([ean(1), ean(50), ean(51)], pause_check=no_pause)
    assert searches(amazon) == 1


def test_a_single_code_keeps_items_that_do_not_list_it() -> None:
    with running(Catalogue([item(1), item(2, gtins=(), unlisted_gtins=(ean(1),))]), **FAST) as amazon:
        answer = provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)[gtin14(ean(1))]
    assert [found.asin for found in answer.listed] == [asin(1)]
    assert [found.asin for found in answer.unlisted] == [asin(2)]


def test_more_codes_than_one_call_takes_are_split(amazon: Running) -> None:
    answers = provider_for(amazon.url).lookup([ean(number) for number in range(1, 46)], pause_check=no_pause)
    assert searches(amazon) == 3
    assert listed(answers) == {ean(number): [asin(number)] if number <= 20 else [] for number in range(1, 46)}


# --- codes that are not sent, codes that are not accepted ---


def test_malformed_and_restricted_codes_are_answered_without_a_call(amazon: Running) -> None:
    answers = provider_for(amazon.url).lookup(["2000000000008", "12345", "9771234567003"], pause_check=no_pause)
    assert {key: answer.error for key, answer in answers.items()} == {
        "02000000000008": Failure(
            "invalid_data",
            "2000000000008 is an in-store, coupon, serial or variable-measure code, which no marketplace lists",
        ),
        "00000000012345": Failure("invalid_data", "12345 is not a code of 8, 12, 13 or 14 digits"),
        "09771234567003": Failure(
            "invalid_data",
            "9771234567003 is an in-store, coupon, serial or variable-measure code, which no marketplace lists",
        ),
    }
    assert (searches(amazon), amazon.stats().tokens_issued) == (0, 0)


def test_a_refused_batch_is_narrowed_down_to_the_bad_code(amazon: Running) -> None:
    amazon.set(rejected_codes=[ean(13)])
    answers = provider_for(amazon.url).lookup([ean(number) for number in range(1, 21)], pause_check=no_pause)
    assert listed(answers) == {ean(number): [asin(number)] if number != 13 else [] for number in range(1, 21)}
    errors = {key[1:]: answer.error for key, answer in answers.items() if answer.error}
    message = f"Amazon does not accept the code {ean(13)}: Invalid 'ean' provided."
    assert errors == {ean(13): Failure("invalid_data", message)}
    assert searches(amazon) <= 11


def test_codes_with_a_wrong_check_digit_are_sent_apart(amazon: Running) -> None:
    wrong = "3760000000001"
    amazon.set(rejected_codes=[wrong])
    answers = provider_for(amazon.url).lookup([ean(1), wrong, ean(2)], pause_check=no_pause)
    assert searches(amazon) == 2
    assert listed(answers) == {ean(1): [asin(1)], wrong: [], ean(2): [asin(2)]}
    assert answers[gtin14(wrong)].error is not None


def test_a_wrong_marketplace_blames_the_setting_and_no_code(amazon: Running) -> None:
    with pytest.raises(PermanentError, match="Check AMAZON_MARKETPLACE_ID") as error:
        provider_for(amazon.url, marketplace_id="NOWHERE").lookup([ean(1), ean(2)], pause_check=no_pause)
    assert error.value.category == "unknown"
    assert searches(amazon) == 1


def test_when_every_good_code_is_refused_the_request_is_blamed(amazon: Running) -> None:
    codes = [ean(number) for number in range(1, 21)]
    amazon.set(rejected_codes=codes)
    with pytest.raises(PermanentError, match="refused each of 20 well-formed codes"):
        provider_for(amazon.url).lookup(codes, pause_check=no_pause)


# --- pages ---


def many_items_catalogue() -> Catalogue:
    """Two codes with 25 items each."""
    return Catalogue(item(number, gtins=(ean(1 + number % 2),)) for number in range(50))


def test_all_pages_are_read() -> None:
    with running(many_items_catalogue(), **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([ean(1), ean(2)], pause_check=no_pause)
        assert searches(amazon) == 3
    assert [len(answer.listed) for answer in answers.values()] == [25, 25]


def test_a_missing_page_token_halves_the_batch_until_everything_was_seen() -> None:
    catalogue = Catalogue(item(number, gtins=(ean(1 + number % 3),)) for number in range(30))
    with running(catalogue, next_token=False, **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([ean(1), ean(2), ean(3)], pause_check=no_pause)
        assert searches(amazon) == 3  # 30 items do not fit, 10 and 20 do
    assert [len(answer.listed) for answer in answers.values()] == [10, 10, 10]


def test_a_single_code_with_a_missing_page_token_keeps_what_was_seen(caplog: pytest.LogCaptureFixture) -> None:
    with running(many_items_catalogue(), next_token=False, **FAST) as amazon:
        answers = provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert len(answers[gtin14(ean(1))].listed) == 20
    assert f"Amazon holds back a part of the items for {gtin14(ean(1))}" in caplog.messages


def test_pages_without_end_are_given_up(httpserver: HTTPServer) -> None:
    serve_token(httpserver)
    page = {"numberOfResults": 1, "items": [], "pagination": {"nextToken": "again"}}
    httpserver.expect_request("/catalog/2022-04-01/items").respond_with_json(page)
    with pytest.raises(RetryableError, match="more than 50 pages"):
        provider_for(httpserver.url_for("")).lookup([ean(1)], pause_check=no_pause)


# --- limits and failures ---


def test_a_short_burst_of_refusals_is_waited_out(amazon: Running) -> None:
    amazon.set(throttle_next=2)
    answers = provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert listed(answers) == {ean(1): [asin(1)]}
    assert amazon.stats().throttled == 2
    assert RateBucket.objects.get(key=KEY).throttled_in_row == 0


def test_lasting_refusals_hand_the_work_back(amazon: Running) -> None:
    amazon.set(throttle_next=1000)
    with pytest.raises(RetryableError, match="quota is used up") as error:
        provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert error.value.category == "api_rate_limit"
    assert amazon.stats().throttled == 4
    bucket = RateBucket.objects.get(key=KEY)
    assert (bucket.throttled_in_row, bucket.rate) == (4, 250.0)


def test_a_long_retry_after_is_left_to_the_schedule(httpserver: HTTPServer) -> None:
    serve_token(httpserver)
    httpserver.expect_request("/catalog/2022-04-01/items").respond_with_data(
        "{}", status=429, headers={"Retry-After": "90"}
    )
    with pytest.raises(RetryableError) as error:
        provider_for(httpserver.url_for("")).lookup([ean(1)], pause_check=no_pause)
    assert (error.value.category, error.value.retry_after) == ("api_rate_limit", 90)


def test_the_announced_rate_is_followed(amazon: Running) -> None:
    provider = provider_for(amazon.url)
    provider.lookup([ean(1)], pause_check=no_pause)
    assert RateBucket.objects.get(key=KEY).rate == 500.0
    amazon.set(rate=40.0)
    provider.lookup([ean(1)], pause_check=no_pause)
    assert RateBucket.objects.get(key=KEY).rate == 40.0
    amazon.set(rate=80.0, rate_header=False)
    provider.lookup([ean(1)], pause_check=no_pause)
    assert RateBucket.objects.get(key=KEY).rate == 40.0


def test_a_paced_client_is_never_refused() -> None:
    with running(Catalogue([item(1)]), rate=20.0, burst=2) as amazon:
        provider = provider_for(amazon.url, limiter=Limiter(KEY, default_rate=20.0))
        for number in range(1, 21):
            provider.lookup([ean(number)], pause_check=no_pause)
        assert (amazon.stats().ok, amazon.stats().throttled) == (20, 0)


@pytest.mark.parametrize("switches", [{"fail_next": 1, "fail_status": 500}, {"fail_next": 2}, {"truncate_next": 1}])
def test_a_blip_is_tried_again(amazon: Running, switches: dict[str, int]) -> None:
    amazon.set(**switches)
    assert listed(provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)) == {ean(1): [asin(1)]}


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"fail_next": 1000, "fail_status": 500}, "Amazon's catalogue answered 500"),
        ({"truncate_next": 1000}, "Amazon's catalogue gave an answer that is cut short or not JSON"),
    ],
)
def test_lasting_failures_are_network_errors(amazon: Running, switches: dict[str, int], message: str) -> None:
    amazon.set(**switches)
    with pytest.raises(RetryableError) as error:
        provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert (str(error.value), error.value.category) == (message, "network")
    assert searches(amazon) == 3


@pytest.mark.parametrize("host", ["http://no-such-host.invalid", "closed port"])
def test_an_unreachable_host_is_a_network_error(amazon: Running, host: str) -> None:
    if host == "closed port":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RetryableError, match=r"Amazon's catalogue cannot be reached \(ConnectionError\)") as error:
        provider_for(host, token_url=amazon.token_url).lookup([ean(1)], pause_check=no_pause)
    assert error.value.category == "network"


def test_an_address_that_is_none_names_the_setting(amazon: Running) -> None:
    with pytest.raises(PermanentError, match="check AMAZON_SP_API_ENDPOINT"):
        provider_for("sellingpartnerapi", token_url=amazon.token_url).lookup([ean(1)], pause_check=no_pause)


def test_a_redirect_is_not_followed(httpserver: HTTPServer) -> None:
    serve_token(httpserver)
    elsewhere = {"Location": httpserver.url_for("/elsewhere")}
    httpserver.expect_request("/catalog/2022-04-01/items").respond_with_data("", status=302, headers=elsewhere)
    with pytest.raises(PermanentError, match="Amazon answered 302"):
        provider_for(httpserver.url_for("")).lookup([ean(1)], pause_check=no_pause)
    assert [request.path for request, _ in httpserver.log] == ["/auth/o2/token", "/catalog/2022-04-01/items"]


def test_a_pause_stops_before_the_next_call(amazon: Running) -> None:
    class Paused(Exception):
        pass

    def pause() -> None:
        if searches(amazon):
            raise Paused

    with pytest.raises(Paused):
        provider_for(amazon.url).lookup([ean(number) for number in range(1, 46)], pause_check=pause)
    assert searches(amazon) == 1


# --- tokens ---


def serve_token(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/auth/o2/token").respond_with_json({"access_token": "Atza|x", "expires_in": 3600})


def expire_tokens() -> None:
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_one_token_serves_all_workers(amazon: Running) -> None:
    for _ in range(3):
        provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert amazon.stats().tokens_issued == 1


def test_a_token_is_replaced_at_80_percent_of_its_life(amazon: Running) -> None:
    before = timezone.now()
    provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    life = AccessToken.objects.get().expires_at - before
    assert timedelta(seconds=2880) <= life < timedelta(seconds=2910)
    expire_tokens()
    provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert amazon.stats().tokens_issued == 2


def test_a_token_that_amazon_forgot_is_replaced_once(amazon: Running) -> None:
    provider = provider_for(amazon.url)
    provider.lookup([ean(1)], pause_check=no_pause)
    amazon.set(revoke_tokens=True)
    assert listed(provider.lookup([ean(1)], pause_check=no_pause)) == {ean(1): [asin(1)]}
    assert amazon.stats().tokens_issued == 2


def test_short_lived_tokens_are_renewed_without_a_failed_look_up(amazon: Running) -> None:
    amazon.set(token_lifetime=2)
    provider = provider_for(amazon.url)
    for _ in range(3):
        assert listed(provider.lookup([ean(1)], pause_check=no_pause)) == {ean(1): [asin(1)]}
        expire_tokens()
    assert (amazon.stats().tokens_issued, amazon.stats().errors) == (3, 0)


def test_a_rejected_token_replaced_by_another_worker_is_used(amazon: Running) -> None:
    """Two workers get a 403 for the same token: the second takes the token the first one fetched."""
    provider = provider_for(amazon.url)
    provider.lookup([ean(1)], pause_check=no_pause)
    rejected = AccessToken.objects.get().token
    assert provider._tokens.get(rejected=rejected) == provider._tokens.get(rejected=rejected)
    assert amazon.stats().tokens_issued == 2


@pytest.mark.django_db(transaction=True)
def test_workers_that_start_together_ask_for_one_token(amazon: Running) -> None:
    together = threading.Barrier(4)

    def work(_: int) -> dict[str, list[str]]:
        try:
            connection.ensure_connection()
            together.wait(timeout=30)
            return listed(provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        assert list(workers.map(work, range(4))) == [{ean(1): [asin(1)]}] * 4
    assert amazon.stats().tokens_issued == 1


def test_denied_access_with_a_fresh_token_stops_the_job(amazon: Running) -> None:
    amazon.set(deny_access=True)
    with pytest.raises(PermanentError, match="Product Listing role") as error:
        provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert error.value.category == "unknown"
    assert (searches(amazon), amazon.stats().tokens_issued) == (2, 2)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"client_secret": "another"}, r"\(invalid_client\): check AMAZON_CLIENT_ID and AMAZON_CLIENT_SECRET"),
        ({"refresh_token": "another"}, r"\(invalid_grant\): AMAZON_REFRESH_TOKEN is wrong or was revoked"),
    ],
)
def test_dead_credentials_stop_the_job_and_name_the_setting(
    amazon: Running, switches: dict[str, str], message: str
) -> None:
    amazon.set(**switches)
    with pytest.raises(PermanentError, match=message) as error:
        provider_for(amazon.url).lookup([ean(1)], pause_check=no_pause)
    assert error.value.category == "unknown"
    assert searches(amazon) == 0


@pytest.mark.parametrize("answer", [{"access_token": "Atza|x"}, {"expires_in": 3600}, {}])
def test_an_answer_without_a_token_is_a_network_error(httpserver: HTTPServer, answer: dict[str, Any]) -> None:
    httpserver.expect_request("/auth/o2/token").respond_with_json(answer)
    with pytest.raises(RetryableError, match="without a token"):
        provider_for(httpserver.url_for("")).lookup([ean(1)], pause_check=no_pause)


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "refused", "denied"])
def test_secrets_are_in_no_error_and_no_log(amazon: Running, url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    if url == "refused":
        amazon.set(client_secret="another")
    elif url == "denied":
        amazon.set(deny_access=True)
    provider = provider_for(url if url.startswith("http") else amazon.url)
    with pytest.raises((PermanentError, RetryableError)) as error:
        provider.lookup([ean(1)], pause_check=no_pause)
    told = caplog.text + "".join(traceback.format_exception(error.value)) + repr(vars(error.value)) + repr(provider)
    for secret in (SECRET, REFRESH, *AccessToken.objects.exclude(token="").values_list("token", flat=True)):
        assert secret not in told
    assert error.value.__cause__ is None
    assert SECRET not in AccessToken.objects.values_list("key", flat=True)


# --- settings ---


def test_missing_settings_are_named(settings: Settings) -> None:
    settings.AMAZON_CLIENT_ID, settings.AMAZON_CLIENT_SECRET, settings.AMAZON_REFRESH_TOKEN = "id", "", ""
    with pytest.raises(PermanentError, match=r"set AMAZON_CLIENT_SECRET, AMAZON_REFRESH_TOKEN$"):
        from_settings()


def test_the_configured_provider_works(settings: Settings, amazon: Running) -> None:
    settings.AMAZON_SP_API_ENDPOINT, settings.AMAZON_LWA_TOKEN_URL = amazon.url + "/", amazon.token_url
    settings.AMAZON_CLIENT_ID, settings.AMAZON_CLIENT_SECRET, settings.AMAZON_REFRESH_TOKEN = "id", SECRET, REFRESH
    settings.AMAZON_MARKETPLACE_ID = "A1PA6795UKMFR9"
    provider: Provider = from_settings()
    assert (provider.name, provider.marketplace, provider.batch_size) == ("sp_api", "A1PA6795UKMFR9", 20)
    assert listed(provider.lookup([ean(1)], pause_check=no_pause)) == {ean(1): [asin(1)]}
    assert REFRESH not in RateBucket.objects.get().key


# --- items ---


def test_amazons_own_example_is_read() -> None:
    model = json.loads(shared_data("amazon", "catalogItems_2022-04-01.json").read_text())
    responses = model["paths"]["/catalog/2022-04-01/items"]["get"]["responses"]
    example = responses["200"]["x-amzn-api-sandbox"]["static"][0]["response"]["items"][0]
    parsed = parse_item(example, "ATVPDKIKX0DER")
    assert parsed is not None
    assert (parsed.asin, parsed.brand, parsed.item_class) == ("B07N4M94X4", "SAMSUNG", "BASE_PRODUCT")
    assert parsed.identifiers == ("00887276302195",)
    assert parsed.image == "https://m.media-amazon.com/images/I/91uohwV+k3L.jpg"


def test_an_item_is_read_leniently() -> None:
    raw = {
        "asin": "B000000001",
        "summaries": [
            {"marketplaceId": "OTHER", "itemName": "wrong shop"},
            {"marketplaceId": MARKETPLACE, "itemName": " Name ", "brand": 7, "packageQuantity": 0, "modelNumber": "M1"},
        ],
        "identifiers": [
            {
                "marketplaceId": MARKETPLACE,
                "identifiers": [
                    {"identifierType": "EAN", "identifier": "3017620422003"},
                    {"identifierType": "UPC", "identifier": "036000291452"},
                    {"identifierType": "GTIN", "identifier": "00036000291452"},
                    {"identifierType": "ISBN", "identifier": "0-439-02348-3"},
                    {"identifierType": "SKU", "identifier": "96385074"},
                    {"identifierType": "EAN", "identifier": "none"},
                    {"identifierType": "EAN"},
                    "nonsense",
                ],
            }
        ],
        "images": [
            {
                "marketplaceId": MARKETPLACE,
                "images": [
                    {"variant": "PT09", "link": "https://i/pt09.jpg", "height": 10, "width": 10},
                    {"variant": "MAIN", "link": "https://i/small.jpg", "height": 75, "width": 75},
                    {"variant": "MAIN", "link": "https://i/large.jpg", "height": 1500, "width": 1500},
                    {"variant": "MAIN", "link": "https://i/medium.jpg", "height": 500, "width": 500},
                    {"variant": "SWCH", "link": "https://i/swatch.jpg", "height": 30, "width": 30},
                    {"variant": "PT01", "link": "https://i/pt01.jpg"},
                ],
            }
        ],
        "relationships": [{"relationships": [{"type": "VARIATION", "parentAsins": ["B000000PAR"]}, None]}],
        "salesRanks": [
            {
                "marketplaceId": MARKETPLACE,
                "displayGroupRanks": [{"rank": 900}, {"rank": 12}],
                "classificationRanks": [{"rank": 1}],
            }
        ],
        "vendorDetails": "unexpected",
    }
    parsed = parse_item(raw, MARKETPLACE)
    assert parsed is not None
    assert (parsed.title, parsed.brand, parsed.pack, parsed.model_number) == ("Name", None, None, "M1")
    assert parsed.identifiers == ("03017620422003", "00036000291452", "09780439023481")
    assert parsed.image == "https://i/large.jpg"
    assert parsed.images == ("https://i/large.jpg", "https://i/pt01.jpg", "https://i/pt09.jpg")
    assert (parsed.parent_asin, parsed.sales_rank) == ("B000000PAR", 12)
    assert parsed.raw == raw


@pytest.mark.parametrize("raw", [{}, {"asin": None}, {"asin": " "}, {"asin": 5}])
def test_an_item_without_an_asin_is_none(raw: dict[str, Any]) -> None:
    assert parse_item(raw, MARKETPLACE) is None


def test_an_item_with_nothing_but_an_asin_is_read() -> None:
    parsed = parse_item({"asin": "B000000001", "images": 5, "summaries": [], "identifiers": None}, MARKETPLACE)
    assert parsed is not None
    assert (parsed.title, parsed.identifiers, parsed.images, parsed.sales_rank) == (None, (), (), None)
