"""The bodies that routes take, told where the route is, and as JSON Schema for its description.

@router.post("/users", response_model=None, status_code=201, openapi_extra=takes(SignUp))
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

REFERENCE: Final = "#/components/schemas/{name}"

_taken: dict[str, type[msgspec.Struct]] = {}


def takes(shape: type[msgspec.Struct], *, session: bool = True) -> dict[str, Any]:
    """What a route says of its body; without `session` of itself as well: that anybody may ask it."""
    _taken[shape.__name__] = shape
    schema = {"$ref": REFERENCE.format(name=shape.__name__)}
    said: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return said if session else said | {"security": []}


def schemas(*more: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of every body that a route takes, and of those."""
    _, found = msgspec.json.schema_components((*_taken.values(), *more), ref_template=REFERENCE)
    portable: dict[str, Any] = _portable(found)
    return portable


def _portable(schema: Any) -> Any:
    r"""The same with patterns as JSON Schema has them: JavaScript's, where the end of a text is no `\Z`."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" and isinstance(value, str) else _portable(value)
            for key, value in schema.items()
        }
    return [_portable(one) for one in schema] if isinstance(schema, list) else schema
