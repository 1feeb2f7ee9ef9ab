"""A form as a browser sends it, and its fields, each checked as it is taken out."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from fastapi import Request

from system.errors import Invalid

KIND = "application/x-www-form-urlencoded"
FIELDS = 50


class Form:
    """The fields of a form. What is taken out of it is what its caller asked for, or Invalid is raised."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str, most: int) -> str:
        """The field, empty when it was left out. Raises Invalid unless it is one line of `most` characters at most."""
        given = next((value for field, value in self._fields if field == name), "")
        if len(given) > most or any(ord(character) < 32 for character in given):
            raise Invalid("form-invalid", f"The field {name} takes one line of {most} characters at most.")
        return given

    def whole(self, name: str, least: int, most: int) -> int:
        """The field as a number. Raises Invalid."""
        given = self.text(name, 20)
        if not given.isascii() or not given.isdigit() or not least <= int(given) <= most:
            raise Invalid("form-invalid", f"The field {name} takes a number from {least} to {most}.")
        return int(given)

    def several(self, name: str, among: Collection[str]) -> list[str]:
        """Every value of the field, at least one. Raises Invalid for one that is not among them."""
        given = {value for field, value in self._fields if field == name}
        if not given or not given <= set(among):
            raise Invalid("form-invalid", f"Choose at least one of {', '.join(among)}.")
        return [value for value in among if value in given]


async def form(request: Request) -> Form:
    """The form in the request's body. Raises Invalid when it holds none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != KIND:
        raise Invalid("form-invalid", f"This takes a form: send it as {KIND}.")
    try:
        text = (await request.body()).decode("utf-8")
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except ValueError as error:
        raise Invalid("form-invalid", "The form cannot be read.") from error
