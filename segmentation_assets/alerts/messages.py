"""Alert messages: what failed, which month, measured against its bound, what that blocks, what to do, where to see.

Nothing is read here. Every text passes `without_secrets`: a failed test or a driver may quote an address or a password.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

import dagster as dg

from segmentation_assets.alerts.outbox import Alert
from segmentation_assets.alerts.receivers import Severity
from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import failed_rows, from_metadata
from segmentation_assets.settings import secret_values
from segmentation_assets.text import message

LONGEST_TEXT = 1500
_EMAIL = re.compile(r"(?:\"[^\"@]*\"|[^\s@<>\"'(),;:=]+)@[^\s@<>\"'(),;:]+")
# Up to the last @: a password may hold the signs that an address is made of.
_URL_LOGIN = re.compile(r"(?<=://)[^\s<>\"']*@")
SHORTEST_SECRET = 4
# An address may be encoded more than once on its way through links.
_MOST_DECODINGS = 5


def ui_url(ui: str, *path: str, **query: str) -> str:
    """An address in the Dagster UI, which SEGMENTATION_UI_URL says where to find."""
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return "/".join([ui, *(quote(part, safe="") for part in path)]) + (f"?{asked}" if asked else "")


def without_secrets(text: str) -> str:
    """No e-mail address, no login in an address, no value of a variable whose name says it is secret; shortened."""
    found = {word for word in secret_values() if len(word) >= SHORTEST_SECRET}
    secrets = sorted(found | {_folded(word) for word in found}, key=len, reverse=True)
    # Word by word, each also as it reads once full-width signs, percent signs and entities are written plainly; where
    # that holds nothing secret, the word stays as it was.
    words = [_without_secrets(word, secrets) for word in re.split(r"(\s+)", _replaced(text, secrets))]
    text = _EMAIL.sub("[e-mail address]", "".join(words)).strip()
    text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()} ..."
    return message(text)


def _without_secrets(word: str, secrets: Sequence[str]) -> str:
    plain = _folded(word)
    removed, removed_plain = _removed(word, secrets), _removed(plain, secrets)
    if removed_plain == plain:
        return removed
    # As it was, with less taken out of it, where nothing else is hidden in it.
    rest = _folded(removed)
    return removed if removed != word and _removed(rest, secrets) == rest else removed_plain


def _removed(word: str, secrets: Sequence[str]) -> str:
    return _EMAIL.sub("[e-mail address]", _URL_LOGIN.sub("", _replaced(word, secrets)))


def _replaced(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _folded(text: str) -> str:
    """As it reads: NFKC, without signs that are not seen, percent-encoding and entities decoded."""
    for _ in range(_MOST_DECODINGS):
        seen = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
        decoded = html.unescape(unquote(seen))
        if decoded == text:
            break
        text = decoded
    return text


def alert(
    identity: str, severity: Severity, title: str, lines: Iterable[tuple[str, str]], *, recovered: bool = False
) -> Alert:
    """Lines are (what it is, what to say); those with nothing to say are left out."""
    told = [(name, without_secrets(text) if not name.startswith("See") else text) for name, text in lines if text]
    made = Alert(identity, severity, without_secrets(f"[{'ok' if recovered else severity}] {title}"), "", recovered)
    made.body = "\n".join([*(f"{name}: {text}" for name, text in told), f"Reference: {made.reference}"])
    return made


def of_months(months: str) -> str:
    return f" of {months}" if months else ""


def failed_check(run_id: str, months: str, evaluation: dg.AssetCheckEvaluation, ui: str) -> Alert:
    name, asset = evaluation.check_name, evaluation.asset_key
    severity: Severity = "error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warn"
    audit = audits.BY_NAME.get(name) if asset.path[-1] == "segment_assignments" else None
    if severity == "warn":
        blocks = "Nothing: publication goes on."
    elif audit is not None:
        blocks = (
            f"Publication{of_months(months)}, its audiences and their files; what was published before stays as it is."
        )
    else:
        # A table of schema gold holds the new month by the time it is tested.
        blocks = f"Whatever the run would have made from {asset.to_user_string()}, which itself is written already."
    advice = audit.advice if audit else f"Look at the failed rows of {name}, mend the data, run the month again."
    return alert(
        f"check|{run_id}|{asset.to_user_string()}|{name}|{months}",
        severity,
        f"{name} on {asset.path[-1]} failed{of_months(months)}",
        [
            ("What", f"{name} on {asset.to_user_string()}"),
            ("Month", months),
            ("Measured", measured(evaluation, advice)),
            ("Blocks", blocks),
            ("What to do", advice),
            ("See the check", check_url(ui, asset, name)),
            ("See the run", ui_url(ui, "runs", run_id)),
        ],
    )


def measured(evaluation: dg.AssetCheckEvaluation, advice: str) -> str:
    """The check's findings; of a check that keeps none, what it says or counts. Values of rows are never quoted."""
    found = from_metadata(evaluation.metadata)
    if found:
        several = len({finding.month for finding in found}) > 1
        return "\n".join(
            f"{finding.month}: {finding.measurement}" if several else finding.measurement for finding in found
        )
    # Recorded by a version before findings, the description ends in the advice, which the message says elsewhere.
    said = "\n".join(line for line in (evaluation.description or "").splitlines() if line != advice)
    return said or failed_rows(evaluation.metadata) or "failed"


