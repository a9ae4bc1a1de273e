"""The star schema as five data frames: what tests put into a warehouse and what the oracle reads.

Only the source contract lives here. What makes a portfolio hard is in `portfolios`, what its
segments should be is in `oracle`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd

# Table -> column -> DuckDB type, in the order of the source contract.
CONTRACT: dict[str, dict[str, str]] = {
    "fct_transactions": {
        "transaction_key": "BIGINT",
        "customer_key": "BIGINT",
        "merchant_category_key": "INTEGER",
        "transaction_date": "DATE",
        "transaction_amount": "DECIMAL(12,2)",
        "transaction_status": "VARCHAR",
    },
    "dim_customer": {
        "customer_key": "BIGINT",
        "customer_id": "VARCHAR",
        "first_name": "VARCHAR",
        "last_name": "VARCHAR",
        "email": "VARCHAR",
        "valid_from": "DATE",
        "valid_to": "DATE",
        "is_current": "BOOLEAN",
    },
    "dim_merchant_category": {"category_key": "INTEGER", "category_name": "VARCHAR"},
    "dim_date": {"date_key": "INTEGER", "full_date": "DATE"},
    "marketing_suppressions": {"customer_id": "VARCHAR", "reason": "VARCHAR", "suppressed_at": "DATE"},
}

# Nullable integers for every INTEGER: merchant_category_key may be NULL. Seconds for dates: the
# nanosecond default of older pandas cannot hold 9999-12-31, the usual "open" date of other systems.
_PANDAS_TYPES = {
    "BIGINT": "int64",
    "INTEGER": "Int32",
    "DATE": "datetime64[s]",
    "DECIMAL(12,2)": "object",
    "VARCHAR": "str",
    "BOOLEAN": "bool",
}


@dataclass(frozen=True, eq=False)
class Portfolio:
    """One star schema. Dates may be given as `date` or datetime64; they are kept as datetime64[s].

    transaction_amount holds `decimal.Decimal` with at most four places; a NULL valid_to is an open version.
    Raises ValueError when a frame lacks a contract column or an amount is finer than ten-thousandths.
    """

    fct_transactions: pd.DataFrame
    dim_customer: pd.DataFrame
    dim_merchant_category: pd.DataFrame
    dim_date: pd.DataFrame
    marketing_suppressions: pd.DataFrame

    def __post_init__(self) -> None:
        for table, columns in CONTRACT.items():
            frame: pd.DataFrame = getattr(self, table)
            missing = [column for column in columns if column not in frame.columns]
            if missing:
                raise ValueError(f"{table} lacks {', '.join(missing)}")
            typed = {column: _typed(frame[column], kind) for column, kind in columns.items()}
            object.__setattr__(self, table, pd.DataFrame(typed).reset_index(drop=True))

    def load(self, connection: duckdb.DuckDBPyConnection, schema: str = "gold") -> None:
        """Create the five tables in `schema`, replacing what was there."""
        connection.execute(f'create schema if not exists "{schema}"')
        for table, columns in CONTRACT.items():
            frame: pd.DataFrame = getattr(self, table)
            if table == "fct_transactions":
                # Whole numbers: DuckDB guesses the width of a Decimal column from a sample of its rows.
                amounts = units(frame["transaction_amount"])
                frame = frame.assign(transaction_amount=amounts)
                if (amounts % 100 != 0).any():
                    columns = columns | {"transaction_amount": "DECIMAL(18,4)"}
            connection.register("portfolio_frame", frame)
            select = ", ".join(_stored(column, kind) for column, kind in columns.items())
            connection.execute(f'create or replace table "{schema}".{table} as select {select} from portfolio_frame')
            connection.unregister("portfolio_frame")

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, schema: str = "gold") -> Portfolio:
        """The five tables of `schema`; columns beyond the contract are left behind."""
        frames: dict[str, pd.DataFrame] = {}
        for table, columns in CONTRACT.items():
            select = ", ".join(_fetched(column, kind) for column, kind in columns.items())
            frame = connection.execute(f'select {select} from "{schema}".{table}').df()
            if table == "fct_transactions":
                frame["transaction_amount"] = pd.Series(
                    [Decimal(int(amount)).scaleb(-4) for amount in frame["transaction_amount"]], dtype="object"
                )
            frames[table] = frame
        return cls(**frames)


def units(amounts: Iterable[Decimal]) -> np.ndarray:
    """Amounts as int64 ten-thousandths. Raises ValueError for a finer one."""
    scaled = [amount * 10_000 for amount in amounts]
    whole = [int(amount) for amount in scaled]
    if whole != scaled:
        wrong = next(amount for amount, rounded in zip(scaled, whole, strict=True) if amount != rounded)
        raise ValueError(f"not a whole number of ten-thousandths: {wrong / 10_000}")
    return np.array(whole, dtype=np.int64)


def dollars(amounts: Iterable[int]) -> pd.Series:
    """Whole cents as Decimals with two places."""
    return pd.Series([Decimal(int(amount)).scaleb(-2) for amount in amounts], dtype="object")


def _typed(values: pd.Series, kind: str) -> pd.Series:
    if kind == "DATE":
        return pd.to_datetime(values).astype("datetime64[s]")
    return values.astype(_PANDAS_TYPES[kind])


def _stored(column: str, kind: str) -> str:
    if kind.startswith("DECIMAL"):
        return f"cast(cast({column} as bigint) * cast(0.0001 as decimal(5,4)) as {kind}) as {column}"
    return f"cast({column} as {kind}) as {column}"


def _fetched(column: str, kind: str) -> str:
    if kind == "DECIMAL(12,2)":
        # Ten-thousandths, because a data frame made by DuckDB turns DECIMAL into a float.
        return f"cast(cast({column} as decimal(38,4)) * 10000 as bigint) as {column}"
    return f"cast({column} as {kind}) as {column}"
