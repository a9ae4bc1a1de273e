"""The syntax of SEGMENTATION_ALERT_URLS, and texts without secrets.

Locks out: a mistyped address that shows up, password and all, in an error; a route that swallows the other severity; a
message that quotes an e-mail address or the value of a secret variable.
"""

import pytest

from segmentation_assets.alerts.messages import LONGEST_TEXT, ui_url, without_secrets
from segmentation_assets.alerts.receivers import receivers
from segmentation_assets.settings import Settings


def test_an_address_without_severities_is_for_all() -> None:
    (found,), problems = receivers("slack://token-a/token-b/token-c/?x=error")
    assert (found.severities, found.name, problems) == (("error", "warn"), "slack (address 1)", [])
    assert found.url == "slack://token-a/token-b/token-c/?x=error"


def test_severities_stand_in_front() -> None:
    found, problems = receivers("error=pagerduty://key@app  warn=json://host/hook\nERROR,warn=mailto://a:b@example.org")
    assert [one.severities for one in found] == [("error",), ("warn",), ("error", "warn")]
    assert [one.url for one in found] == ["pagerduty://key@app", "json://host/hook", "mailto://a:b@example.org"]
    assert problems == []


def test_an_address_named_twice_is_one_receiver() -> None:
    found, _ = receivers("error=json://host/hook json://other warn=json://host/hook")
    assert [(one.name, one.severities) for one in found] == [
        ("json (address 1)", ("error", "warn")),
        ("json (address 2)", ("error", "warn")),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fatal=json://user:topsecret@host", "Address 1 of SEGMENTATION_ALERT_URLS is for fatal; the severities are"),
        ("json://fine topsecret", "Address 2 of SEGMENTATION_ALERT_URLS is none: write scheme://..."),
        ("=json://topsecret", "Address 1 of SEGMENTATION_ALERT_URLS is none: write scheme://..."),
    ],
)
def test_a_mistyped_address_is_named_by_its_place(text: str, said: str) -> None:
    _, (problem,) = receivers(text)
    assert problem.startswith(said)
    assert "topsecret" not in problem


def test_a_receiver_gives_nothing_of_its_address_away() -> None:
    (found,), _ = receivers("json://user:topsecret@host/path")
    assert "topsecret" not in f"{found!r} {found.name} {found.key}"
    assert found.key == receivers("json://other json://user:topsecret@host/path")[0][1].key, "wherever it stands"
    assert found.key != receivers("json://user:topsecret2@host/path")[0][0].key


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_none(empty: str) -> None:
    assert receivers(empty) == ([], [])


def test_a_text_loses_addresses_and_secrets_and_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "open sesame")
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "")
    told = without_secrets("3 rows, first <jo.e+x@mail.example.com>: sesame at https://me:pw@host/x; 4.9 % at least 5")
    assert told == "3 rows, first <[e-mail address]>: [secret] at https://host/x; 4.9 % at least 5"
    assert len(without_secrets("x" * 9999)) == LONGEST_TEXT + len(" ...")


def test_links_lead_where_people_open_the_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGMENTATION_UI_URL", raising=False)
    ui = Settings.from_environment().ui_url
    assert ui_url(ui, "runs", "abc") == "http://127.0.0.1:3000/runs/abc"
    monkeypatch.setenv("SEGMENTATION_UI_URL", "https://dagster.example.org/prefix/")
    ui = Settings.from_environment().ui_url
    assert ui_url(ui, "assets", "a b", view="checks") == "https://dagster.example.org/prefix/assets/a%20b?view=checks"


@pytest.mark.parametrize(
    "written",
    [
        "ada@example.com",
        "ada%40example.com",
        "ada%2540example.com",
        "%61da%40example%2ecom",
        "ada&#64;example.com",
        "ada\uff20example.com",
        "\uff41\uff44\uff41\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d",
        "ada\u200b@\u200bexample.com",
        '"ada"@example.com',
        "https://crm.example.org/find?mail=ada%40example.com",
        "x@example.org,ada%40example.com",
    ],
)
def test_an_address_is_found_however_it_is_written(written: str) -> None:
    said = without_secrets(f"Row 7 holds {written} twice")
    assert said.startswith("Row 7 holds ")
    assert said.endswith(" twice")
    # In the address of a page, what stands before an @ is taken for a login, and goes without a word.
    assert "[e-mail address]" in said or "://" in written
    for part in ("ada", "\uff41\uff44\uff41", "%61", "%40"):
        assert part not in said


@pytest.mark.parametrize("name", ["WAREHOUSE_URI", "DATABASE_URL", "AIRFLOW_CONN_X", "BROKER"])
@pytest.mark.parametrize("shown", ["p%40ss/w0rd", "p@ss/w0rd", "p%40ss%2Fw0rd"])
def test_the_password_of_any_login_address_is_removed(monkeypatch: pytest.MonkeyPatch, name: str, shown: str) -> None:
    monkeypatch.setenv(name, "postgresql+psycopg2://dagster:p%40ss/w0rd@db.example.org:5432/dagster")
    said = without_secrets(f"could not sign in with {shown} (postgresql://dagster:{shown}@db.example.org:5432/dagster)")
    assert "w0rd" not in said
    assert said.startswith("could not sign in with [secret] (postgresql://")


def test_what_holds_nothing_secret_stays_as_it_is() -> None:
    said = "95%25 of caf\u00e9 100% \uff21 &amp; a%20b https://example.org/a?b=c%2Fd, 1 < 2\n  next line"
    assert without_secrets(said) == said


@pytest.mark.parametrize("call", ["@everyone", "@here", "<!channel>", "<!here>", "<@U024BE7LH>", "<@&123>"])
def test_nobody_is_called_by_what_a_segment_is_named(call: str) -> None:
    said = without_secrets(f"{call} holds 3 %")
    assert call not in said
    assert said.replace("\N{ZERO WIDTH SPACE}", "") == f"{call} holds 3 %"