def recovered_check(
    run_id: str, asset: dg.AssetKey, name: str, months: str, severity: Severity, cause: str, ui: str
) -> Alert:
    return alert(
        f"recovered|{cause}",
        severity,
        f"{name} on {asset.path[-1]} passes again{of_months(months)}",
        [
            ("What", f"{name} on {asset.to_user_string()}, which had failed, passes"),
            ("Month", months),
            ("Earlier message", cause),
            ("See the check", check_url(ui, asset, name)),
            ("See the run", ui_url(ui, "runs", run_id)),
        ],
        recovered=True,
    )


def failed_run(run_id: str, job: str, months: str, reason: str, ui: str, *, tried_again: bool) -> Alert:
    return alert(
        f"run|{run_id}",
        "error",
        f"The run{of_months(months)} failed",
        [
            ("What", f"run {run_id[:8]} of {job}"),
            ("Month", months),
            ("Why", reason or "The run ended without saying why: its process was killed, or never started."),
            ("Blocks", "What the run had yet to make. Every table is whole: of the new month or as it was."),
            (
                "What to do",
                "Nothing yet: Dagster runs it again by itself."
                if tried_again
                else "Mend the cause, then run the month again (`make month MONTH=...`, or Re-execute in the UI).",
            ),
            ("See the run", ui_url(ui, "runs", run_id)),
        ],
    )


def failed_tick(name: str, day: str, reason: str, ui: str) -> Alert:
    return alert(
        f"tick|{name}|{day}",
        "error",
        f"{name} could not look on {day}",
        [
            ("What", f"a tick of {name} failed; it is told once a day while it lasts"),
            ("Why", reason),
            ("Blocks", "Whatever it would have started, until one of its ticks succeeds."),
            ("What to do", "Mend the cause; it looks again by itself."),
            ("See", ui_url(ui, "automation")),
        ],
    )


def missed_month(month: str, since: str, ui: str) -> Alert:
    return alert(
        f"missed|{month}",
        "error",
        f"The scheduled run of {month} was missed",
        [
            ("What", f"the schedule's tick of {since} started no run: the daemon was down, or the schedule was off"),
            ("Month", month),
            ("Blocks", f"Publication of {month}, until its run is done."),
            ("What to do", "Nothing: the missed months are run now, oldest first. See why the daemon was down."),
            ("See", ui_url(ui, "runs")),
        ],
    )


def overdue_month(month: str, since: str, missing: str, ui: str) -> Alert:
    return alert(
        f"overdue|{month}",
        "error",
        f"{month} is overdue",
        [
            ("What", f"{month} should have been published by {since}, and is not"),
            ("Month", month),
            ("Measured", missing),
            ("Blocks", f"Publication of {month}, its audiences and their files; the month before stays the newest."),
            ("What to do", "See why the load is late. The month is run by itself once its facts are there."),
            ("See", ui_url(ui, "runs")),
        ],
    )


def published_after_all(month: str, ui: str) -> Alert:
    return alert(
        f"recovered|overdue|{month}",
        "error",
        f"{month} is published after all",
        [("What", f"{month}, which was overdue, is published"), ("Month", month), ("See", ui_url(ui, "runs"))],
        recovered=True,
    )


def check_url(ui: str, asset: dg.AssetKey, name: str) -> str:
    return ui_url(ui, "assets", *asset.path, view="checks", checkDetail=name)
