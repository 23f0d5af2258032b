"""Generated requests against the published schema: never a server error, and every answer as the schema says."""

import os
from collections.abc import Iterator

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from pim.apikeys.keys import create_key
from pim.apikeys.models import Scope
from pim.wsgi import application

EXAMPLES = int(os.environ.get("PIM_TEST_SCHEMA_EXAMPLES", "25"))  # for each operation and mode
# What is right here and a schema cannot say: codes with their rules, parameters that exclude each other (refused
# although each is valid), unknown fields (accepted, and named in `warnings`).
BEYOND_A_SCHEMA = [positive_data_acceptance, negative_data_rejection]
OPERATIONS = sorted(
    (path, method.upper())
    for path, operations in SchemaGenerator().get_schema(public=True)["paths"].items()
    for method in operations
    if method in ("get", "post", "put", "patch", "delete")
)


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """The requests run in the test's own transaction, as with Django's test client."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.mark.timeout(300)
@pytest.mark.django_db
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: part)
def test_an_operation_keeps_to_the_schema(path: str, method: str, mode: GenerationMode) -> None:
    _key, secret = create_key(name="schema", scopes=Scope.values, created_by="tests")
    operation = schemathesis.openapi.from_wsgi("/api/v1/schema?format=json", application)[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {secret}"}, excluded_checks=BEYOND_A_SCHEMA)

    check()
