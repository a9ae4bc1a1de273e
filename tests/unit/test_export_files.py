"""What is in an export: addresses as advertisers hash them, text that no spreadsheet runs, the same bytes each time.

Locks out: an address hashed in another spelling than the platform's, a name that becomes a formula or breaks its row, a
negative number turned into text, and an added or removed list that does not lead from one month to the next.
"""

import csv
import hashlib
import io
import unicodedata
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmentation_assets.exports import files as export_files
from segmentation_assets.exports.files import Audience, Baseline
from segmentation_assets.exports.store import ExportError
from segmentation_assets.sources.formulas import begins_as_formula

OCTOBER, NOVEMBER = date(2025, 10, 1), date(2025, 11, 1)
SCHEMA = pa.schema(
    [
        ("snapshot_month", pa.date32()),
        ("campaign", pa.string()),
        ("audience_rank", pa.int64()),
        ("customer_id", pa.string()),
        ("email", pa.string()),
        ("first_name", pa.string()),
        ("last_name", pa.string()),
        ("lifetime_value", pa.decimal128(18, 2)),
        ("spend_change_pct", pa.float64()),
    ]
)
# By coreutils' sha256sum over the normalised address's bytes.
ANNA = "a17f04363433664cd9d60e8af78338ac2670046702a3616aeb0c6dad42dbc093"
JOSE = "b0a53cf19e34d05b57bced7365c6b00ddbe38d62957e863de2a66a56c3b42cea"
DOTTED = "f97fc4459ca269c8585324735646896d5a71bc89c47b226b66413acc13a9bf5d"
SHARP_S = "877f20e10f9eeef55d06f5b4e9f609e0345e4cffd43db5cccd905a0a9d848047"
S_CIRCUMFLEX = "c20718e9dede0b86d5d024ca278c8aae5eddc22d8bcc929ffc61f09f8e074a05"


def member(rank: int, customer_id: str, **given: Any) -> dict[str, Any]:
    return {
        "snapshot_month": NOVEMBER,
        "campaign": "churn_prevention",
        "audience_rank": rank,
        "customer_id": customer_id,
        "email": f"{customer_id.lower()}@example.com",
        "first_name": "Anna",
        "last_name": "Muster",
        "lifetime_value": Decimal("51000.50"),
        "spend_change_pct": -42.5,
        **given,
    }


def audience(*rows: dict[str, Any]) -> Audience:
    return Audience(
        campaign="churn_prevention",
        audience_code="audience-1a2b3c",
        segment="Declining",
        month=NOVEMBER,
        schema=SCHEMA,
        rows=rows,
        waterfall={"in_segment": 9, "holdout": 1, "sent": len(rows)},
        left_since=0,
        suppressed_since=0,
        publication={
            "run_id": "run-1",
            "rules_hash": "rules-1",
            "version": 2,
            "content_hash": "content-1",
            "audits_verdict": "passed",
        },
        audits_passed=["an_audit"],
    )


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize(
    ("address", "sha256"),
    [
        pytest.param("anna.muster@example.com", ANNA, id="as it should be"),
        pytest.param("  Anna.Muster@EXAMPLE.com\t\n", ANNA, id="blanks and capitals"),
        pytest.param("\u00a0anna.muster@example.com\u2003", ANNA, id="Unicode blanks"),
        pytest.param("jos\u00e9@example.com", JOSE, id="composed"),
        pytest.param("jose\u0301@example.com", JOSE, id="decomposed"),
        pytest.param("JOSE\u0301@EXAMPLE.COM", JOSE, id="decomposed capital"),
        pytest.param("\u0130RIS@example.com", DOTTED, id="Turkish dotted capital"),
        pytest.param("I\u0307RIS@example.com", DOTTED, id="Turkish dotted capital, decomposed"),
        pytest.param("STRA\u00dfE@example.com", SHARP_S, id="sharp s is lowered, not folded to ss"),
        pytest.param("S\u0302@example.com", S_CIRCUMFLEX, id="composes"),
    ],
)
def test_addresses_hash_to_the_golden_vectors(address: str, sha256: str) -> None:
    assert export_files.hashed_email(address) == sha256


def test_another_address_has_another_hash() -> None:
    assert export_files.hashed_email("annamuster@example.com") != ANNA  # dots count
    assert export_files.hashed_email("strasse@example.com") != SHARP_S


