"""The Snowflake account: its settings, checked before any connection is tried, and sessions on it.

What DuckDB and Snowflake have in common is in `warehouse`. No text here, of an error or a log, holds a secret.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from segmentation_assets.errors import SettingsError, WarehouseError
from segmentation_assets.settings import PLAIN_NAME, Settings, Snowflake
from segmentation_assets.warehouse.columns import Column

if TYPE_CHECKING:
    from dagster_snowflake import SnowflakeResource

# dagster-snowflake's name of each setting, and the variable that holds it.
SETTINGS = Snowflake.names()
REQUIRED = ("account", "user", "database")
# Arguments of the connector that dagster-snowflake has no field for.
CONNECTOR_ONLY = ("host", "port", "protocol")
# The connector's own limits are five minutes and none at all. The second bounds a statement too, for the connector
# cancels one that takes longer: it is the statement time-out of snowflake/setup.sql.
LOGIN_SECONDS, NETWORK_SECONDS = 15, 3600
# "Object does not exist, or operation cannot be performed", and the same of a database or schema.
DOES_NOT_EXIST = frozenset({2003, 2043})

# What a refused login says, and the setting to look at. The first that fits is told.
REFUSALS = (
    (
        "incorrect username or password",
        "Snowflake does not accept SNOWFLAKE_USER {user!r} with the SNOWFLAKE_PASSWORD given.",
    ),
    ("multi-factor", "SNOWFLAKE_USER {user!r} needs a second factor with a password: use SNOWFLAKE_PRIVATE_KEY_PATH."),
    (
        "jwt token",
        "Snowflake does not accept the key of SNOWFLAKE_PRIVATE_KEY_PATH for SNOWFLAKE_USER {user!r}:"
        " its public half has to be that user's RSA_PUBLIC_KEY (docs/snowflake.md).",
    ),
    ("role", "SNOWFLAKE_ROLE is {role!r}, which does not exist or is not granted to SNOWFLAKE_USER {user!r}."),
    (
        "warehouse",
        "SNOWFLAKE_WAREHOUSE is {warehouse!r}, which does not exist or may not be used with SNOWFLAKE_ROLE {role!r}.",
    ),
    (
        "database",
        "SNOWFLAKE_DATABASE is {database!r}, which does not exist or may not be used with SNOWFLAKE_ROLE {role!r}.",
    ),
    ("user", "Snowflake refuses SNOWFLAKE_USER {user!r}: it is locked, disabled or kept out by a network policy."),
)
UNREACHABLE = "No Snowflake answers at {address}: correct SNOWFLAKE_ACCOUNT {account!r} or SNOWFLAKE_HOST."


def settings(account: Snowflake | None = None) -> dict[str, str]:
    """What is set of an account, or in the environment, by dagster-snowflake's names. Raises SettingsError for what is
    missing or wrong.

    Made when a session is opened, and not kept: it holds the secrets in plain.
    """
    account = account or Settings.from_environment().snowflake
    values = {key: getattr(account, key) for key in SETTINGS if key in account.model_fields_set}
    found = {
        key: str(value.get_secret_value() if isinstance(value, SecretStr) else value) for key, value in values.items()
    }
    missing = [SETTINGS[key] for key in REQUIRED if key not in found]
    problems = [f"{name} is not set; SEGMENTATION_TARGET=snowflake needs it." for name in missing]
    if "private_key_path" not in found and "password" not in found:
        problems.append("Neither SNOWFLAKE_PRIVATE_KEY_PATH nor SNOWFLAKE_PASSWORD is set; one of them is needed.")
    if problems:
        raise SettingsError("\n".join(problems))
    if "private_key_path" in found:
        found.pop("password", None)
        _check_key(Path(found["private_key_path"]), found.get("private_key_password"))
    else:
        found.pop("private_key_password", None)
    return found


def _check_key(path: Path, passphrase: str | None) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named = f"SNOWFLAKE_PRIVATE_KEY_PATH is {path}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{named}, which cannot be read: {error.strerror}.") from None
    try:
        load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except TypeError:
        needs = "has none: unset it" if passphrase else "needs one: set it"
        raise SettingsError(
            f"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE does not fit the key at {path}, which {needs}."
        ) from None
    except ValueError:
        wrong = "it is no private key in PEM, or SNOWFLAKE_PRIVATE_KEY_PASSPHRASE is wrong"
        raise SettingsError(f"{named}, which cannot be used: {wrong}.") from None


def snowflake_resource(found: dict[str, str], limits: dict[str, Any]) -> "SnowflakeResource":
    # 14 s to import: only where the target is Snowflake.
    from dagster_snowflake import SnowflakeResource

    own: dict[str, Any] = {key: value for key, value in found.items() if key not in CONNECTOR_ONLY}
    connector: dict[str, Any] = {key: value for key, value in found.items() if key in CONNECTOR_ONLY}
    if "port" in connector:
        connector["port"] = int(connector["port"])
    return SnowflakeResource(
        **own,
        additional_snowflake_connection_args={
            **connector,
            **limits,
            # No look-up of the cloud this runs in: only workload identities need it.
            "platform_detection_timeout_seconds": 0.0,
            # Otherwise a wrong warehouse or database shows only at the first statement.
            "validate_default_parameters": True,
            "session_parameters": {
                "CLIENT_TELEMETRY_ENABLED": False,
                "QUERY_TAG": json.dumps({"app": "customer-segmentation"}),
                "TIMEZONE": "UTC",
            },
        },
    )


class SnowflakeSession:
    edit_distance = "editdistance"
    folds_names = True

    def __init__(self, connection: Any, gold: str = "gold", silver: str = "silver") -> None:
        self.connection, self.gold, self.silver = connection, gold, silver
        self._columns: dict[str, list[Column]] = {}

    @property
    def engine_error(self) -> type[Exception]:
        from snowflake.connector.errors import Error

        return Error

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._columns.clear()
        with self.connection.cursor() as cursor:
            cursor.execute(*_bound(sql, parameters))

    def kept(self, name: str, sql: str) -> str:
        """The query itself: a table of one's own would want a schema and a grant, and costs more than it saves."""
        del name
        return f"({sql})"

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        with self.connection.cursor() as cursor:
            cursor.execute(*_bound(sql, parameters))
            names = [column[0].lower() for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def types(self, sql: str) -> dict[str, str]:
        from snowflake.connector.constants import FIELD_ID_TO_NAME

        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return {column[0].lower(): _type_name(column, FIELD_ID_TO_NAME) for column in cursor.description}

    def columns(self, schema: str) -> list[Column]:
        """Asked for once, until this session writes: SHOW needs no warehouse, and answers for a whole schema at once
        what INFORMATION_SCHEMA is asked about table by table."""
        from snowflake.connector.errors import ProgrammingError

        if schema not in self._columns:
            name = schema if PLAIN_NAME.fullmatch(schema) else f'"{schema}"'
            try:
                rows = self.rows(f"show columns in schema {name}")
            except ProgrammingError as error:
                if error.errno not in DOES_NOT_EXIST:
                    raise
                rows = []
            self._columns[schema] = [_column(row) for row in rows]
        return self._columns[schema]


def _column(row: Mapping[str, Any]) -> Column:
    kind = json.loads(row["data_type"])
    return Column(
        row["schema_name"].lower(),
        row["table_name"].lower(),
        row["column_name"].lower(),
        {"FIXED": "number", "REAL": "float"}.get(kind["type"], kind["type"].lower()),
        kind.get("precision"),
        kind.get("scale"),
        row["null?"].lower() in ("false", "n") and not row["default"],
    )


def _type_name(column: Any, names: Mapping[int, str]) -> str:
    name, scale = names[column[1]].lower(), column[5]
    return f"{name}({column[4]},{scale})" if name == "fixed" and scale else name


def _bound(sql: str, parameters: Sequence[object]) -> tuple[str, tuple[object, ...] | None]:
    """The connector's placeholder is %s; a statement without parameters is sent as it stands."""
    return (sql.replace("%", "%%").replace("?", "%s"), tuple(parameters)) if parameters else (sql, None)


@dataclass(frozen=True)
class SnowflakeWarehouse:
    """A Snowflake account, reached through dagster-snowflake; without one, that of the SNOWFLAKE_* variables.

    No ConfigurableResource: Dagster makes those anew of their configuration, in which no secret may stand.
    """

    account: Snowflake | None = None
    gold: str = "gold"
    silver: str = "silver"
    login_seconds: int = LOGIN_SECONDS
    network_seconds: int = NETWORK_SECONDS

    def limits(self) -> dict[str, Any]:
        """The connector's arguments that end what gets no answer."""
        return {"login_timeout": self.login_seconds, "network_timeout": self.network_seconds}

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[SnowflakeSession]:
        del read_only  # the role's grants decide
        found = settings(self.account)
        resource = snowflake_resource(found, self.limits())
        with ExitStack() as stack:
            connection = _connect(stack, resource, found)
            # dagster-snowflake closes it only where nothing was raised; an open transaction ends with its session.
            stack.callback(connection.close)
            yield SnowflakeSession(connection, self.gold, self.silver)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Snowflake's own transactions keep runs apart.

        One session first: dbt, which comes next, would meet a wrong password or host in every one of its threads.
        """
        with self.session():
            pass
        with _connector_defaults({**self.limits(), "log_imported_packages_in_telemetry": False}):
            yield


@contextmanager
def _connector_defaults(values: dict[str, Any]) -> Iterator[None]:
    """For the sessions that dbt opens: its profile has no name for a limit, and what is lost would be tried on."""
    from snowflake.connector.connection import DEFAULT_CONFIGURATION

    before = {name: DEFAULT_CONFIGURATION[name] for name in values}
    DEFAULT_CONFIGURATION.update({name: (value, before[name][1]) for name, value in values.items()})
    try:
        yield
    finally:
        DEFAULT_CONFIGURATION.update(before)


def _connect(stack: ExitStack, resource: "SnowflakeResource", found: dict[str, str]) -> Any:
    from snowflake.connector.errors import Error

    try:
        return stack.enter_context(resource.get_connection())
    except Error as error:
        raise WarehouseError(refusal(str(error), found)) from None


def refusal(said: str, found: dict[str, str]) -> str:
    """One line for a login that failed, with the variable to correct and never a secret."""
    named = {key: found.get(key, "") for key in SETTINGS if key not in ("password", "private_key_password")}
    for sign, sentence in REFUSALS:
        if sign in said.lower():
            return sentence.format(**named)
    address = f"{found.get('protocol', 'https')}://{found.get('host') or found['account'] + '.snowflakecomputing.com'}"
    return UNREACHABLE.format(**named, address=address)
