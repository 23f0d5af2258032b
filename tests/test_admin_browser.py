"""The review queue and a running job in a real browser: keys, clicks, and a page that follows the job by itself."""

import os
import shutil
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from code2asin.models import Code2AsinJob, MatchResult
from tests.matching import FIRST, SECOND, job_with

CHROMIUM = os.environ.get("PIM_TEST_CHROMIUM") or shutil.which("chromium") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright keeps an event loop running in this thread, in which Django would refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def signed_in(browser: Browser, server: LiveServer, user: User, *, javascript: bool = True) -> Page:
    client = Client()
    client.force_login(user)
    context = browser.new_context(locale="en", java_script_enabled=javascript)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server.url}])
    page = context.new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def claire(db: None) -> User:
    user = User.objects.create_user("claire", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="review_match"))
    return user


def decided() -> list[tuple[str, str, str | None]]:
    results = MatchResult.objects.exclude(review="").order_by("reviewed_at")
    return list(results.values_list("code", "review", "asin"))


def test_a_review_session_by_keyboard_alone(browser: Browser, live_server: LiveServer, claire: User) -> None:
    _job, (first, second, third) = job_with("ambiguous", "ambiguous", "ambiguous")
    page = signed_in(browser, live_server, claire)
    page.goto(f"{live_server.url}/admin/code2asin/review/")

    expect(page.get_by_text("1 of 3 left")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_text(f"{SECOND} accepted for {first.code}.")).to_be_visible()
    expect(page.locator("#ours-title")).to_have_text(second.product.name)
    page.keyboard.press("n")
    expect(page.get_by_text("2 of 2 left")).to_be_visible()
    expect(page.locator("#ours-title")).to_have_text(third.product.name)
    page.keyboard.press("r")
    expect(page.get_by_text(f"All candidates of {third.code} rejected.")).to_be_visible()
    page.keyboard.press("1")
    expect(page.get_by_text("Nothing is waiting for a decision.")).to_be_visible()

    assert decided() == [
        (first.code, "accepted", SECOND),
        (third.code, "rejected", None),
        (second.code, "accepted", FIRST),
    ]


def test_keys_typed_into_a_field_decide_nothing(browser: Browser, live_server: LiveServer, claire: User) -> None:
    job_with("ambiguous")
    page = signed_in(browser, live_server, claire)
    page.goto(f"{live_server.url}/admin/code2asin/review/")

    page.get_by_text("None of these, but I know the ASIN").click()
    page.get_by_label("ASIN", exact=True).press_sequentially("b01r0typ12")
    assert decided() == []
    page.keyboard.press("Enter")
    expect(page.get_by_text("B01R0TYP12 accepted")).to_be_visible()
    assert [asin for _code, _review, asin in decided()] == ["B01R0TYP12"]


@pytest.mark.parametrize("javascript", [True, False])
def test_accepting_by_click(browser: Browser, live_server: LiveServer, claire: User, javascript: bool) -> None:
    _job, (first, _second) = job_with("ambiguous", "ambiguous")
    page = signed_in(browser, live_server, claire, javascript=javascript)
    page.goto(f"{live_server.url}/admin/code2asin/review/")

    page.get_by_role("article", name=f"Title of {SECOND}").get_by_role("button").click()
    expect(page.get_by_text(f"{SECOND} accepted for {first.code}.")).to_be_visible()
    expect(page.get_by_text("1 of 1 left")).to_be_visible()
    assert decided() == [(first.code, "accepted", SECOND)]


def test_the_page_of_a_running_job_follows_it(browser: Browser, live_server: LiveServer) -> None:
    job, _made = job_with("matched", "matched", status="processing")
    Code2AsinJob.objects.filter(pk=job.pk).update(cursor=1)
    page = signed_in(browser, live_server, User.objects.create_superuser("alice"))
    page.goto(f"{live_server.url}/admin/code2asin/code2asinjob/{job.pk}/change/")
    expect(page.get_by_role("status")).to_have_text("processing")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_text("Cancel…").click()
    page.evaluate("window.untouched = true")

    Code2AsinJob.objects.filter(pk=job.pk).update(cursor=2)
    expect(page.get_by_text("100 %")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the job")).to_be_visible()  # what is open stays open

    Code2AsinJob.objects.filter(pk=job.pk).update(status="completed")
    expect(page.get_by_role("status")).to_have_text("completed")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    assert page.evaluate("window.untouched")  # swapped in place, never reloaded


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_the_window(browser: Browser, live_server: LiveServer, width: int) -> None:
    job, (result,) = job_with("ambiguous")
    Code2AsinJob.objects.filter(pk=job.pk).update(name="a_long_name_without_any_space_" * 5)
    page = signed_in(browser, live_server, User.objects.create_superuser("alice"))
    page.set_viewport_size({"width": width, "height": 800})
    for path in (
        "catalog/product/",
        f"catalog/product/{result.product_id}/change/",
        "imports/importjob/add/",
        f"code2asin/code2asinjob/{job.pk}/change/",
        "code2asin/review/",
        "apikeys/apikey/add/",
    ):
        page.goto(f"{live_server.url}/admin/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