SIGNS = ["=", "+", "-", "@", ";", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\uff1b", "\ufe66"]
UNSEEN = [
    "",
    " ",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u2060",
    "\u3000",
    "\u00ad",
    "\x00",
    "\u202e",
    "\U000e0020",
    " \ufeff\u200b ",
]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("unseen", UNSEEN)
def test_text_that_begins_like_a_formula_is_marked(unseen: str, sign: str) -> None:
    name = f"{unseen}{sign}1+1"
    (row,) = read(export_files.csv_bytes(["name"], [{"name": name}]))
    assert row["name"] == f"'{name}"


def test_nothing_that_nobody_sees_is_missing_before_a_formula() -> None:
    """Every control, format and blank character that this Python knows of."""
    unseen = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zs", "Zl", "Zp"}
    ]
    assert len(unseen) > 200
    assert [f"{ord(one):x}" for one in unseen if not begins_as_formula(f"{one}=1")] == []


@given(st.text(alphabet=st.one_of(st.sampled_from([*"'=+-@; ab1\t\r\n", "\u200b", "\uff1d"]), st.characters())))
@example("'=1")
@example("''")
@example("'t Hooft")
def test_the_mark_can_be_undone(name: str) -> None:
    """As the manifest says: one apostrophe less where there is one."""
    written = export_files.cell(name)
    assert (written[1:] if written.startswith("'") else written) == name
    assert not begins_as_formula(written)


@pytest.mark.parametrize(
    "name", ["-1A", "+42", "=1+1", "@home", "'x", " 7", "007", "1E5", "\ufeffA", "a,b", 'a"b', "a\rb"]
)
@pytest.mark.parametrize("file", ["full.csv", "added.csv", "removed.csv", "full.parquet"])
def test_a_key_comes_back_as_it_was(name: str, file: str) -> None:
    listed = () if file == "removed.csv" else (member(1, name, email="a@example.com"),)
    content = export_files.files_of(audience(*listed), Baseline(OCTOBER, frozenset({name} if not listed else {"Z"})))[
        file
    ].content
    if file.endswith(".parquet"):
        assert export_files.customers_in(content) == {name}
    else:
        assert [row["customer_id"] for row in read(content)] == [name]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (-3.5, "-3.5"),
        (-7, "-7"),
        (Decimal("-3.50"), "-3.50"),
        (Decimal("1E+3"), "1000"),
        (None, ""),
        (True, "true"),
        (NOVEMBER, "2025-11-01"),
        ("O'Brien", "O'Brien"),
        ("'t Hooft", "''t Hooft"),
        ("Anne-Marie", "Anne-Marie"),
    ],
)
def test_numbers_and_ordinary_text_stay_as_they_are(value: object, written: str) -> None:
    assert export_files.cell(value) == written


@pytest.mark.parametrize("name", ['say "hi"', "a, b", "two\nlines", "two\r=1+1", "a\r\nb", "Zo\u00eb", "\u674e"])
def test_any_name_is_read_back_in_one_row(name: str) -> None:
    content = export_files.csv_bytes(["name", "after"], [{"name": name, "after": 1}, {"name": "x", "after": 2}])
    assert [(row["name"], row["after"]) for row in read(content)] == [(name, "1"), ("x", "2")]


def test_the_csv_file_has_the_audience_in_order() -> None:
    files = export_files.files_of(audience(member(1, "B"), member(2, "A", last_name=None)), None)
    rows = read(files["full.csv"].content)
    assert list(rows[0]) == SCHEMA.names
    assert [(row["audience_rank"], row["customer_id"], row["last_name"]) for row in rows] == [
        ("1", "B", "Muster"),
        ("2", "A", ""),
    ]
    assert rows[0]["lifetime_value"] == "51000.50"
    assert rows[0]["spend_change_pct"] == "-42.5"


def test_the_parquet_file_has_the_types_of_the_schema_and_the_names_unmarked() -> None:
    rows = (member(1, "A", first_name="=1+1"), member(2, "B", lifetime_value=7, spend_change_pct=None))
    table = pq.read_table(io.BytesIO(export_files.files_of(audience(*rows), None)["full.parquet"].content))
    assert table.schema.equals(SCHEMA)
    assert table.column("first_name").to_pylist() == ["=1+1", "Anna"]
    assert table.column("lifetime_value").to_pylist() == [Decimal("51000.50"), Decimal("7.00")]
    assert table.column("spend_change_pct").to_pylist() == [-42.5, None]


