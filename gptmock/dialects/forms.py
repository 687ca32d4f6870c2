"""A multipart form as the HTTP layer hands it to a dialect. Knows neither how it was sent nor any field by name."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FormFile:
    """One file of a form."""

    name: str
    """Of the field; several files may share one."""
    filename: str
    content_type: str
    """As the client says; nobody has looked at the data."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form, in the order in which each name came first."""

    fields: tuple[tuple[str, str], ...] = ()
    """Name and text; several fields may share a name."""
    files: tuple[FormFile, ...] = ()
