"""Settings: every environment variable that the product reads, typed and checked, and the only reader of them."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from segmentation_assets.errors import SettingsError

Target = Literal["duckdb", "snowflake"]
Source = Literal["synthetic", "completejourney", "warehouse"]
TARGETS: tuple[Target, ...] = ("duckdb", "snowflake")
SOURCES: tuple[Source, ...] = ("synthetic", "completejourney", "warehouse")
DEFAULT_FILES: dict[Source, str] = {
    "synthetic": "segmentation.duckdb",
    "completejourney": "completejourney.duckdb",
    "warehouse": "warehouse.duckdb",
}

# How to sign in to Snowflake: with a password, a key pair, a token of either kind, or as what this runs as.
AUTHENTICATORS = ("snowflake", "snowflake_jwt", "oauth", "programmatic_access_token", "workload_identity")
WORKLOAD_IDENTITY_PROVIDERS = ("AWS", "AZURE", "GCP", "OIDC")
# The connector's names, in an entry of connections.toml, of what it and dbt call otherwise.
_CONNECTION_KEYS = {
    "private_key_file": "private_key_path",
    "private_key_file_pwd": "private_key_password",
    "private_key_passphrase": "private_key_password",
}
_SECRETS = ("private_key_path", "private_key", "password", "token", "token_file_path")

ENV_FILE = ".env"
_SECRET_NAMES = re.compile(r"PASSWORD|PASSPHRASE|SECRET|TOKEN(?!_FILE)|API_?KEY|ALERT_URLS", re.IGNORECASE)
_KEY_NAMES = re.compile(r"PRIVATE_KEY(?!_PATH|_FILE)", re.IGNORECASE)
# A line of a key in PEM, not the words around it.
_KEY_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}")
# scheme://user:password@host; the password may hold / and @.
_LOGIN = re.compile(r"://[^\s:/@]*:(?P<password>\S+)@")
# A name and a colon with no // or : behind it: an address with a slash forgotten, not a folder.
_HALF_AN_ADDRESS = re.compile(r"(?P<beginning>[A-Za-z][A-Za-z0-9+.-]+:/?)(?![/:])")
# A partition per month: before it no card was issued, after it the arithmetic of windows leaves the calendar.
_YEARS = range(1900, 2200)
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
# A name that needs no quotes; which words are reserved besides differs by engine.
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What may stand in a name between double quotes without standing for something else to dbt, DuckDB or a shell.
_QUOTED_NAME = re.compile(r"\w(?:[\w -]*\w)?")
# Snowflake's reserved words that could be meant as a name.
_SNOWFLAKE_RESERVED = frozenset((
    "account", "all", "alter", "and", "any", "as", "between", "by", "case", "cast", "check", "column", "connect",
    "connection", "constraint", "create", "cross", "current", "current_date", "current_time", "current_timestamp",
    "current_user", "database", "delete", "distinct", "drop", "else", "exists", "false", "following", "for", "from",
    "full", "grant", "group", "gscluster", "having", "ilike", "in", "increment", "inner", "insert", "intersect",
    "into", "is", "issue", "join", "lateral", "left", "like", "localtime", "localtimestamp", "minus", "natural",
    "not", "null", "of", "on", "or", "order", "organization", "qualify", "regexp", "revoke", "right", "rlike",
    "row", "rows", "sample", "schema", "select", "set", "some", "start", "table", "tablesample", "then", "to",
    "trigger", "true", "try_cast", "union", "unique", "update", "using", "values", "view", "when", "whenever",
    "where", "with",
))  # fmt: skip
# DuckDB's, less those that are Snowflake's too.
_DUCKDB_RESERVED = frozenset((
    "analyse", "analyze", "anti", "array", "asc", "asof", "asymmetric", "authorization", "binary", "both", "collate",
    "collation", "concurrently", "default", "deferrable", "desc", "describe", "do", "end", "except", "fetch", "foreign",
    "freeze", "glob", "initially", "isnull", "lambda", "leading", "limit", "map", "notnull", "offset", "only", "outer",
    "overlaps", "pivot", "pivot_longer", "pivot_wider", "placing", "positional", "primary", "qualify", "references",
    "returning", "semi", "session_user", "show", "similar", "struct", "summarize", "symmetric", "tablesample",
    "trailing", "try_cast", "unpack", "unpivot", "user", "variadic", "verbose", "window",
))  # fmt: skip
# Of the engine itself, and no schema or database of anybody's.
_OF_THE_ENGINE = ("information_schema", "pg_catalog", "system", "temp")


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in names:
            raise ValueError(f"; it has to be one of: {', '.join(names)}.")
        return text

    return check


def _whole_number(least: int, most: int | None, words: str) -> Callable[[object], object]:
    def check(text: object) -> object:
        if isinstance(text, str) and (
            not re.fullmatch("[0-9]{1,18}", text) or int(text) < least or (most is not None and int(text) > most)
        ):
            raise ValueError(f"; it has to be {words}.")
        return text

    return check


def _switch(text: object) -> object:
    if isinstance(text, str):
        if text.lower() not in _SWITCH:
            raise ValueError(f"; it has to be one of: {', '.join(_SWITCH)}.")
        return _SWITCH[text.lower()]
    return text


def _month(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])-01", text) or int(text[:4]) not in _YEARS:
        raise ValueError(f"; it has to be the first day of a month of {_YEARS[0]} to {_YEARS[-1]}, as 2025-11-01.")
    return date.fromisoformat(text)


def _schema(text: str) -> str:
    if not _QUOTED_NAME.fullmatch(text) or text.lower() in _OF_THE_ENGINE:
        raise ValueError(
            "; the name of a schema has letters, digits and _, and blanks or dashes between them, and is none of"
            f" {', '.join(_OF_THE_ENGINE)}."
        )
    return text


def _database(text: str) -> str:
    if text and not _QUOTED_NAME.fullmatch(text):
        raise ValueError("; the name of a database has letters, digits and _, and blanks or dashes between them.")
    return text


def _plain_schema(text: str) -> str:
    if not PLAIN_NAME.fullmatch(text) or text.lower() in (*_OF_THE_ENGINE, *_SNOWFLAKE_RESERVED, *_DUCKDB_RESERVED):
        raise ValueError(
            "; the name of a schema that this pipeline writes has letters, digits and _, no digit first, and is no"
            " reserved word."
        )
    return text


def _path(text: str | Path) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(", whose ~ stands for nobody's folder on this machine: write the folder out.") from None


def _absolute(text: str | Path) -> Path:
    """Absolute, because dbt changes its working directory while it runs."""
    return _path(text).absolute()


def database_name(path: Path) -> str:
    """What DuckDB calls the database of a file, and dbt-duckdb by the same rule: a.b.duckdb is `a`."""
    return path.name.lstrip(".").split(".")[0]


def _database_file(text: str | Path) -> Path:
    path = _absolute(text)
    name = database_name(path)
    if not _QUOTED_NAME.fullmatch(name) or "?" in path.name or "#" in path.name:
        raise ValueError(
            f", and DuckDB would call the database {name!r}: let the file's name have letters, digits and _, and blanks"
            " or dashes between them, before its first dot."
        )
    # DuckDB calls the database as the file, and takes gold.customer_segments for a table of that database.
    if name.lower() in ("gold", "silver"):
        raise ValueError(", and DuckDB would take the database for the schema of that name: name the file otherwise.")
    # Of these DuckDB makes main_db and so on, and dbt does not.
    if name.lower() in ("main", "memory", *_OF_THE_ENGINE):
        raise ValueError(f", and {name} is a name of DuckDB's own: name the file otherwise.")
    return path


def _export_uri(text: str) -> str:
    """An address as it is, a folder made absolute."""
    if half := next(filter(None, (_HALF_AN_ADDRESS.match(part) for part in text.split("::"))), None):
        raise ValueError(
            f" begins with {half['beginning']!r}; an address has two slashes, as s3://bucket/path, and a folder with a"
            " colon in its name is written ./name."
        )
    return text if "://" in text or "::" in text else str(_absolute(text))


def _web_address(text: str) -> str:
    if not re.match(r"https?://[^/\s]", text):
        raise ValueError("; it has to begin with http:// or https://.")
    return text.rstrip("/")


class _Variables(BaseModel):
    """Fields by the names of their variables. No value shows in an error of pydantic's or, of a secret, in a repr."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, validate_default=True)

    @classmethod
    def names(cls) -> dict[str, str]:
        """Field -> variable."""
        return {field: str(info.alias) for field, info in cls.model_fields.items() if info.alias}


