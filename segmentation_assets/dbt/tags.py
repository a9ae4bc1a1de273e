"""The tags of every asset: where in the flow its table lies, and whether it holds personal data.

In the UI `tag:personal_data=contact-details` lists what holds somebody's name or address.
"""

import re
from collections.abc import Mapping

from segmentation_assets.dbt import personal_data
from segmentation_assets.dbt.personal_data import PERSONAL_DATA, Column

LAYER = "layer"


def tags(layer: str, columns: Mapping[str, Column]) -> dict[str, str]:
    # A schema may have any name, a tag of Dagster letters of ASCII only.
    return {LAYER: re.sub(r"[^A-Za-z0-9_.-]", "-", layer)[:63], PERSONAL_DATA: personal_data.of_table(columns)}