def test_a_value_of_another_type_is_named_by_its_column_alone() -> None:
    with pytest.raises(ExportError, match="audience_rank") as caught:
        export_files.files_of(audience(member(1, "A", audience_rank="a@example.com")), None)
    assert "@" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_empty_audience_gives_files_of_headers() -> None:
    files = export_files.files_of(audience(), None)
    assert {name: file.rows for name, file in files.items()} == dict.fromkeys(files, 0)
    assert files["full.csv"].content.decode() == ",".join(SCHEMA.names) + "\n"
    assert files["ads.csv"].content == b"email_sha256\n"
    assert files["ads_google.csv"].content == b"audience_code,email_sha256\n"
    assert export_files.customers_in(files["full.parquet"].content) == frozenset()


def test_the_advertisers_file_has_hashes_in_their_own_order() -> None:
    members = [member(rank, name) for rank, name in enumerate("DCBA", start=1)]
    hashes = [row["email_sha256"] for row in read(export_files.files_of(audience(*members), None)["ads.csv"].content)]
    assert hashes == sorted(hashlib.sha256(f"{name}@example.com".encode()).hexdigest() for name in "abcd")


def test_each_platform_gets_its_own_hashes_once_under_the_neutral_code() -> None:
    written = ["a.da+x@gmail.com", "ADA@googlemail.com", "Ada@Gmail.com", "b.ob@Example.com"]
    files = export_files.files_of(audience(*(member(n, f"C{n}", email=one) for n, one in enumerate(written))), None)
    expected = {
        # Two spellings of one Google mailbox are one contact there; googlemail.com is another name Google keeps apart.
        "ads_google.csv": ["ada@gmail.com", "ada@googlemail.com", "b.ob@example.com"],
        "ads_meta.csv": ["a.da+x@gmail.com", "ada@googlemail.com", "ada@gmail.com", "b.ob@example.com"],
        "ads_generic.csv": ["a.da+x@gmail.com", "ada@googlemail.com", "ada@gmail.com", "b.ob@example.com"],
    }
    for name, contacts in expected.items():
        rows = read(files[name].content)
        assert files[name].rows == len(rows) == len(contacts)
        assert {row["audience_code"] for row in rows} == {"audience-1a2b3c"}
        hashes = [row["email_sha256"] for row in rows]
        assert hashes == sorted(hashlib.sha256(contact.encode()).hexdigest() for contact in contacts)
    for name in ("ads.csv", *expected):
        content = files[name].content.decode()
        assert not any(word in content.lower() for word in ("churn", "declining", "@"))


def test_who_must_not_be_reached_is_in_no_platforms_file_under_another_spelling() -> None:
    listed = audience(member(1, "A", email="a.da@gmail.com"), member(2, "B", email="bob@example.com"))
    files = export_files.files_of(replace(listed, closed=["Ada+shop@gmail.com"]), None)
    bob, ada = (hashlib.sha256(one).hexdigest() for one in (b"bob@example.com", b"a.da@gmail.com"))
    assert [row["email_sha256"] for row in read(files["ads_google.csv"].content)] == [bob]
    assert {row["email_sha256"] for row in read(files["ads_meta.csv"].content)} == {ada, bob}
    assert files["ads_google.csv"].rows == 1


def test_added_and_removed_lead_from_the_baseline_to_the_list() -> None:
    baseline = Baseline(OCTOBER, frozenset({"A", "Z", "Y"}))
    files = export_files.files_of(audience(member(1, "A"), member(2, "B")), baseline)
    assert [row["customer_id"] for row in read(files["added.csv"].content)] == ["B"]
    assert read(files["removed.csv"].content) == [
        {"snapshot_month": "2025-11-01", "campaign": "churn_prevention", "customer_id": name} for name in "YZ"
    ]


def test_without_a_baseline_everybody_is_added() -> None:
    files = export_files.files_of(audience(member(1, "A"), member(2, "B")), None)
    assert files["added.csv"].content == files["full.csv"].content
    assert files["removed.csv"].rows == 0


def test_the_same_audience_gives_the_same_bytes_and_another_one_others() -> None:
    first, again, other = (
        export_files.files_of(audience(member(1, "A"), member(2, name)), None) for name in ("B", "B", "C")
    )
    assert {name: file.content for name, file in first.items()} == {name: file.content for name, file in again.items()}
    assert export_files.version_of(first) == export_files.version_of(again) != export_files.version_of(other)