def _dotted(most: int, what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        parts = text.split(".") if text else []
        if len(parts) > most or not all(map(PLAIN_NAME.fullmatch, parts)):
            raise ValueError(f"; {what} is written without quotes: letters, digits and _, no digit first.")
        return text

    return check


def _authenticator(text: str) -> str:
    if text and text.lower() not in AUTHENTICATORS:
        raise ValueError(
            f"; it has to be one of: {', '.join(AUTHENTICATORS)}. What a person answers in a browser or on a telephone"
            " no run can answer."
        )
    return text.lower()


def _provider(text: str) -> str:
    if text and text.upper() not in WORKLOAD_IDENTITY_PROVIDERS:
        raise ValueError(f"; it has to be one of: {', '.join(WORKLOAD_IDENTITY_PROVIDERS)}.")
    return text.upper()


def _pem(text: object) -> SecretStr:
    """A key in one line, as many stores of secrets give it, has \\n where its lines end."""
    if not isinstance(text, str | SecretStr):
        raise ValueError("; it has to be the text of a private key in PEM.")
    plain = text.get_secret_value() if isinstance(text, SecretStr) else text
    return SecretStr(plain.replace("\\n", "\n"))


class Snowflake(_Variables):
    """The account and how to sign in to it. What is missing for a session is said when one is opened."""

    # The connector's own variable: an entry of its connections.toml. What a variable says holds before the entry.
    connection_name: str = Field("", alias="SNOWFLAKE_DEFAULT_CONNECTION_NAME")
    account: str = Field("", alias="SNOWFLAKE_ACCOUNT")
    user: str = Field("", alias="SNOWFLAKE_USER")
    database: str = Field("", alias="SNOWFLAKE_DATABASE")
    authenticator: Annotated[str, BeforeValidator(_authenticator)] = Field("", alias="SNOWFLAKE_AUTHENTICATOR")
    private_key_path: Path | None = Field(None, alias="SNOWFLAKE_PRIVATE_KEY_PATH")
    private_key: Annotated[SecretStr, BeforeValidator(_pem)] | None = Field(None, alias="SNOWFLAKE_PRIVATE_KEY")
    private_key_password: SecretStr | None = Field(None, alias="SNOWFLAKE_PRIVATE_KEY_PASSPHRASE")
    password: SecretStr | None = Field(None, alias="SNOWFLAKE_PASSWORD")
    token: SecretStr | None = Field(None, alias="SNOWFLAKE_TOKEN")
    token_file_path: Path | None = Field(None, alias="SNOWFLAKE_TOKEN_FILE_PATH")
    workload_identity_provider: Annotated[str, BeforeValidator(_provider)] = Field(
        "", alias="SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER"
    )
    workload_identity_entra_resource: str = Field("", alias="SNOWFLAKE_WORKLOAD_IDENTITY_ENTRA_RESOURCE")
    role: str = Field("", alias="SNOWFLAKE_ROLE")
    warehouse: str = Field("", alias="SNOWFLAKE_WAREHOUSE")
    host: str = Field("", alias="SNOWFLAKE_HOST")
    port: Annotated[int, BeforeValidator(_whole_number(1, 65535, "a whole number up to 65535, as 443"))] = Field(
        443, alias="SNOWFLAKE_PORT"
    )
    protocol: Annotated[Literal["https", "http"], BeforeValidator(_one_of(("https", "http")))] = Field(
        "https", alias="SNOWFLAKE_PROTOCOL"
    )
    # Whom tables are granted to, and the tag on their personal columns: dbt_models/macros/publication/access.sql.
    reader_role: Annotated[str, BeforeValidator(_dotted(1, "a role"))] = Field("", alias="SNOWFLAKE_READER_ROLE")
    lists_role: Annotated[str, BeforeValidator(_dotted(1, "a role"))] = Field("", alias="SNOWFLAKE_LISTS_ROLE")
    personal_data_tag: Annotated[str, BeforeValidator(_dotted(3, "a tag"))] = Field(
        "", alias="SNOWFLAKE_PERSONAL_DATA_TAG"
    )

    def token_text(self) -> str:
        """The token, or the first line of its file as it is now: who puts it there puts a new one before it expires.
        Raises SettingsError."""
        if self.token is not None:
            return self.token.get_secret_value()
        if self.token_file_path is None:
            return ""
        try:
            return self.token_file_path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError(
                f"SNOWFLAKE_TOKEN_FILE_PATH is {self.token_file_path}, which cannot be read: {reason}."
            ) from None

    @property
    def is_emulator(self) -> bool:
        """Plain http: an emulator, which has no stages and no roles. No account speaks it."""
        return self.protocol == "http"


class Settings(_Variables):
    """What the environment says. Read it where a graph or a command begins, and hand it on."""

    target: Annotated[Target, BeforeValidator(_one_of(TARGETS))] = Field("duckdb", alias="SEGMENTATION_TARGET")
    named_duckdb_path: Annotated[Path, BeforeValidator(_database_file)] | None = Field(
        None, alias="SEGMENTATION_DUCKDB_PATH"
    )
    named_source: Annotated[Source, BeforeValidator(_one_of(SOURCES))] | None = Field(None, alias="SEGMENTATION_SOURCE")
    # None: as many as the demo's portfolio has, or as a new one is given.
    customers: Annotated[int, BeforeValidator(_whole_number(1, None, "a whole number of at least 1"))] | None = Field(
        None, alias="SEGMENTATION_CUSTOMERS"
    )
    start_month: Annotated[date, BeforeValidator(_month)] | None = Field(None, alias="SEGMENTATION_START_MONTH")
    source_schema: Annotated[str, BeforeValidator(_schema)] = Field("gold", alias="SEGMENTATION_SOURCE_SCHEMA")
    # Nothing: the target's.
    source_database: Annotated[str, BeforeValidator(_database)] = Field("", alias="SEGMENTATION_SOURCE_DATABASE")
    # Of what this pipeline writes. Asset keys say gold and silver whatever the schemas are called.
    gold_schema: Annotated[str, BeforeValidator(_plain_schema)] = Field("gold", alias="SEGMENTATION_GOLD_SCHEMA")
    silver_schema: Annotated[str, BeforeValidator(_plain_schema)] = Field("silver", alias="SEGMENTATION_SILVER_SCHEMA")
    rules: Annotated[Path, BeforeValidator(_path)] | None = Field(None, alias="SEGMENTATION_RULES")
    # May hold a password, as ftp://user:password@host does.
    export_uri: Annotated[str, BeforeValidator(_export_uri)] = Field(
        "exports", alias="SEGMENTATION_EXPORT_URI", repr=False
    )
    # Read one by one in alerts/receivers.py: an address that cannot be used does not keep the others from being told.
    alert_urls: SecretStr = Field(SecretStr(""), alias="SEGMENTATION_ALERT_URLS")
    ui_url: Annotated[str, BeforeValidator(_web_address)] = Field("http://127.0.0.1:3000", alias="SEGMENTATION_UI_URL")
    # Whether schedules and sensors are on from the start: in a deployment of its own, not in somebody else's.
    autostart: Annotated[bool, BeforeValidator(_switch)] = Field(False, alias="SEGMENTATION_AUTOSTART")
    dagster_home: Annotated[Path, BeforeValidator(_absolute)] = Field(Path(".dagster"), alias="DAGSTER_HOME")
    dbt_target_path: Annotated[Path, BeforeValidator(_absolute)] | None = Field(None, alias="DBT_TARGET_PATH")
    cache_home: Annotated[Path, BeforeValidator(_absolute)] | None = Field(None, alias="XDG_CACHE_HOME")
    snowflake: Snowflake = Field(default_factory=lambda: Snowflake.model_validate({}))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The variables as they are now; what is set to nothing counts as not set. Raises SettingsError for all that
        cannot be used, at once."""
        source = os.environ if environ is None else environ
        set_ = {name: text.strip() for name, text in source.items() if text.strip()}
        if set_.get("SEGMENTATION_TARGET") == "snowflake":
            set_ = {**_named_connection(set_), **set_}
        problems: list[str] = []

        def read(model: type[_Variables]) -> dict[str, Any]:
            given = {name: set_[name] for name in model.names().values() if name in set_}
            try:
                model.model_validate(given)
            except ValidationError as error:
                problems.extend(_problem(detail, given) for detail in error.errors())
            return given

        own, account = read(cls), read(Snowflake)
        if problems:
            raise SettingsError("\n".join(problems))
        found = cls.model_validate({**own, "snowflake": account})
        problems = list(found._unquoted_names()) if found.target == "snowflake" else []
        if found.target == "snowflake" and found.snowflake.lists_role and not found.snowflake.personal_data_tag:
            problems.append(
                f"SNOWFLAKE_LISTS_ROLE is {found.snowflake.lists_role!r} and SNOWFLAKE_PERSONAL_DATA_TAG is not set:"
                " without the tag nothing masks the names and addresses of the lists. Set the tag, or unset the role."
            )
        if problems:
            raise SettingsError("\n".join(problems))
        for variable_name, schema in (
            ("SEGMENTATION_SOURCE_SCHEMA", found.source_schema),
            ("SEGMENTATION_GOLD_SCHEMA", found.gold_schema),
            ("SEGMENTATION_SILVER_SCHEMA", found.silver_schema),
        ):
            if found.target == "duckdb" and database_name(found.duckdb_path).lower() == schema.lower():
                raise SettingsError(
                    f"SEGMENTATION_DUCKDB_PATH is {found.duckdb_path}, and DuckDB would take the database for the"
                    f" schema of that name ({variable_name}): name the file otherwise."
                )
        if found.silver_schema.lower() in (found.gold_schema.lower(), found.source_schema.lower()):
            raise SettingsError(
                f"SEGMENTATION_SILVER_SCHEMA is {found.silver_schema!r}, which another schema is called: give the"
                " intermediate tables one of their own."
            )
        return found

    @classmethod
    def given(cls, **values: object) -> Self:
        """The environment's, with `values` in place of its variables: by field, the account's as `snowflake_database`.

        None stands for a value that is not given. Raises SettingsError, which names the variable of the field.
        """
        names = {field.removeprefix("named_"): name for field, name in cls.names().items()}
        names |= {f"snowflake_{field}": name for field, name in Snowflake.names().items()}
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise SettingsError(f"{', '.join(unknown)}: no such setting; there are {', '.join(sorted(names))}.")
        texts = {names[field]: str(value) for field, value in values.items() if value is not None}
        return cls.from_environment({**os.environ, **texts})

    def _unquoted_names(self) -> Iterator[str]:
        """On Snowflake names are written without quotes, as its users write them: what needs some is refused."""
        for name, value in (
            ("SEGMENTATION_SOURCE_SCHEMA", self.source_schema),
            ("SEGMENTATION_SOURCE_DATABASE", self.source_database),
            ("SNOWFLAKE_DATABASE", self.snowflake.database),
        ):
            if value and (not PLAIN_NAME.fullmatch(value) or value.lower() in _SNOWFLAKE_RESERVED):
                yield (
                    f"{name} is {value!r}, which Snowflake takes only in quotes; this pipeline writes names without:"
                    " letters, digits and _, no digit first, no reserved word. Name another one, or rename it there."
                )

    @property
    def source(self) -> Source:
        return self.named_source or ("synthetic" if self.target == "duckdb" else "warehouse")

    @property
    def duckdb_path(self) -> Path:
        """Each source has a file of its own, so that trying another one costs nobody a published month."""
        return self.named_duckdb_path or _database_file(Path("data") / DEFAULT_FILES[self.source])

    @property
    def schemas(self) -> dict[str, str]:
        """Of what this pipeline writes: gold and silver, by those names."""
        return {"gold": self.gold_schema, "silver": self.silver_schema}

    @property
    def place(self) -> tuple[str, ...]:
        """Where the tables are that this portfolio writes: no two portfolios of one Dagster instance share it."""
        if self.target == "duckdb":
            return self.target, str(self.duckdb_path.resolve()), self.gold_schema.lower()
        return self.target, self.snowflake.account.lower(), self.snowflake.database.lower(), self.gold_schema.lower()

    def for_dbt(self) -> dict[str, str]:
        """The variables that profiles.yml and the sources read, as this reads them: an empty one has its default.

        All of the account's, so that nothing of another portfolio's is left in a process that knows two.
        """
        account = self.snowflake.model_dump(by_alias=True, exclude_none=True)
        texts = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in account.items()
        }
        # dbt-snowflake has no name for a file of a token. One that cannot be read is told where a session is opened.
        with suppress(SettingsError):
            texts["SNOWFLAKE_TOKEN"] = self.snowflake.token_text()
        return {
            **dict.fromkeys(Snowflake.names().values(), ""),
            **texts,
            "SEGMENTATION_TARGET": self.target,
            "SEGMENTATION_DUCKDB_PATH": str(self.duckdb_path),
            "SEGMENTATION_SOURCE_SCHEMA": self.source_schema,
            "SEGMENTATION_SOURCE_DATABASE": self.source_database,
            "SEGMENTATION_GOLD_SCHEMA": self.gold_schema,
            "SEGMENTATION_SILVER_SCHEMA": self.silver_schema,
            "DO_NOT_TRACK": "1",
        }


def anchor_paths(settings: Settings) -> None:
    """Writes the places that the settings name into the environment, so that a child finds them from any folder."""
    places = {
        "SEGMENTATION_DUCKDB_PATH": settings.duckdb_path,
        "SEGMENTATION_EXPORT_URI": settings.export_uri,
        "SEGMENTATION_RULES": settings.rules and settings.rules.absolute(),
        "DBT_TARGET_PATH": settings.dbt_target_path,
        "SNOWFLAKE_PRIVATE_KEY_PATH": settings.snowflake.private_key_path
        and settings.snowflake.private_key_path.absolute(),
        "SNOWFLAKE_TOKEN_FILE_PATH": settings.snowflake.token_file_path
        and settings.snowflake.token_file_path.absolute(),
        "XDG_CACHE_HOME": settings.cache_home,
    }
    for name, place in places.items():
        if place:
            set_variable(name, str(place))


def _named_connection(environ: Mapping[str, str]) -> dict[str, str]:
    """The entry of the connector's connections.toml that SNOWFLAKE_DEFAULT_CONNECTION_NAME names, as variables.

    Of a secret in the environment no other one is taken from the file. Raises SettingsError.
    """
    name = environ.get("SNOWFLAKE_DEFAULT_CONNECTION_NAME")
    if not name:
        return {}
    from snowflake.connector.config_manager import CONFIG_MANAGER
    from snowflake.connector.constants import CONNECTIONS_FILE
    from snowflake.connector.errors import Error

    told = f"SNOWFLAKE_DEFAULT_CONNECTION_NAME is {name!r}, "
    try:
        CONFIG_MANAGER.read_config()
        entries: Any = CONFIG_MANAGER["connections"]
        known = sorted(entries)
        entry: Mapping[str, object] | None = entries[name] if name in known else None
    except (Error, OSError) as error:
        raise SettingsError(f"{told}and {CONNECTIONS_FILE} cannot be read: {str(error).splitlines()[0]}") from None
    if entry is None:
        raise SettingsError(f"{told}and {CONNECTIONS_FILE} has {', '.join(known) or 'no connection'}.")
    names = Snowflake.names()
    secrets = [names[field] for field in _SECRETS]
    has_own = any(secret in environ for secret in secrets)
    found = {names.get(_CONNECTION_KEYS.get(key, key), ""): str(value) for key, value in entry.items()}
    return {name: value for name, value in found.items() if name and not (has_own and name in secrets)}


def _problem(detail: Any, given: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    words = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else f" cannot be used: {detail['msg']}."
    # What an address holds behind its beginning may be a password.
    return f"{name}{words}" if words.startswith(" begins") else f"{name} is {given[name]!r}{words}"


def load_env_file(folder: Path | None = None) -> None:
    """The `.env` of the working directory into the environment, for every way in; what is there already holds.

    Not read from a folder above, and not at all where PYTHON_DOTENV_DISABLED is set (python-dotenv's own switch).
    Raises SettingsError for lines that are no NAME=value, by their numbers: they may hold a secret.
    """
    from dotenv import load_dotenv
    from dotenv.parser import parse_stream

    path = (folder or Path.cwd()) / ENV_FILE
    if not path.is_file() or variable("PYTHON_DOTENV_DISABLED").lower() in ("1", "true", "t", "yes", "y"):
        return
    try:
        with path.open(encoding="utf-8") as file:
            wrong = [str(binding.original.line) for binding in parse_stream(file) if binding.error]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path} cannot be read: {reason}. Correct it, or move it away.") from None
    if wrong:
        raise SettingsError(f"{path}: line {', '.join(wrong)}: cannot be read; write NAME=value, one to a line.")
    load_dotenv(path)


def variable(name: str) -> str:
    """One variable alone, for what has to work while another one is wrong."""
    return os.environ.get(name, "").strip()


def set_variable(name: str, value: str, *, unless_set: bool = False) -> None:
    """For what Dagster and dbt read from the environment by themselves."""
    if not unless_set or name not in os.environ:
        os.environ[name] = value


@contextmanager
def variables_set(values: Mapping[str, str]) -> Iterator[None]:
    """The same for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def secret_values() -> set[str]:
    """What is never to be shown: the words of every variable whose name says that it is secret, ours or not, and the
    passwords in the addresses that any other holds, such as DATABASE_URL."""
    named = {word for name, value in os.environ.items() if _SECRET_NAMES.search(name) for word in value.split()}
    named |= {
        line for name, value in os.environ.items() if _KEY_NAMES.search(name) for line in _KEY_LINE.findall(value)
    }
    logins = [found["password"] for value in os.environ.values() for found in _LOGIN.finditer(value)]
    return named | {form for password in logins for form in (password, unquote(password)) if form}
