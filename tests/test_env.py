"""Settings from the environment: what is given is honoured, what is wrong is named."""

import threading
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from pim.env import env, env_bool, env_choice, env_int, env_list, generated_secret


def test_a_value_comes_from_the_name_or_from_the_file_it_points_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert env("PIM_X") is None
    assert env("PIM_X", "default") == "default"
    monkeypatch.setenv("PIM_X", "")
    assert env("PIM_X", "default") == "default"
    (tmp_path / "x").write_text("from file \n")
    monkeypatch.setenv("PIM_X_FILE", str(tmp_path / "x"))
    assert env("PIM_X") == "from file "
    monkeypatch.setenv("PIM_X", "given")
    with pytest.raises(ImproperlyConfigured, match="PIM_X and PIM_X_FILE are both set"):
        env("PIM_X")


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["absent", "empty", "blank line"])
def test_a_secret_file_without_a_secret_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("PIM_X_FILE", str(path))
    with pytest.raises(ImproperlyConfigured, match=rf"PIM_X_FILE='{path}' (cannot be read|is empty)"):
        env("PIM_X", "default")


def test_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env_int("PIM_X", 7) == 7
    assert env_bool("PIM_X", True) is True
    assert env_list("PIM_X", ("a",)) == ["a"]
    monkeypatch.setenv("PIM_X", "12")
    assert env_int("PIM_X", 7, minimum=12, maximum=12) == 12
    monkeypatch.setenv("PIM_X", "On")
    assert env_bool("PIM_X", False) is True
    monkeypatch.setenv("PIM_X", "no")
    assert env_bool("PIM_X", True) is False
    monkeypatch.setenv("PIM_X", "10.0.0.0/8, example.com")
    assert env_list("PIM_X") == ["10.0.0.0/8", "example.com"]
    monkeypatch.setenv("PIM_X", "warn")
    assert env_choice("PIM_X", "off", choices=("off", "warn")) == "warn"


def test_bad_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIM_X", "1.5")
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='1.5' is not a whole number"):
        env_int("PIM_X", 7)
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='1.5' is not one of 1, true"):
        env_bool("PIM_X", False)
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='1.5' is not one of off, warn"):
        env_choice("PIM_X", "off", choices=("off", "warn"))
    monkeypatch.setenv("PIM_X", "0")
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='0' is below the minimum of 1"):
        env_int("PIM_X", 7, minimum=1)
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='0' is above the maximum of -1"):
        env_int("PIM_X", 7, maximum=-1)
    monkeypatch.setenv("PIM_X", "a,,b")
    with pytest.raises(ImproperlyConfigured, match=r"PIM_X='a,,b' has an empty item"):
        env_list("PIM_X")


def test_a_generated_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(generated_secret(tmp_path, "key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert set(results) == {generated_secret(tmp_path, "key")}
    assert len(results[0]) == 44
    assert generated_secret(tmp_path, "other") != results[0]
    secrets = tmp_path / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in secrets.iterdir()) == ["key", "other"]
    assert (secrets / "key").stat().st_mode & 0o777 == 0o600
    (secrets / "key").write_text("")
    with pytest.raises(ImproperlyConfigured, match=r"secrets/key is empty"):
        generated_secret(tmp_path, "key")
