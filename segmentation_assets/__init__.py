"""Monthly customer segmentation as a Dagster asset graph over a dbt project."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation_assets.component import SegmentationComponent

__all__ = ["SegmentationComponent"]


# Dagster looks for components among the names of this module. Imported only then: a command's help needs no Dagster.
def __getattr__(name: str) -> Any:
    if name != "SegmentationComponent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from segmentation_assets.component import SegmentationComponent

    return SegmentationComponent


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
