"""The review queue: what is shown, what a decision does, and two reviewers at once."""

import re
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry

from catalog.models import Product, ProductRevision
from tests.back_office import REVIEW, SCRIPT, page, post, reviewer
from tests.make import make_brand, make_supplier
from tests.matching import FIRST, SECOND, candidate, job_with

pytestmark = pytest.mark.django_db


def test_our_product_stands_beside_every_candidate() -> None:
    _job, (result,) = job_with("ambiguous")
    Product.objects.filter(pk=result.product_id).update(
        name=f"Lampe bleue {SCRIPT}",
        image_url="javascript:alert(1)",
        brand=make_brand("Kimex"),
        price=Decimal("12.50"),
        reference="REF-1",
        supplier=make_supplier("ACME"),
    )
    best = candidate(FIRST, 0.8) | {
        "title": f"Lampe rouge {SCRIPT} <b>gras</b>",
        "brand": "Autre",
        "image": "https://images.example/a.jpg",
        "features": {"brand": "conflict", "pack_ours": 1, "pack_theirs": 6},
        "reasons": ["EAN is listed: +0.92", "pack size 6 against 1: capped at 0.50", "title similarity: no change"],
    }
    result.candidates = [best, candidate(SECOND, 0.75)]
    result.reason = "2 candidates are equally good"
    result.save()
    shown = page(reviewer(), REVIEW)

    assert SCRIPT not in shown
    assert "javascript:" not in shown
    for text in ("Kimex", "12.50", "REF-1", "ACME", result.code, "2 candidates are equally good", "1 of 1 left"):
        assert text in shown
    assert '<img src="https://images.example/a.jpg"' in shown
    assert shown.count('referrerpolicy="no-referrer"') == 1
    assert "<mark>rouge</mark>" in shown
    assert "<mark>&lt;b&gt;gras&lt;/b&gt;</mark>" in shown
    assert "<mark>Lampe</mark>" not in shown
    assert '<span class="pim-badge pim-bad">Autre</span>' in shown
    assert '<span class="pim-badge pim-bad">6 · ours: 1</span>' in shown
    assert re.findall(r'aria-hidden="true">(.)</span><span>(.*?)<', shown) == [
        ("+", "EAN is listed: +0.92"),
        ("–", "pack size 6 against 1: capped at 0.50"),
        ("·", "title similarity: no change"),
    ]
    assert re.findall(r'name="accept" value="(\w+)" data-key="(\d)"', shown) == [(FIRST, "1"), (SECOND, "2")]
    assert 'href="https://www.amazon.fr/dp/B000000002"' in shown


def test_accepting_gives_the_asin_and_goes_to_the_next() -> None:
    job, (first, second) = job_with("ambiguous", "ambiguous")
    client = reviewer()
    answer = client.post(f"{REVIEW}{first.pk}/decide/", {"accept": SECOND, "job": str(job.pk)})

    assert answer["Location"] == f"{REVIEW}?job={job.pk}&after={first.pk}"
    assert client.get(answer["Location"]).context["result"] == second
    first.refresh_from_db()
    assert (first.status, first.asin, first.reviewed_by) == ("matched", SECOND, "claire")
    revision = ProductRevision.objects.get()
    assert (revision.source, revision.actor, revision.new) == ("match", "claire", {"asin": SECOND})
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.get_username()) == (str(first.pk), "claire")
    assert entry.change_message == (
        f"Accepted {SECOND} for {first.code} ({first.product.name}). Shown: {FIRST} 80 %, {SECOND} 75 %."
    )


def test_rejecting_all() -> None:
    _job, (result,) = job_with("ambiguous")
    client = reviewer()
    shown = post(client, f"{REVIEW}{result.pk}/decide/", {"reject": "1"})
    assert shown[0].startswith(f"All candidates of {result.code} rejected.")
    result.refresh_from_db()
    assert (result.status, result.review, result.product.asin) == ("unmatched", "rejected", None)
    assert LogEntry.objects.get().change_message.startswith(f"Rejected all candidates for {result.code}")
    assert "Nothing is waiting for a decision." in page(client, REVIEW)


