"""Portfolio: what its definitions are called in a Dagster instance that may hold others, and by what its runs are told.

Names that another project could have too (an asset job called `what_if`, a resource called `warehouse`) say whose they
are. A key prefix goes in front of all of them, and of every asset key, so that two portfolios fit into one instance.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import dagster as dg

from segmentation_assets.dagster_home.key_values import Notes
from segmentation_assets.errors import SettingsError
from segmentation_assets.settings import Settings

# On every run of the portfolio's jobs: whose tables it writes.
PORTFOLIO = "segmentation/portfolio"
OURS = "segmentation"
# Of a part of a prefix: it is also a part of the names of ops and jobs.
_PART = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Portfolio:
    # The same for every process that writes the same tables, a command line's too.
    identity: str
    key_prefix: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, key_prefix: str | Sequence[str] = ()) -> Self:
        """A prefix is a list, or a text with a slash between its parts. Raises SettingsError."""
        parts = tuple(part for part in key_prefix.split("/") if part) if isinstance(key_prefix, str) else key_prefix
        wrong = [part for part in parts if not _PART.fullmatch(part)]
        if wrong:
            raise SettingsError(
                f"key_prefix has {', '.join(map(repr, wrong))}; its parts have letters, digits and _ of ASCII alone."
            )
        digest = hashlib.sha256("\0".join(settings.place).encode()).hexdigest()
        return cls(digest[:12], tuple(parts))

    def name(self, plain: str) -> str:
        """Of a job, schedule, sensor, op, pool or resource."""
        return "_".join(["__".join(self.key_prefix), plain]) if self.key_prefix else plain

    def key(self, *path: str) -> dg.AssetKey:
        return dg.AssetKey([*self.key_prefix, *path])

    @property
    def tags(self) -> dict[str, str]:
        return {PORTFOLIO: self.identity}

    @property
    def pool(self) -> str:
        return self.resource_key("warehouse")

    def resource_key(self, resource: str) -> str:
        return self.name(f"{OURS}_{resource}")

    def resource_keys(self, *resources: str) -> set[str]:
        return {self.resource_key(resource) for resource in resources}

    def resource(
        self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext, resource: str
    ) -> Any:
        step = context.op_execution_context if isinstance(context, dg.AssetCheckExecutionContext) else context
        return getattr(step.resources, self.resource_key(resource))

    def notes(self, instance: dg.DagsterInstance) -> Notes:
        return Notes(instance, self.identity, continues=not self.key_prefix)
