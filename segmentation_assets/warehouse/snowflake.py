"""The Snowflake account: its settings, checked before any connection is tried, and sessions on it.

What DuckDB and Snowflake have in common is in `warehouse`. No text here, of an error or a log, holds a secret.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from segmentation_assets.errors import RefusedLoginError, SettingsError, WarehouseError
from segmentation_assets.settings import PLAIN_NAME, Settings, Snowflake
from segmentation_assets.warehouse.columns import Column, Statement
from segmentation_assets.warehouse.lease import lease

if TYPE_CHECKING:
    from dagster_snowflake import SnowflakeResource

# Field -> the variable that holds it.
SETTINGS = Snowflake.names()
REQUIRED = ("account", "database")
# Not for a session: the entry of connections.toml is read by then, and the others are for the tables that are made.
_NOT_FOR_A_SESSION = ("connection_name", "reader_role", "lists_role", "personal_data_tag")
_SECRETS = ("password", "private_key", "private_key_password", "token")
# The connector's own limits are five minutes and none at all. The second bounds a statement too, for the connector
# cancels one that takes longer: it is the statement time-out of snowflake/setup.sql.
LOGIN_SECONDS, NETWORK_SECONDS = 15, 3600
# "Object does not exist, or operation cannot be performed", and the same of a database or schema.
DOES_NOT_EXIST = frozenset({2003, 2043})

# What a result, a hash or a comparison of texts would otherwise depend on: the account's or the user's own parameters.
# snowflake/setup.sql sets the same for the pipeline's user, which is where plain dbt has them from.
SESSION_PARAMETERS: dict[str, str | int | bool] = {
    "TIMEZONE": "UTC",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "DATE_INPUT_FORMAT": "AUTO",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "BINARY_INPUT_FORMAT": "HEX",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "WEEK_START": 1,
    "WEEK_OF_YEAR_POLICY": 0,
    "TWO_DIGIT_CENTURY_START": 1970,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "LOCK_TIMEOUT": 600,
    "ABORT_DETACHED_QUERY": True,
}

_WAYS = (
    "SNOWFLAKE_PRIVATE_KEY_PATH or SNOWFLAKE_PRIVATE_KEY (a key pair), SNOWFLAKE_TOKEN or SNOWFLAKE_TOKEN_FILE_PATH"
    " with SNOWFLAKE_AUTHENTICATOR, SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER, or SNOWFLAKE_PASSWORD"
)


@dataclass(frozen=True)
class Refusal:
    """A login that the server refused: by which words of its answer it is known, what is told, and whether it is the
    secret that it does not take."""

    signs: tuple[str, ...]
    sentence: str
    is_of_the_secret: bool = False


# The first that fits is told. An address, a lock and a second factor first: their texts name users and roles, too.
REFUSALS = (
    Refusal(
        ("network policy is required",),
        "Snowflake lets SNOWFLAKE_USER {user!r} sign in with this secret only under a network policy, and the user has"
        " none: set one (snowflake/setup.sql), or use a key pair.",
    ),
    Refusal(
        ("is not allowed to access snowflake", "network policy", "incoming request with ip"),
        "A network policy keeps this machine's address out of account {account!r} for SNOWFLAKE_USER {user!r}: add the"
        " address to the policy's allowed_ip_list, or run where it allows.",
    ),
    Refusal(
        ("temporarily locked", "is locked", "too many failed"),
        "SNOWFLAKE_USER {user!r} is locked after refused sign-ins: correct the secret first, then wait 15 minutes or"
        " `alter user ... set mins_to_unlock = 0`.",
    ),
    Refusal(
        ("access disabled", "is disabled"),
        "SNOWFLAKE_USER {user!r} is disabled: `alter user ... set disabled = false`.",
    ),
    Refusal(
        ("mfa", "multi-factor", "multifactor", "second factor"),
        "Snowflake wants a second factor of SNOWFLAKE_USER {user!r}, which no run can give: use a user of TYPE ="
        " SERVICE with SNOWFLAKE_PRIVATE_KEY_PATH, or a token (docs/snowflake.md).",
        is_of_the_secret=True,
    ),
    Refusal(
        ("incorrect username or password",),
        "Snowflake does not accept SNOWFLAKE_USER {user!r} with the SNOWFLAKE_PASSWORD given.",
        is_of_the_secret=True,
    ),
    Refusal(
        ("jwt token",),
        "Snowflake does not accept the key of {key_variable} for SNOWFLAKE_USER {user!r}: its public half has to be"
        " that user's RSA_PUBLIC_KEY or RSA_PUBLIC_KEY_2, and this machine's clock right (docs/snowflake.md).",
        is_of_the_secret=True,
    ),
    Refusal(
        ("token has expired", "token expired", "access token is expired", "expired"),
        "The token of {token_variable} has expired: put a new one there.",
        is_of_the_secret=True,
    ),
    Refusal(
        ("access token", "oauth", "token is invalid", "invalid token"),
        "Snowflake does not accept the token of {token_variable} (SNOWFLAKE_AUTHENTICATOR {authenticator!r}): it is"
        " another kind of token, revoked, or not for this user and role.",
        is_of_the_secret=True,
    ),
    Refusal(
        ("workload identity", "attestation"),
        "Snowflake does not accept what this machine says it is (SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER {workload!r}):"
        " the WORKLOAD_IDENTITY of SNOWFLAKE_USER {user!r} has to name it.",
    ),
    Refusal(
        ("role",), "SNOWFLAKE_ROLE is {role!r}, which does not exist or is not granted to SNOWFLAKE_USER {user!r}."
    ),
    Refusal(
        ("warehouse",),
        "SNOWFLAKE_WAREHOUSE is {warehouse!r}, which does not exist or may not be used with SNOWFLAKE_ROLE {role!r}.",
    ),
    Refusal(
        ("database",),
        "SNOWFLAKE_DATABASE is {database!r}, which does not exist or may not be used with SNOWFLAKE_ROLE {role!r}.",
    ),
)
UNREACHABLE = "No Snowflake answers at {address}: correct SNOWFLAKE_ACCOUNT {account!r} or SNOWFLAKE_HOST."
# The connector's numbers for what never became an answer of Snowflake's: no connection, no TLS, a time-out, a host that
# knows no account of that name (404) or keeps everybody out (403).
_NO_ANSWER = frozenset((250001, 250003, 251011, 254007, 290403, 290404))


def settings(account: Snowflake | None = None) -> dict[str, str]:
    """What is set of an account, or in the environment, by the fields of settings.Snowflake. Raises SettingsError for
    what is missing or wrong.

    Made when a session is opened, and not kept: it holds the secrets in plain, and of them only those of the way in
    that is taken, `authenticator`: a key wins over a token, a token over a workload's identity, and that over a
    password, where SNOWFLAKE_AUTHENTICATOR does not say otherwise.
    """
    account = account or Settings.from_environment().snowflake
    values = {key: getattr(account, key) for key in SETTINGS if key in account.model_fields_set}
    found = {
        key: str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for key, value in values.items()
        if key not in _NOT_FOR_A_SESSION
    }
    way = _way_in(found)
    needed = [*REQUIRED, *(("user",) if way in ("snowflake", "snowflake_jwt", "") else ())]
    missing = [SETTINGS[key] for key in SETTINGS if key in needed and key not in found]
    problems = [f"{name} is not set; SEGMENTATION_TARGET=snowflake needs it." for name in missing]
    has_token = "token" in found or "token_file_path" in found
    if not way and has_token:
        problems.append(
            "SNOWFLAKE_TOKEN is set; SNOWFLAKE_AUTHENTICATOR has to say what it is: oauth or programmatic_access_token."
        )
    elif not way:
        problems.append(f"No way to sign in is set: {_WAYS}.")
    lacks = {
        "snowflake": "password" not in found and "SNOWFLAKE_PASSWORD",
        "snowflake_jwt": not {"private_key_path", "private_key"} & set(found) and "SNOWFLAKE_PRIVATE_KEY_PATH",
        "oauth": not has_token and "SNOWFLAKE_TOKEN",
        "programmatic_access_token": not has_token and "SNOWFLAKE_TOKEN",
        "workload_identity": "workload_identity_provider" not in found and "SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER",
    }
    if lacking := lacks.get(way):
        problems.append(f"SNOWFLAKE_AUTHENTICATOR is {way!r}, which needs {lacking}; it is not set.")
    if problems:
        raise SettingsError("\n".join(problems))
    found["authenticator"] = way
    if way == "snowflake_jwt":
        _checked_key(found)
    else:
        _drop(found, "private_key_path", "private_key", "private_key_password")
    if has_token and way not in ("snowflake", "snowflake_jwt"):
        found["token"] = account.token_text()
    else:
        _drop(found, "token", "token_file_path")
    if way != "workload_identity":
        _drop(found, "workload_identity_provider", "workload_identity_entra_resource")
    if way != "snowflake":
        _drop(found, "password")
    return found


def _way_in(found: Mapping[str, str]) -> str:
    """The authenticator that is named, or that the secret which is set stands for; none where that cannot be told."""
    if named := found.get("authenticator"):
        return named
    if "private_key_path" in found or "private_key" in found:
        return "snowflake_jwt"
    if "workload_identity_provider" in found:
        return "workload_identity"
    if "token" in found or "token_file_path" in found:
        return ""
    return "snowflake" if "password" in found else ""


def _drop(found: dict[str, str], *keys: str) -> None:
    for key in keys:
        found.pop(key, None)


def _checked_key(found: Mapping[str, str]) -> bytes:
    """The key in DER, without its passphrase. Raises SettingsError."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

    path, passphrase = found.get("private_key_path"), found.get("private_key_password")
    named, the_key = f"SNOWFLAKE_PRIVATE_KEY_PATH is {path}", f"the key at {path}"
    if path is None:
        named, the_key = "SNOWFLAKE_PRIVATE_KEY holds text", "the key of SNOWFLAKE_PRIVATE_KEY"
    try:
        content = Path(path).read_bytes() if path is not None else found["private_key"].encode()
    except OSError as error:
        raise SettingsError(f"{named}, which cannot be read: {error.strerror}.") from None
    try:
        key = load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except TypeError:
        needs = "has none: unset it" if passphrase else "needs one: set it"
        raise SettingsError(f"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE does not fit {the_key}, which {needs}.") from None
    except ValueError:
        wrong = "it is no private key in PEM, or SNOWFLAKE_PRIVATE_KEY_PASSPHRASE is wrong"
        raise SettingsError(f"{named}, which cannot be used: {wrong}.") from None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def connection_arguments(found: Mapping[str, str]) -> dict[str, Any]:
    """The connector's arguments of what `settings` found."""
    arguments: dict[str, Any] = {
        key: value
        for key, value in found.items()
        if key not in ("private_key_path", "private_key", "private_key_password", "token_file_path")
    }
    if "port" in arguments:
        arguments["port"] = int(arguments["port"])
    if found["authenticator"] == "snowflake_jwt":
        arguments["private_key"] = base64.b64encode(_checked_key(found)).decode()
    # Where this runs is looked up for a workload's identity alone.
    if found["authenticator"] != "workload_identity":
        arguments["platform_detection_timeout_seconds"] = 0.0
    return arguments


