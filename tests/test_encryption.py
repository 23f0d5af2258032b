"""Encrypted fields: what is stored, which keys open it, how keys are changed, and that failures are loud."""

import io
import stat

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection

from pim import fields
from pim.webhooks.models import WebhookEndpoint

OLD, NEW = "old-key-" + "o" * 24, "new-key-" + "n" * 24
CANARY = "whsec_canary"


@pytest.fixture(autouse=True)
def _keys_are_read_anew():
    fields.keys.cache_clear()
    yield
    fields.keys.cache_clear()


@pytest.fixture
def use(monkeypatch, settings, tmp_path):
    settings.DATA_DIR = tmp_path

    def set_keys(*texts: str) -> None:
        monkeypatch.setenv("PIM_ENCRYPTION_KEYS", ",".join(texts))
        fields.keys.cache_clear()

    return set_keys


def stored() -> list[tuple[str, str | None]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret, previous_secret FROM webhooks_webhookendpoint ORDER BY created_at, id")
        return cursor.fetchall()


def make(**values) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(**{"url": "https://8.8.8.8/", "secret": CANARY} | values)


@pytest.mark.django_db
def test_the_database_holds_a_marked_ciphertext_and_the_model_the_text(use):
    use(NEW)
    endpoint = make()
    make()
    (first, none), (second, _) = stored()
    key_id = next(iter(fields.keys()))
    assert first.startswith(f"fernet:{key_id}:gAAAA")
    assert first != second
    assert none is None
    assert CANARY not in first
    endpoint.refresh_from_db()
    assert (endpoint.secret, endpoint.previous_secret) == (CANARY, None)


@pytest.mark.django_db
def test_a_dump_holds_no_text_and_can_be_loaded(use):
    use(NEW)
    endpoint = make()
    dump = serializers.serialize("json", [endpoint])
    assert CANARY not in dump
    endpoint.delete()
    for restored in serializers.deserialize("json", dump):
        restored.save()
    assert WebhookEndpoint.objects.get().secret == CANARY


@pytest.mark.django_db
def test_it_cannot_be_searched(use):
    use(NEW)
    make()
    assert WebhookEndpoint.objects.filter(previous_secret__isnull=True).count() == 1
    for lookup in ("secret", "secret__startswith", "secret__in"):
        with pytest.raises(FieldError):
            WebhookEndpoint.objects.filter(**{lookup: [CANARY] if lookup.endswith("in") else CANARY})


@pytest.mark.django_db
def test_the_first_key_encrypts_and_every_key_decrypts(use):
    use(OLD)
    endpoint = make()
    old_id = next(iter(fields.keys()))
    use(NEW, OLD)
    endpoint.refresh_from_db()
    assert endpoint.secret == CANARY
    assert not fields.encrypt("x").startswith(f"fernet:{old_id}:")
    use(NEW)
    with pytest.raises(fields.DecryptionError, match=f"key {old_id}, which PIM_ENCRYPTION_KEYS lacks"):
        endpoint.refresh_from_db()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-4], "altered or cut short"),
        (lambda text: text[:-10] + ("A" if text[-10] != "A" else "B") + text[-9:], "altered or cut short"),
        (lambda text: "hunter2", "not encrypted"),
        (lambda text: "", "not encrypted"),
    ],
    ids=["cut", "altered", "plain", "empty"],
)
def test_what_is_not_intact_is_an_error_that_shows_nothing(use, damage, message):
    use(NEW)
    make()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE webhooks_webhookendpoint SET secret = %s", [damage(stored()[0][0])])
    with pytest.raises(fields.DecryptionError, match=message) as error:
        WebhookEndpoint.objects.get()
    assert "hunter2" not in str(error.value)


def test_without_keys_one_is_generated_and_goes_on_decrypting_after_keys_are_configured(use, monkeypatch, tmp_path):
    use()
    text = fields.encrypt(CANARY)
    path = tmp_path / "secrets" / "encryption_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fields.keys.cache_clear()
    assert fields.decrypt(text) == CANARY
    use(NEW)
    assert fields.decrypt(text) == CANARY
    assert fields.encrypt("x").split(":")[1] != text.split(":")[1]
    path.unlink()
    use(NEW)
    with pytest.raises(fields.DecryptionError):
        fields.decrypt(text)
    assert not path.exists()


@pytest.mark.parametrize("keys", [["short"], [NEW, ""], [NEW, "hunter2"]])
def test_a_key_that_cannot_be_one_stops_the_start_and_is_not_shown(use, keys):
    use(*keys)
    with pytest.raises(ImproperlyConfigured, match="PIM_ENCRYPTION_KEYS") as error:
        fields.keys()
    assert not any(key in str(error.value) for key in keys if key)


def test_derived_secrets_differ_by_purpose_and_key_and_come_back(use):
    use(NEW, OLD)
    both = fields.derive("a")
    assert len({*both, *fields.derive("b")}) == 4
    assert {len(one) for one in both} == {32}
    use(OLD)
    assert fields.derive("a") == both[1:]


@pytest.mark.django_db
def test_rotation_encrypts_anew_what_is_not_under_the_first_key(use):
    use(OLD)
    make(previous_secret="whsec_before")
    use(NEW, OLD)
    make()
    untouched = stored()[1]
    out = io.StringIO()
    call_command("rotate_encryption", stdout=out)
    assert [line for line in out.getvalue().splitlines() if line.startswith("webhooks.")] == [
        "webhooks.WebhookEndpoint.secret: 1 encrypted anew",
        "webhooks.WebhookEndpoint.previous_secret: 1 encrypted anew",
    ]
    assert stored()[1] == untouched
    use(NEW)
    assert [(one.secret, one.previous_secret) for one in WebhookEndpoint.objects.order_by("created_at", "id")] == [
        (CANARY, "whsec_before"),
        (CANARY, None),
    ]
    out = io.StringIO()
    call_command("rotate_encryption", stdout=out)
    assert {line.split(": ")[1] for line in out.getvalue().splitlines()} == {"0 encrypted anew"}


@pytest.mark.django_db
def test_rotation_stops_at_a_value_that_it_cannot_read(use):
    use(OLD)
    endpoint = make()
    before = stored()
    use(NEW)
    with pytest.raises(CommandError, match=str(endpoint.pk)):
        call_command("rotate_encryption", stdout=io.StringIO())
    assert stored() == before