def test_another_asin_may_be_typed() -> None:
    _job, (result,) = job_with("ambiguous")
    client = reviewer()
    assert post(client, f"{REVIEW}{result.pk}/decide/", {"accept": "B0-WRONG"}) == [
        "B0-WRONG is not an ASIN: ten capital letters and digits are expected."
    ]
    assert post(client, f"{REVIEW}{result.pk}/decide/", {}) == ["Nothing was decided: name an ASIN or reject."]
    result.refresh_from_db()
    assert result.status == "ambiguous"
    assert not LogEntry.objects.exists()
    post(client, f"{REVIEW}{result.pk}/decide/", {"accept": "b0typed001"})
    result.refresh_from_db()
    assert (result.status, result.asin) == ("matched", "B0TYPED001")


def test_of_two_reviewers_the_second_learns_who_decided() -> None:
    _job, (result, other) = job_with("ambiguous", "ambiguous")
    claire, bruno = reviewer("claire"), reviewer("bruno")
    post(claire, f"{REVIEW}{result.pk}/decide/", {"accept": FIRST})

    answer = bruno.post(f"{REVIEW}{result.pk}/decide/", {"accept": SECOND}, follow=True)
    (message,) = answer.context["messages"]
    assert str(message).startswith(f"claire accepted a candidate for {result.code} on ")
    assert str(message).endswith("Your decision was not saved.")
    assert answer.context["result"] == other
    result.refresh_from_db()
    assert (result.asin, result.reviewed_by) == (FIRST, "claire")
    assert LogEntry.objects.count() == 1
    assert 'name="accept"' not in page(bruno, f"{REVIEW}{result.pk}/change/")
    assert 'name="accept"' in page(claire, f"{REVIEW}{result.pk}/change/")


def test_skipping_goes_on_and_comes_round() -> None:
    _job, made = job_with("ambiguous", "matched", "ambiguous")
    client = reviewer()
    first = client.get(REVIEW)
    assert (first.context["result"], first.context["position"], first.context["left"]) == (made[0], 1, 2)
    second = client.get(first.context["skip_page"])
    assert (second.context["result"], second.context["position"]) == (made[2], 2)
    again = client.get(second.context["skip_page"], follow=True)
    assert again.context["result"] == made[0]
    assert [str(m) for m in again.context["messages"]] == [
        "That was the end of the queue; here are the matches you skipped."
    ]


def test_filters_by_job_and_supplier() -> None:
    _one, (first,) = job_with("ambiguous")
    two, (second,) = job_with("ambiguous")
    Product.objects.filter(pk=second.product_id).update(supplier=make_supplier("ACME"))
    client = reviewer()
    assert client.get(f"{REVIEW}?job={two.pk}").context["result"] == second
    assert client.get(f"{REVIEW}?supplier=acme").context["result"] == second
    assert client.get(REVIEW).context["result"] == first
    for query in ("job=nonsense", f"job={first.pk}", "supplier=nobody", "after=x"):
        assert client.get(f"{REVIEW}?{query}").status_code == 404


def test_a_deleted_product_can_only_be_rejected() -> None:
    _job, (result,) = job_with("ambiguous")
    Product.objects.filter(pk=result.product_id).update(deleted_at="2026-01-01T00:00Z")
    client = reviewer()
    assert "This product is deleted: reject." in page(client, REVIEW)
    assert post(client, f"{REVIEW}{result.pk}/decide/", {"accept": FIRST}) == [
        f"The product of {result.code} is deleted.",
        "That was the end of the queue; here are the matches you skipped.",
    ]
    post(client, f"{REVIEW}{result.pk}/decide/", {"reject": "1"})
    result.refresh_from_db()
    assert result.review == "rejected"
