"""A column as either engine's catalogue has it, and a statement with its parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

Statement = tuple[str, Sequence[object]]


@dataclass(frozen=True)
class Column:
    """Of a table or view; names in lower case."""

    schema: str
    table: str
    name: str
    data_type: str  # the engine's word in lower case, without precision and scale
    precision: int | None
    scale: int | None
    is_required: bool  # no row can be inserted without it: it may not be NULL, and has no default