def snowflake_resource(found: dict[str, str], limits: dict[str, Any]) -> "SnowflakeResource":
    # 14 s to import: only where the target is Snowflake.
    from dagster_snowflake import SnowflakeResource

    arguments = connection_arguments(found)
    return SnowflakeResource(
        # The connector needs no name where a token or the machine says who signs in.
        user=arguments.pop("user", ""),
        authenticator=arguments.pop("authenticator"),
        # Each statement stands by itself. Otherwise dagster-snowflake sends a COMMIT at the end of every session.
        autocommit=True,
        additional_snowflake_connection_args={
            **arguments,
            **limits,
            # Otherwise a wrong warehouse or database shows only at the first statement.
            "validate_default_parameters": True,
            "session_parameters": {
                "CLIENT_TELEMETRY_ENABLED": False,
                "QUERY_TAG": json.dumps({"app": "customer-segmentation"}),
                **SESSION_PARAMETERS,
            },
        },
    )


def scripting_block(statements: Sequence[str]) -> str:
    """As the macro snowflake_block: begun and ended in the server, whatever becomes of the client."""
    parts = ["begin transaction", *statements, "commit"]
    lines = "\n".join(f"    {part};" for part in parts)
    return (
        f"execute immediate $$\nbegin\n{lines}\n"
        "exception\n    when other then\n        rollback;\n        raise;\nend;\n$$"
    )


