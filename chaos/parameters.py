"""A fault's parameters: their types with bounds, what they mean, and reading them from what a person typed."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from chaos.errors import UsageError

Seed = Annotated[int, Meta(description="Repeats every random choice.")]
Seconds = Annotated[float, Meta(gt=0, le=86_400, description="How long it lasts at most.")]
Rate = Annotated[float, Meta(gt=0, le=1, description="The share of operations that fail.")]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Companion = Annotated[
    Literal["scheduler", "object-store", "postgres"], Meta(description="Which process beside the service.")
]
PutItBack = Annotated[bool, Meta(description="Put the originals back on leaving, instead of leaving it to a restore.")]

F = TypeVar("F")


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, its type and its default as people write them, and what it means."""

    name: str
    type: str
    default: str
    description: str


def describe(kind: type[Any]) -> tuple[Parameter, ...]:
    """The parameters of that kind of fault, in order."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        Parameter(field.name, _type_name(hints[field.name]), _written(field.default), _description(hints[field.name]))
        for field in dataclasses.fields(kind)
    )


def build(kind: type[F], name: str, given: Mapping[str, Any]) -> F:
    """The fault with these parameters; text is read as the type asked for.

    Raises UsageError, saying which parameter of the fault `name` is wrong and how.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}."
            raise UsageError(f"{name} has no parameter {key}; {hint}")
        values[key] = _read(value, hints[key]) if isinstance(value, str) else value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise UsageError(f"{name}: {where.rstrip('`') or 'a parameter'} is wrong: {what}.") from error


def _read(text: str, hint: Any) -> Any:
    """What a person typed, as far as the conversion does not understand it: `none`, and lists with commas."""
    parts = get_args(hint)
    if type(None) in parts and text == "none":
        return None
    if any(get_origin(part) is tuple for part in (hint, *parts)):
        return [part.strip() for part in text.split(",")]
    return text


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _type_name(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " | ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"{_type_name(get_args(hint)[0])},..."
    if parts := get_args(hint):
        return " | ".join(_type_name(part) for part in parts)
    return "none" if hint is type(None) else str(hint.__name__)


def _written(default: Any) -> str:
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)


def _description(hint: Any) -> str:
    metas = [meta for meta in get_args(hint) if isinstance(meta, Meta) and meta.description]
    return str(metas[-1].description) if metas else ""