def test_the_manifest_says_what_the_files_are_and_where_they_come_from() -> None:
    baseline = Baseline(OCTOBER, frozenset({"Z"}))
    listed = audience(member(1, "A"))
    files = export_files.files_of(listed, baseline)
    manifest = export_files.manifest_of(listed, files, baseline, None)
    assert manifest["snapshot_month"] == "2025-11-01"
    assert manifest["as_of_date"] == "2025-12-01"
    assert (manifest["run_id"], manifest["rules_hash"]) == ("run-1", "rules-1")
    assert manifest["waterfall"] == {"in_segment": 9, "holdout": 1, "sent": 1}
    assert manifest["audits_passed"] == ["an_audit"]
    assert manifest["compared_with"]["snapshot_month"] == "2025-10-01"
    ads = {"ads.csv", "ads_google.csv", "ads_meta.csv", "ads_generic.csv"}
    assert set(manifest["files"]) == {"full.csv", "full.parquet", "added.csv", "removed.csv"} | ads
    assert manifest["audience_code"] == "audience-1a2b3c"
    assert all(("normalisation" in entry) == (name in ads) for name, entry in manifest["files"].items())
    for name, file in files.items():
        entry = manifest["files"][name]
        assert entry["sha256"] == hashlib.sha256(file.content).hexdigest()
        assert (entry["rows"], entry["bytes"]) == (1, len(file.content))
        assert entry["path"] == f"{manifest['version']}/{name}"


def test_the_manifest_says_how_each_column_is_written() -> None:
    listed = audience(member(1, "A"))
    files = export_files.files_of(listed, None)
    manifest = export_files.manifest_of(listed, files, None, None)
    kinds = {"campaign": "text", "customer_id": "key", "email": "text", "first_name": "text", "last_name": "text"}
    numbers = dict.fromkeys(("audience_rank", "lifetime_value", "spend_change_pct"), "number")
    assert manifest["files"]["full.csv"]["columns"] == {"snapshot_month": "date", **kinds, **numbers}
    assert manifest["files"]["full.parquet"]["columns"]["lifetime_value"] == "decimal128(18, 2)"
    for name, entry in manifest["files"].items():
        if name.endswith(".csv"):
            assert list(entry["columns"]) == files[name].content.decode().splitlines()[0].split(",")
            assert set(entry["columns"].values()) <= set(manifest["csv"]["kinds"])
    assert "remove one apostrophe" in manifest["csv"]["kinds"]["text"]


def test_a_rerun_writes_the_manifest_anew_as_it_was() -> None:
    old, new = audience(member(1, "A")), audience(member(1, "B"))
    old_files, new_files = export_files.files_of(old, None), export_files.files_of(new, None)
    first = export_files.manifest_of(old, old_files, None, None)
    second = export_files.manifest_of(new, new_files, None, first)
    assert (first["previous_version"], second["previous_version"]) == (None, first["version"])
    assert export_files.manifest_of(new, new_files, None, second) == second


def test_a_list_without_addresses_has_no_file_for_an_ad_platform_and_no_column_for_an_address() -> None:
    """A letter needs none: the files hold what the list has, and the manifest names the channel."""
    rows = [{name: value for name, value in member(rank, f"C{rank}").items() if name != "email"} for rank in (1, 2)]
    schema = pa.schema([field for field in SCHEMA if field.name != "email"])
    letters = replace(audience(), rows=rows, schema=schema, channel="mail")
    found = export_files.files_of(letters, Baseline(OCTOBER, frozenset({"C2", "C3"})))
    assert sorted(found) == ["added.csv", "full.csv", "full.parquet", "removed.csv"]
    assert [row["customer_id"] for row in read(found["full.csv"].content)] == ["C1", "C2"]
    assert [row["customer_id"] for row in read(found["added.csv"].content)] == ["C1"]
    assert not any("email" in file.columns for file in found.values())
    assert not any(b"@" in file.content for name, file in found.items() if name.endswith(".csv"))
    assert pq.read_schema(io.BytesIO(found["full.parquet"].content)).names == schema.names
    manifest = export_files.manifest_of(letters, found, None, None)
    assert manifest["channel"] == "mail"
    assert sorted(manifest["files"]) == sorted(found)
    by_mail = audience(member(1, "C1"))
    assert export_files.manifest_of(by_mail, export_files.files_of(by_mail, None), None, None)["channel"] == "email"