class SnowflakeSession:
    edit_distance = "editdistance"
    folds_names = True

    def __init__(
        self, connection: Any, gold: str = "gold", silver: str = "silver", account: Snowflake | None = None
    ) -> None:
        self.connection, self.gold, self.silver = connection, gold, silver
        self._columns: dict[str, list[Column]] = {}
        self._shown: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._account = account

    @property
    def engine_error(self) -> type[Exception]:
        from snowflake.connector.errors import Error

        return Error

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._columns.clear()
        self._shown.clear()
        self._rows.clear()
        with self.connection.cursor() as cursor:
            cursor.execute(*_bound(sql, parameters))

    def in_one_transaction(self, table: str, statements: Sequence[Statement]) -> None:
        # Waits for whoever replaces months of the table, and keeps others waiting (macros/publication/locks.sql).
        lock = f"update {self.silver}.publication_locks set writes = writes + 1 where table_name = ?"
        statements = [(lock, (table,)), *statements]
        if self._account is not None and not self._account.is_emulator:
            block = scripting_block([sql for sql, _ in statements])
            self.execute(block, [value for _, parameters in statements for value in parameters])
            return
        # The emulator knows no blocks.
        self.execute("begin transaction")
        try:
            for sql, parameters in statements:
                self.execute(sql, parameters)
            self.execute("commit")
        except BaseException:
            self.execute("rollback")
            raise

    def show_readers(self, table: str) -> None:
        if self._account is not None and self._account.reader_role and not self._account.is_emulator:
            self.execute(f"grant select on table {table} to role {self._account.reader_role}")

    def kept(self, name: str, sql: str) -> str:
        """The query itself: a table of one's own would want a schema and a grant, and costs more than it saves."""
        del name
        return f"({sql})"

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        with self.connection.cursor() as cursor:
            cursor.execute(*_bound(sql, parameters))
            names = [column[0].lower() for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def rows_once(self, sql: str) -> list[dict[str, Any]]:
        if sql not in self._rows:
            self._rows[sql] = self.rows(sql)
        return self._rows[sql]

    def types(self, sql: str) -> dict[str, str]:
        from snowflake.connector.constants import FIELD_ID_TO_NAME

        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return {column[0].lower(): _type_name(column, FIELD_ID_TO_NAME) for column in cursor.description}

    def columns(self, schema: str) -> list[Column]:
        """Asked for once, until this session writes: SHOW needs no warehouse, and answers for a whole schema at once
        what INFORMATION_SCHEMA is asked about table by table."""
        if schema not in self._columns:
            self._columns[schema] = [_column(row) for row in self.show("columns", schema)]
        return self._columns[schema]

    def size_of(self, schema: str, table: str) -> str | None:
        """By SHOW TABLES, which says NULL of external tables and nothing of views. What is wrong with the place is told
        by whoever reads the table."""
        from snowflake.connector.errors import ProgrammingError

        bare = table.strip('"')
        pattern = bare.replace("'", "''")
        try:
            shown = self.rows(f"show tables like '{pattern}' in schema {schema}")
        except ProgrammingError:
            return None
        # In a pattern, _ stands for any character.
        found = [row for row in shown if row["name"].lower() == bare.lower()]
        if len(found) != 1 or not found[0]["rows"]:
            return None
        return f"{int(found[0]['rows']):,} rows, {int(found[0]['bytes']):,} bytes"

    def show(self, kind: str, schema: str) -> list[dict[str, Any]]:
        """SHOW COLUMNS or OBJECTS of a schema, asked for once until this session writes; none where there is none."""
        from snowflake.connector.errors import ProgrammingError

        shown = self._shown.setdefault(schema.lower(), {})
        if kind not in shown:
            name = schema if PLAIN_NAME.fullmatch(schema) else f'"{schema}"'
            try:
                shown[kind] = self.rows(f"show {kind} in schema {name}")
            except ProgrammingError as error:
                if error.errno not in DOES_NOT_EXIST:
                    raise
                shown[kind] = []
        return shown[kind]

    def shown(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Of each schema, what SHOW has said since this session last wrote: of "columns" and "objects" the rows."""
        return {schema: dict(rows) for schema, rows in self._shown.items()}


# What SHOW COLUMNS calls otherwise than INFORMATION_SCHEMA.
_CATALOGUE_WORDS = {"FIXED": "number", "REAL": "float"}


def _column(row: Mapping[str, Any]) -> Column:
    kind = json.loads(row["data_type"])
    return Column(
        row["schema_name"].lower(),
        row["table_name"].lower(),
        row["column_name"].lower(),
        _CATALOGUE_WORDS.get(kind["type"], str(kind["type"]).lower()),
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
    # A round trip to the account takes longer than counting: the rows of tables that were made within a minute are
    # counted in one statement, and shown then.
    events_held_seconds: float = 60.0

    def limits(self) -> dict[str, Any]:
        """The connector's arguments that end what gets no answer."""
        return {"login_timeout": self.login_seconds, "network_timeout": self.network_seconds}

    def login_hash(self, salt: str) -> str:
        """Of everything that is signed in with: by it one knows whether the next attempt would be another one. Raises
        SettingsError. Slow on purpose: a password is short, and this is kept."""
        found = json.dumps(settings(self.account), sort_keys=True)
        return hashlib.scrypt(found.encode(), salt=salt.encode(), n=2**12, r=8, p=1).hex()

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[SnowflakeSession]:
        del read_only  # the role's grants decide
        account = self.account or Settings.from_environment().snowflake
        found = settings(account)
        resource = snowflake_resource(found, self.limits())
        with ExitStack() as stack:
            connection = _connect(stack, resource, found)
            # dagster-snowflake closes it only where nothing was raised; an open transaction ends with its session.
            stack.callback(connection.close)
            yield SnowflakeSession(connection, self.gold, self.silver, account)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Snowflake's own transactions keep runs apart.

        One session first: dbt, which comes next, would meet a wrong password or host in every one of its threads.
        """
        with self.session():
            pass
        with self._for_dbt():
            yield

    @contextmanager
    def writing(self, holder: str) -> Iterator[None]:
        """As exclusive, and no other run writes to the tables meanwhile. Raises WarehouseBusyError."""
        with self.session() as session, lease(session, holder), self._for_dbt():
            yield

    @contextmanager
    def _for_dbt(self) -> Iterator[None]:
        with _pinned_sessions(), _connector_defaults({**self.limits(), "log_imported_packages_in_telemetry": False}):
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


@contextmanager
def _pinned_sessions() -> Iterator[None]:
    """The session parameters for the sessions that dbt opens, whose profile has a name for the query tag alone."""
    from snowflake import connector

    connect = connector.connect

    def pinned(*args: Any, **arguments: Any) -> Any:
        given = arguments.get("session_parameters") or {}
        return connect(*args, **{**arguments, "session_parameters": {**SESSION_PARAMETERS, **given}})

    connector.connect = pinned
    try:
        yield
    finally:
        connector.connect = connect


def _connect(stack: ExitStack, resource: "SnowflakeResource", found: dict[str, str]) -> Any:
    from snowflake.connector.errors import Error

    try:
        return stack.enter_context(resource.get_connection())
    except Error as error:
        raise refused(str(error), found, error.errno) from None


def refused(said: str, found: Mapping[str, str], number: int | None = None) -> WarehouseError:
    """One line for a login that failed: with the variable to correct, or in the server's own words; never a secret."""
    named = {key: found.get(key, "") for key in SETTINGS if key not in _SECRETS}
    named |= {
        "key_variable": SETTINGS["private_key_path" if "private_key_path" in found else "private_key"],
        "token_variable": SETTINGS["token_file_path" if "token_file_path" in found else "token"],
        "workload": found.get("workload_identity_provider", ""),
    }
    # An account may be called warehouse.
    said = re.sub(r"^.*Failed to connect to DB: \S+?:\d+\. ", "", said, flags=re.DOTALL)
    # The number first: a text that never came from Snowflake may hold any word.
    if number not in _NO_ANSWER:
        for refusal in REFUSALS:
            if any(sign in said.lower() for sign in refusal.signs):
                return RefusedLoginError(refusal.sentence.format(**named), is_of_the_secret=refusal.is_of_the_secret)
        return RefusedLoginError(f"Snowflake refuses the sign-in, and says: {_quoted(said, found)}", False)
    address = f"{found.get('protocol', 'https')}://{found.get('host') or found['account'] + '.snowflakecomputing.com'}"
    return WarehouseError(UNREACHABLE.format(**named, address=address))


def _quoted(said: str, found: Mapping[str, str]) -> str:
    """In one line that is not endless, without what signs in."""
    for secret in sorted((found[key] for key in _SECRETS if found.get(key)), key=len, reverse=True):
        said = said.replace(secret, "***")
    words = re.sub(r"\s+", " ", said).strip()
    return words if len(words) <= 300 else f"{words[:300]} ..."
