"""Ways to sign in to Snowflake, and what a refused one is told as, without an account.

Locks out: a way in that plain dbt and the pipeline take differently, a secret of another way that is sent along, a
refusal that is told as a wrong address, an unknown one that is told as something it is not, and a secret in what is
told.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from segmentation_assets.errors import RefusedLoginError, SettingsError
from segmentation_assets.rules.load import load_rules
from segmentation_assets.settings import Settings, secret_values
from segmentation_assets.sources.star_schema import parts_of, refuse_unusable_mapping
from segmentation_assets.warehouse.snowflake import (
    REQUIRED,
    SETTINGS,
    SnowflakeWarehouse,
    connection_arguments,
    refused,
    settings,
)

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"
ACCOUNT = {
    "SEGMENTATION_TARGET": "snowflake",
    "SNOWFLAKE_ACCOUNT": "org-account",
    "SNOWFLAKE_DATABASE": "segmentation",
    "SNOWFLAKE_USER": "service",
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")).decode()


def found(**variables: str) -> dict[str, str]:
    return settings(Settings.from_environment({**ACCOUNT, **variables}).snowflake)


def profile(variables: Mapping[str, str]) -> dict[str, Any]:
    """The profile as plain dbt reads it: what is rendered to None is not there."""
    said = yaml.safe_load((ROOT / "dbt_models" / "profiles.yml").read_text())["segmentation"]["outputs"]["snowflake"]
    environment = jinja2.Environment(autoescape=False)
    words = {"env_var": lambda name, default: variables.get(name, default)}
    texts = {
        key: environment.from_string(value).render(words)
        for key, value in said.items()
        if isinstance(value, str) and "SNOWFLAKE_" in value and "as_number" not in value
    }
    return {key: text for key, text in texts.items() if text not in ("None", "")}


def test_a_key_is_taken_from_a_file_or_from_a_text_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_text(PEM)
    given = {"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "open sesame", "SNOWFLAKE_PASSWORD": SECRET}
    ways = [
        {**given, "SNOWFLAKE_PRIVATE_KEY_PATH": str(path)},
        {**given, "SNOWFLAKE_PRIVATE_KEY": PEM},
        {**given, "SNOWFLAKE_PRIVATE_KEY": PEM.strip().replace("\n", "\\n")},
    ]
    for variables in ways:
        arguments = connection_arguments(found(**variables))
        key = load_der_private_key(base64.b64decode(arguments["private_key"]), None)
        assert key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == KEY.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
        assert arguments["authenticator"] == "snowflake_jwt"
        assert "password" not in arguments
        of_dbt = profile(Settings.from_environment({**ACCOUNT, **variables}).for_dbt())
        assert len({"private_key", "private_key_path"} & set(of_dbt)) == 1
        assert "authenticator" not in of_dbt  # the connector sees the key
    from dbt.adapters.snowflake.auth import private_key_from_string

    of_dbt = profile(Settings.from_environment({**ACCOUNT, **ways[-1]}).for_dbt())
    read = private_key_from_string(of_dbt["private_key"], of_dbt["private_key_passphrase"])
    assert read.private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({"SNOWFLAKE_PASSWORD": SECRET}, {"authenticator": "snowflake", "password": SECRET}),
        (
            {"SNOWFLAKE_TOKEN": "t0ken", "SNOWFLAKE_AUTHENTICATOR": "OAUTH", "SNOWFLAKE_PASSWORD": SECRET},
            {"authenticator": "oauth", "token": "t0ken"},
        ),
        (
            {"SNOWFLAKE_TOKEN": "t0ken", "SNOWFLAKE_AUTHENTICATOR": "programmatic_access_token"},
            {"authenticator": "programmatic_access_token", "token": "t0ken"},
        ),
        (
            {"SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER": "aws", "SNOWFLAKE_PASSWORD": SECRET},
            {"authenticator": "workload_identity", "workload_identity_provider": "AWS"},
        ),
        (
            {
                "SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER": "OIDC",
                "SNOWFLAKE_AUTHENTICATOR": "workload_identity",
                "SNOWFLAKE_TOKEN": "t0ken",
            },
            {"authenticator": "workload_identity", "workload_identity_provider": "OIDC", "token": "t0ken"},
        ),
    ],
)
def test_only_the_way_that_is_taken_is_sent_and_dbt_takes_the_same(
    variables: dict[str, str], arguments: dict[str, str]
) -> None:
    sent = connection_arguments(found(**variables))
    secrets = {"password", "token", "private_key", "workload_identity_provider", "authenticator"}
    assert {key: value for key, value in sent.items() if key in secrets} == arguments
    assert (sent["account"], sent["database"], sent["user"]) == ("org-account", "segmentation", "service")
    assert ("platform_detection_timeout_seconds" in sent) is (arguments["authenticator"] != "workload_identity")
    of_dbt = profile(Settings.from_environment({**ACCOUNT, **variables}).for_dbt())
    assert of_dbt.get("authenticator", "snowflake") == arguments["authenticator"]
    for key in ("password", "token", "workload_identity_provider"):
        if key in arguments:
            assert of_dbt[key] == arguments[key]


def test_a_token_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    variables = {"SNOWFLAKE_TOKEN_FILE_PATH": str(path), "SNOWFLAKE_AUTHENTICATOR": "oauth", "SNOWFLAKE_USER": ""}
    with pytest.raises(SettingsError, match=r"SNOWFLAKE_TOKEN_FILE_PATH is \S+, which cannot be read"):
        found(**variables)
    account = Settings.from_environment({**ACCOUNT, **variables})
    for token in ("first", "second"):
        path.write_text(f"{token}\n")
        assert settings(account.snowflake)["token"] == token
        assert account.for_dbt()["SNOWFLAKE_TOKEN"] == token


@pytest.mark.parametrize("key", [*REQUIRED, "user"])
def test_a_setting_that_is_missing_is_an_error_before_any_import(key: str) -> None:
    given = {name: value for name, value in ACCOUNT.items() if name != SETTINGS[key]}
    with pytest.raises(SettingsError, match=SETTINGS[key]):
        settings(Settings.from_environment({**given, "SNOWFLAKE_PASSWORD": SECRET}).snowflake)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "No way to sign in is set: SNOWFLAKE_PRIVATE_KEY_PATH or SNOWFLAKE_PRIVATE_KEY"),
        ({"SNOWFLAKE_TOKEN": "x"}, "SNOWFLAKE_AUTHENTICATOR has to say what it is: oauth or programmatic_access_token"),
        ({"SNOWFLAKE_AUTHENTICATOR": "oauth"}, "SNOWFLAKE_AUTHENTICATOR is 'oauth', which needs SNOWFLAKE_TOKEN"),
        ({"SNOWFLAKE_PRIVATE_KEY": "x"}, "SNOWFLAKE_PRIVATE_KEY holds text, which cannot be used"),
        ({"SNOWFLAKE_AUTHENTICATOR": "externalbrowser"}, "it has to be one of: snowflake, snowflake_jwt, oauth"),
        ({"SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER": "ibm"}, "it has to be one of: AWS, AZURE, GCP, OIDC"),
        ({"SNOWFLAKE_LISTS_ROLE": "lists"}, "SNOWFLAKE_PERSONAL_DATA_TAG is not set"),
        ({"SNOWFLAKE_READER_ROLE": 'my"role'}, "a role is written without quotes"),
    ],
)
def test_what_cannot_be_used_is_told(variables: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        found(**variables)
    assert told in str(caught.value)


def test_a_star_schema_in_another_database_is_read_on_snowflake_alone() -> None:
    rules = load_rules(ROOT / "dbt_models")
    given = {**ACCOUNT, "SEGMENTATION_SOURCE_DATABASE": "lake", "SEGMENTATION_SOURCE_SCHEMA": "dwh"}
    settings = Settings.from_environment(given)
    refuse_unusable_mapping(settings, rules)
    assert parts_of(settings, rules, "dim_customer") == ["lake", "dwh", "dim_customer"]
    assert settings.for_dbt()["SEGMENTATION_SOURCE_DATABASE"] == "lake"
    for further, told in (
        ({"SEGMENTATION_SOURCE": "synthetic"}, "and a demo fills the target's, which is called 'segmentation'"),
        ({"SEGMENTATION_TARGET": "duckdb", "SEGMENTATION_DUCKDB_PATH": "/x/cards.duckdb"}, "which is called 'cards'"),
    ):
        with pytest.raises(SettingsError, match="SEGMENTATION_SOURCE_DATABASE is 'lake'") as caught:
            refuse_unusable_mapping(Settings.from_environment({**given, **further}), rules)
        assert told in str(caught.value)
    with pytest.raises(SettingsError, match="SEGMENTATION_SOURCE_DATABASE is 'my-lake', which Snowflake takes only"):
        Settings.from_environment({**given, "SEGMENTATION_SOURCE_DATABASE": "my-lake"})


def test_an_entry_of_the_connectors_file_gives_what_no_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snowflake.connector.config_manager import CONFIG_MANAGER

    file = tmp_path / "connections.toml"
    key = tmp_path / "key.p8"
    key.write_text(PEM)
    file.write_text(
        f'[segmentation]\naccount = "other-account"\nuser = "robot"\nprivate_key_file = "{key}"\n'
        'private_key_file_pwd = "open sesame"\nclient_session_keep_alive = true\n[another]\naccount = "x"\n'
    )
    file.chmod(0o600)
    slices = [one._replace(path=file) if one.section == "connections" else one for one in CONFIG_MANAGER._slices]
    monkeypatch.setattr(CONFIG_MANAGER, "_slices", slices)
    named = {"SEGMENTATION_TARGET": "snowflake", "SNOWFLAKE_DEFAULT_CONNECTION_NAME": "segmentation"}
    given = {**named, "SNOWFLAKE_DATABASE": "cards", "SNOWFLAKE_USER": " "}
    sent = settings(Settings.from_environment(given).snowflake)
    assert (sent["account"], sent["user"], sent["database"]) == ("other-account", "robot", "cards")
    assert (sent["authenticator"], sent["private_key_path"]) == ("snowflake_jwt", str(key))
    assert Settings.from_environment(given).for_dbt()["SNOWFLAKE_USER"] == "robot"
    # A secret of the environment is not mixed with one of the file.
    sent = settings(Settings.from_environment({**given, "SNOWFLAKE_PASSWORD": SECRET}).snowflake)
    assert (sent["authenticator"], sent["password"]) == ("snowflake", SECRET)
    with pytest.raises(SettingsError, match="has another, segmentation"):
        Settings.from_environment({**named, "SNOWFLAKE_DEFAULT_CONNECTION_NAME": "typo"})
    # Who runs on DuckDB may have the connector's variable set for something else.
    Settings.from_environment({"SNOWFLAKE_DEFAULT_CONNECTION_NAME": "typo"})


# What the server says, as seen in the field, and what is told.
SAID = [
    (390100, "Incorrect username or password was specified.", "SNOWFLAKE_PASSWORD", True),
    (
        394508,
        "MFA authentication is required, but none of your current MFA methods are supported for programmatic"
        " authentication.",
        "second factor",
        True,
    ),
    (390144, "JWT token is invalid. [0ce9eb56]", "RSA_PUBLIC_KEY", True),
    (390318, "OAuth access token expired. [0ce9eb56]", "The token of SNOWFLAKE_TOKEN has expired", True),
    (390303, "Invalid OAuth access token. [0ce9eb56]", "does not accept the token of SNOWFLAKE_TOKEN", True),
    (394400, "Programmatic access token is invalid.", "does not accept the token of SNOWFLAKE_TOKEN", True),
    (394401, "Network policy is required.", "only under a network policy", False),
    (
        390420,
        "Incoming request with IP/Token 203.0.113.9 is not allowed to access Snowflake. Contact your account"
        " administrator. For more information about this error, go to https://community.snowflake.com/s/ip-xxx.",
        "allowed_ip_list",
        False,
    ),
    (
        390102,
        "Your user account has been temporarily locked due to too many failed attempts. Try again after 15 minutes.",
        "is locked",
        False,
    ),
    (390101, "User access disabled. Contact your local system administrator.", "is disabled", False),
    (390186, "Role 'ANALYST' specified in the connect string is not granted to this user.", "SNOWFLAKE_ROLE", False),
    (390201, "The requested warehouse does not exist or not authorized.", "SNOWFLAKE_WAREHOUSE", False),
    (390201, "The requested database does not exist or not authorized.", "SNOWFLAKE_DATABASE", False),
    (399999, f"Some new\nrule that {SECRET} breaks.", "says: Some new rule that *** breaks.", False),
]


@pytest.mark.parametrize(("number", "said", "told", "is_of_the_secret"), SAID)
def test_a_refusal_is_told_as_what_it_is(number: int, said: str, told: str, is_of_the_secret: bool) -> None:
    signed_in_with = found(SNOWFLAKE_PASSWORD=SECRET)
    at = f"{number} (08001): None: Failed to connect to DB: role-warehouse.snowflakecomputing.com:443."
    error = refused(f"{at} {said}", signed_in_with, number)
    assert isinstance(error, RefusedLoginError)
    assert told in str(error)
    assert error.is_of_the_secret is is_of_the_secret
    assert SECRET not in str(error)
    assert len(str(error).splitlines()) == 1
    assert "No Snowflake answers" not in str(error)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (250001, "Could not connect to Snowflake backend after 2 attempt(s). role, user and warehouse"),
        (290404, "404 Not Found: post https://typo.snowflakecomputing.com:443/session/v1/login-request"),
    ],
)
def test_only_an_account_that_does_not_answer_is_told_as_one(number: int, said: str) -> None:
    error = refused(said, found(SNOWFLAKE_PASSWORD=SECRET), number)
    assert not isinstance(error, RefusedLoginError)
    assert str(error).startswith("No Snowflake answers at https://org-account.snowflakecomputing.com")


def test_what_is_kept_of_a_refused_login_is_no_secret_and_changes_with_it() -> None:
    def kept(password: str, salt: str) -> str:
        account = Settings.from_environment({**ACCOUNT, "SNOWFLAKE_PASSWORD": password}).snowflake
        return SnowflakeWarehouse(account).login_hash(salt)

    assert SECRET not in kept(SECRET, "salt")
    assert kept(SECRET, "salt") == kept(SECRET, "salt")
    assert len({kept(SECRET, "salt"), kept(SECRET, "other salt"), kept("another", "salt")}) == 3


def test_a_key_and_a_token_are_no_words_for_a_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY", PEM)
    monkeypatch.setenv("SNOWFLAKE_TOKEN", "t0ken-of-a-service")
    monkeypatch.setenv("SNOWFLAKE_TOKEN_FILE_PATH", str(tmp_path))
    hidden = secret_values()
    assert "t0ken-of-a-service" in hidden
    assert PEM.splitlines()[1] in hidden
    assert not {"PRIVATE", "KEY-----", "-----BEGIN", str(tmp_path)} & hidden


def test_the_service_is_given_its_key_as_a_secret() -> None:
    said = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    code = said["services"]["code"]
    for secret, name in (
        ("snowflake_key", "SNOWFLAKE_PRIVATE_KEY_PATH"),
        ("snowflake_token", "SNOWFLAKE_TOKEN_FILE_PATH"),
    ):
        assert secret in code["secrets"]
        assert code["environment"][name] == f"${{{name}:+/run/secrets/{secret}}}"
        assert said["secrets"][secret]["file"] == f"${{{name}:-/dev/null}}"
    others = [service for name, service in said["services"].items() if name != "code"]
    assert not [service for service in others if "secrets" in service]
