"""The OpenAPI document says what every endpoint shares."""

from __future__ import annotations

from drf_spectacular.generators import SchemaGenerator

from tests.edge import addresses


def test_operations_say_how_they_refuse_and_page() -> None:
    generator = SchemaGenerator(patterns=addresses.urlpatterns)  # type: ignore[no-untyped-call]
    document = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    deeds = document["paths"]["/api/deeds"]["post"]
    header = next(p for p in deeds["parameters"] if p["name"] == "Idempotency-Key")
    assert (header["in"], header["required"]) == ("header", True)
    refused = deeds["responses"]["default"]["content"]["application/problem+json"]
    assert refused["schema"] == {"$ref": "#/components/schemas/Problem"}
    events = document["paths"]["/api/events"]["get"]
    assert {p["name"] for p in events["parameters"]} == {"cursor", "limit"}
    page = events["responses"]["200"]["content"]["application/json"]["schema"]
    name = page["$ref"].rsplit("/", 1)[1]
    assert set(document["components"]["schemas"][name]["properties"]) == {"results", "next"}
