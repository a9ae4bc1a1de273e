"""The columns of the star schema that this pipeline reads: of what kind each is, and what holds where a mapping leaves
it out. What each means is said in dbt_models/models/staging/sources.yml."""

from typing import Literal, NamedTuple

INTEGER = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "NUMBER", "FIXED")
TEXT = ("VARCHAR", "TEXT", "STRING", "CHAR")
# A time zone would make the day of a transaction depend on the session.
DAY = ("DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
MONEY = ("DECIMAL", "NUMBER", "NUMERIC", *INTEGER)
BOOLEAN = ("BOOLEAN",)
KEY = (*INTEGER, *TEXT)

WORDS = {
    KEY: "a whole number or text",
    INTEGER: "a whole number",
    TEXT: "text",
    DAY: "DATE or a TIMESTAMP without time zone",
    MONEY: "DECIMAL",
    BOOLEAN: "BOOLEAN",
}

Kind = Literal["key", "customer_key", "text", "day", "money", "flag"]


class Column(NamedTuple):
    """`kinds` are the types of a table that is as the contract has it; a mapping may give any that `kind` can be made
    of. `left_out` is the SQL that stands for a column which a mapping does not name, None where it has to; `without`
    says in words what that means. One that `may_be_absent` need not be in a table that is as the contract has it."""

    kinds: tuple[str, ...]
    kind: Kind
    left_out: str | None = None
    without: str = ""
    may_be_absent: bool = False


NO_TEXT, NO_DAY = "cast(null as varchar)", "cast(null as date)"
APPROVED = "the first of approved_statuses"  # a word for it: its SQL is made of the rules

COLUMNS: dict[str, dict[str, Column]] = {
    "fct_transactions": {
        "transaction_key": Column(KEY, "key"),
        "customer_key": Column(INTEGER, "customer_key"),
        "merchant_category_key": Column(
            KEY, "key", NO_TEXT, "no fact has a category: every share of a category group is 0"
        ),
        "transaction_date": Column(DAY, "day"),
        "transaction_amount": Column(MONEY, "money"),
        "transaction_status": Column(TEXT, "text", APPROVED, "every fact counts as approved"),
    },
    "dim_customer": {
        "customer_key": Column(INTEGER, "customer_key"),  # published as a whole number
        "customer_id": Column(TEXT, "text"),
        "first_name": Column(TEXT, "text", NO_TEXT, "lists and files have no given names"),
        "last_name": Column(TEXT, "text", NO_TEXT, "lists and files have no family names"),
        "email": Column(TEXT, "text", NO_TEXT, "nobody can be reached by e-mail: lists of that channel are empty"),
        "valid_from": Column(DAY, "day", "cast('1900-01-01' as date)", "everybody is a customer in every month"),
        "valid_to": Column(DAY, "day", NO_DAY, "nobody ceases to be a customer"),
        "is_current": Column(BOOLEAN, "flag", "true", "the version that began last has the address"),
    },
    "dim_merchant_category": {"category_key": Column(KEY, "key"), "category_name": Column(TEXT, "text")},
    "dim_date": {
        "date_key": Column(KEY, "key", "cast(null as integer)", "nothing: it is not read"),
        "full_date": Column(DAY, "day"),
    },
    "marketing_suppressions": {
        "customer_id": Column(TEXT, "text"),
        "reason": Column(TEXT, "text", NO_TEXT, "no reason is shown"),
        "suppressed_at": Column(DAY, "day", NO_DAY, "nothing: an objection holds whatever its date"),
        "campaign": Column(TEXT, "text", NO_TEXT, "every objection is to every campaign", True),
        "channel": Column(TEXT, "text", NO_TEXT, "every objection is to every channel", True),
        "expires_at": Column(DAY, "day", NO_DAY, "every objection holds for ever", True),
    },
    "contact_history": {
        "customer_id": Column(
            TEXT, "text", NO_TEXT, "email says who was contacted; one of the two has to be there", True
        ),
        "email": Column(TEXT, "text", NO_TEXT, "a contact was made at the address that the customer has now", True),
        "contacted_at": Column(DAY, "day"),
        "channel": Column(TEXT, "text", NO_TEXT, "a contact reached everybody at the address", True),
        "campaign": Column(TEXT, "text", NO_TEXT, "the waterfall says `contact_history` took the turn", True),
    },
    "campaign_eligibility": {
        "customer_id": Column(TEXT, "text"),
        "campaign": Column(TEXT, "text", NO_TEXT, "a customer in it gets no offer at all", True),
        "reason": Column(TEXT, "text", NO_TEXT, "no reason is shown", True),
    },
}
CONTRACT = {table: {column: said.kinds for column, said in columns.items()} for table, columns in COLUMNS.items()}
OPTIONAL = {"marketing_suppressions", "contact_history", "campaign_eligibility"}
# Of these columns a table needs one.
ONE_OF = {"contact_history": ("customer_id", "email")}
# A table that may be said in a word instead of where it is.
GENERATED, IN_FACTS, NONE = "generated", "in_facts", "none"
WORDS_FOR_TABLES = {"dim_date": (GENERATED,), "dim_merchant_category": (IN_FACTS, NONE)}
SAID_IN_A_WORD = (GENERATED, IN_FACTS, NONE)
# What a demo makes: what other systems sent, and whom they say no offer of, a company has to have.
DEMO_TABLES = tuple(table for table in COLUMNS if table not in ("contact_history", "campaign_eligibility"))
