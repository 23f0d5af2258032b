"""Settings from the environment: every name may also be given as NAME_FILE, and bad input fails with name and value."""

import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def env(name: str, default: str | None = None) -> str | None:
    """The value of NAME, else the content of the file NAME_FILE (trailing newline removed), else `default`.

    An empty value counts as absent, because compose files and unit files cannot leave a name out.
    Raises ImproperlyConfigured when both are given or the file cannot be read.
    """
    value = os.environ.get(name) or None
    path = os.environ.get(f"{name}_FILE") or None
    if path is None:
        return default if value is None else value
    if value is not None:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; keep one of them.")
    try:
        content = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE={path!r} cannot be read: {error}.") from error
    if not content:
        raise ImproperlyConfigured(f"{name}_FILE={path!r} is empty.")
    return content


def env_int(name: str, default: int, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """NAME as a whole number within the bounds, both included."""
    value = env(name)
    if value is None:
        return default
    try:
        number = int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from error
    if minimum is not None and number < minimum:
        raise ImproperlyConfigured(f"{name}={value!r} is below the minimum of {minimum}.")
    if maximum is not None and number > maximum:
        raise ImproperlyConfigured(f"{name}={value!r} is above the maximum of {maximum}.")
    return number


def env_bool(name: str, default: bool) -> bool:
    """NAME as 1/true/yes/on or 0/false/no/off, in any case."""
    value = env(name)
    if value is None:
        return default
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not one of 1, true, yes, on, 0, false, no, off.")


def env_choice(name: str, default: str, *, choices: tuple[str, ...]) -> str:
    """NAME as one of `choices`."""
    value = env(name, default)
    assert value is not None
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value!r} is not one of {', '.join(choices)}.")
    return value


def env_list(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """NAME split at commas, blanks around the items removed; an empty item is an error."""
    value = env(name)
    if value is None:
        return list(default)
    items = [item.strip() for item in value.split(",")]
    if not all(items):
        raise ImproperlyConfigured(f"{name}={value!r} has an empty item; separate the items with single commas.")
    return items


def generated_secret(data_dir: Path, name: str) -> str:
    """The secret `name` kept in `data_dir`/secrets (0600); made on first use, once however many ask at a time."""
    path = data_dir / "secrets" / name
    if path.exists():
        return _stored_secret(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.")  # mkstemp creates with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            # 32 random bytes in URL-safe base64 with padding: a Fernet key as well as a Django secret key
            file.write(_urlsafe_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when another process was first, unlike rename
        except FileExistsError:
            pass
    finally:
        Path(draft).unlink()
    return _stored_secret(path)


def _urlsafe_key() -> str:
    return secrets.token_urlsafe(32) + "="


def _stored_secret(path: Path) -> str:
    secret = path.read_text(encoding="ascii").strip()
    if not secret:
        raise ImproperlyConfigured(f"The secret file {path} is empty; restore it, or remove it if nothing needs it.")
    return secret
