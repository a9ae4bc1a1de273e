"""The service of deploy/: real Postgres, code server, daemon, both web servers and nginx, as compose.yaml starts them.

Locks out: an alert told twice or never because the storage is Postgres; a run that only works on SQLite; a web page
that acts in the name of who is signed in; a viewer who starts runs; a check reported as passed by anybody.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer

from segmentation_assets.alerts.outbox import Outbox
from tests.support import service
from tests.support.alert_receiver import Receiver
from tests.support.command_line import CHECKOUT, settings
from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.own_runs import alert_tick, portfolio
from tests.support.published_months import CANDIDATE_ASSETS, PUBLISHED_ASSETS

NOVEMBER = date(2025, 11, 1)
GOOD = {TRAVELERS: 24, DECLINING: 16, GROWING: 24, BUDGET: 46, STABLE: 90}
NAME = "dagster.example.org"
PASSWORDS = {"ada": "act-1815", "vera": "view-1928", "ADA": "shout-1843"}  # ada may act, vera and ADA may look
HARMLESS = "mutation { setNuxSeen }"
LAUNCH = """
mutation($execution: ExecutionParams!) {
  launchPipelineExecution(executionParams: $execution) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
MADE = dg.AssetKey(["gold", "segment_summary"])
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2VnbWVudGF0aW9uLi4uLg==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
# The way of a month through the gate. What follows it is proved elsewhere.
WHAT_IS_RUN = [
    *(f"silver/stg_{name}" for name in ("transactions", "customers", "merchant_categories")),
    "silver/unknown_members",
    "silver/customer_contacts",
    "silver/segment_audit_overrides",
    "gold/segment_rules",
    *CANDIDATE_ASSETS,
    *PUBLISHED_ASSETS,
]
ONE_TICK = (
    "import dagster as dg; from tests.support.own_runs import alert_tick; print(alert_tick(dg.DagsterInstance.get()))"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with service.postgres() as url:
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return service.dagster_home(tmp_path_factory.mktemp("service") / "home")


@pytest.fixture(scope="module")
def configured(postgres: str, home: Path) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_POSTGRES_URL", postgres)
        patch.setenv("DAGSTER_HOME", str(home))
        yield patch


def failed_run(instance: dg.DagsterInstance, *, passes: bool = False) -> None:
    """A run of one asset with a warning and an error check; it fails unless both pass."""

    @dg.asset(key=MADE, check_specs=[dg.AssetCheckSpec("warns", asset=MADE), dg.AssetCheckSpec("stops", asset=MADE)])
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(check_name="warns", passed=passes, severity=dg.AssetCheckSeverity.WARN),
                dg.AssetCheckResult(check_name="stops", passed=passes),
            ]
        )

    @dg.asset(deps=[made])
    def ends() -> None:
        if not passes:
            raise dg.Failure("it broke")

    job = dg.define_asset_job("monthly_segmentation", tags=portfolio().tags)
    dg.Definitions(assets=[made, ends], jobs=[job]).resolve_job_def(job.name).execute_in_process(
        instance=instance, tags={"dagster/partition": "2025-11-01"}, raise_on_error=False
    )


def test_alerts_are_told_once_and_never_lost_on_postgres(configured: pytest.MonkeyPatch) -> None:
    with HTTPServer(threaded=True) as server:
        receiver = Receiver(server, "/everything")
        configured.setenv("SEGMENTATION_ALERT_URLS", receiver.url)
        receiver.mood = "refuses"
        with dg.DagsterInstance.get() as instance:
            assert type(instance.run_storage).__name__ == "PostgresRunStorage"
            failed_run(instance)
            alert_tick(instance)
        assert receiver.tried > 0
        assert not receiver.accepted
        receiver.mood = "takes"
        with dg.DagsterInstance.get() as instance:  # the daemon, started again
            outbox = Outbox.load(portfolio().notes(instance))
            for wait in outbox.waiting.values():
                wait.until = 0.0  # half a minute later
            outbox.save()
            alert_tick(instance)
            alert_tick(instance)
        by_another = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ONE_TICK],
            cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "0 new, 0 delivered, 0 waiting" in by_another.stdout
        assert sorted(receiver.titles) == [
            "[error] The run of 2025-11-01 failed",
            "[error] stops on segment_summary failed of 2025-11-01",
            "[warn] warns on segment_summary failed of 2025-11-01",
        ]
        with dg.DagsterInstance.get() as instance:
            failed_run(instance, passes=True)
            alert_tick(instance)
            alert_tick(instance)
        assert len(receiver.titles) == 5, receiver.titles
        assert sum("passes again" in title for title in receiver.titles) == 2
        assert not receiver.sent_twice()
    configured.delenv("SEGMENTATION_ALERT_URLS")


class ProxyConnection(http.client.HTTPSConnection):
    """To this machine, asking for the service's name as a browser would."""

    def connect(self) -> None:
        raw = socket.create_connection((self.host, self.port), 30)
        self.sock = self.tls.wrap_socket(raw, server_hostname=self.asked_for)

    def __init__(self, port: int, tls: ssl.SSLContext, asked_for: str = NAME) -> None:
        super().__init__("127.0.0.1", port, context=tls)
        self.tls, self.asked_for = tls, asked_for


@dataclass(frozen=True)
class Running:
    """The service as people reach it: through the proxy."""

    port: int
    editor_port: int
    certificate: Path
    duckdb_file: Path

    def ask(
        self,
        path: str,
        user: str | None = "ada",
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, str]:
        """Status and answer of the proxy."""
        sent = {"Host": NAME, "Content-Type": "application/json", **(headers or {})}
        if user:
            word = base64.b64encode(f"{user}:{PASSWORDS.get(user, 'guessed')}".encode()).decode()
            sent["Authorization"] = f"Basic {word}"
        data = None if body is None else json.dumps(body).encode()
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        connection = ProxyConnection(self.port, trusted)
        try:
            connection.request(method or ("POST" if data else "GET"), path, data, sent)
            answer = connection.getresponse()
            status = answer.status
            return status, "" if status == 101 else answer.read().decode(errors="replace")
        finally:
            connection.close()

    def query(self, text: str, user: str = "ada", **variables: Any) -> dict[str, Any]:
        status, answer = self.ask("/graphql", user, body={"query": text, "variables": variables})
        assert status == 200, answer
        return json.loads(answer)


@pytest.fixture(scope="module")
def running(postgres: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    nginx = service.program("nginx")
    folder = tmp_path_factory.mktemp("running")
    duckdb_file = folder / "segmentation.duckdb"
    with duckdb.connect(str(duckdb_file)) as connection:
        known_mix(NOVEMBER, GOOD).load(connection)
    code, editor, viewer, proxy = service.free_ports(4)
    environment = settings(
        DAGSTER_POSTGRES_URL=postgres,
        DAGSTER_HOME=str(home),
        SEGMENTATION_CODE_HOST="127.0.0.1",
        SEGMENTATION_CODE_PORT=str(code),
        SEGMENTATION_SOURCE="warehouse",
        SEGMENTATION_DUCKDB_PATH=str(duckdb_file),
        SEGMENTATION_EXPORT_URI=str(folder / "exports"),
        SEGMENTATION_AUTOSTART="1",
    )
    with ExitStack() as started:

        def start(words: list[str], port: int | None) -> None:
            log = started.enter_context((folder / f"{words[0].rpartition('/')[2]}-{port}.log").open("w"))
            process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
            started.callback(ended, process)
            if port is not None:
                service.wait_for(lambda: service.answers(port), f"{words[0]} does not answer on {port}")

        start(service.command("code", home, code), code)
        start(service.command("editor", home, editor), editor)
        start(service.command("viewer", home, viewer), viewer)
        start(service.command("daemon", home), None)
        files = proxy_files(folder, proxy, editor, viewer)
        start([nginx, "-c", str(files / "nginx.conf"), "-p", str(files)], proxy)
        yield Running(proxy, editor, files / "certificate.pem", duckdb_file)


def ended(process: subprocess.Popen[bytes]) -> None:
    """As a container is: a code server that evaluates a sensor has half a minute to finish it."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


def proxy_files(folder: Path, port: int, editor: int, viewer: int) -> Path:
    """nginx.conf.template filled in as the nginx image does it, with a certificate and two people of our own."""
    files = folder / "nginx"
    files.mkdir()
    write_certificate(files)
    (files / "editors").write_text("ada editor;\n")
    hashed = {
        name: subprocess.run(
            ["openssl", "passwd", "-6", password], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name, password in PASSWORDS.items()
    }
    (files / "passwords").write_text("".join(f"{name}:{word}\n" for name, word in hashed.items()))
    values = {
        "SERVER_NAME": NAME,
        "PORT": str(port),
        "EDITOR_ADDRESS": f"127.0.0.1:{editor}",
        "VIEWER_ADDRESS": f"127.0.0.1:{viewer}",
        "EDITORS_FILE": str(files / "editors"),
        "PASSWORDS_FILE": str(files / "passwords"),
        "CERTIFICATE": str(files / "certificate.pem"),
        "CERTIFICATE_KEY": str(files / "certificate.key"),
    }
    proxy = yaml.safe_load((service.DEPLOY / "compose.yaml").read_text())["services"]["proxy"]
    assert set(values) == set(proxy["environment"])
    template = (service.DEPLOY / "nginx.conf.template").read_text()
    for name, value in values.items():
        template = template.replace(f"${{{name}}}", value)
    assert "${" not in template.replace("in ${...}", "")
    places = "\n".join(
        f"{kind}_temp_path {files / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # its workers read pytest's folder, which is root's alone
    (files / "nginx.conf").write_text(
        f"{user} daemon off; pid {files / 'pid'}; error_log {files / 'error.log'};\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}\n{template}\n}}\n"
    )
    return files


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "certificate.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_nobody_gets_in_without_a_password(running: Running) -> None:
    assert running.ask("/server_info", None)[0] == 401
    assert running.ask("/server_info", "mallory")[0] == 401
    assert running.ask("/graphql", None, body={"query": "{ version }"})[0] == 401
    assert running.ask("/server_info")[0] == 200


def test_a_viewer_looks_and_does_not_act(running: Running) -> None:
    assert running.query("{ version }", "vera")["data"]["version"]
    for user in ("vera", "ADA"):
        launch = running.query(LAUNCH, user, execution=execution())["data"]["launchPipelineExecution"]
        assert launch["__typename"] == "UnauthorizedError", (user, launch)


def test_a_mutation_by_get_is_refused(running: Running) -> None:
    path = "/graphql?" + urllib.parse.urlencode({"query": HARMLESS})
    # What the proxy is for: the web server itself runs it.
    with urllib.request.urlopen(f"http://127.0.0.1:{running.editor_port}{path}", timeout=30) as answer:
        assert answer.status == 200
        assert "errors" not in json.loads(answer.read())
    for headers in ({}, {"Upgrade": "websocket", "Connection": "upgrade"}):
        assert running.ask(path, headers=headers)[0] == 403
    assert running.ask(path.replace("/graphql", "/graphql/", 1))[0] == 403
    assert running.ask(path, method="HEAD")[0] == 403


@pytest.mark.parametrize("origin", ["https://evil.example.org", f"http://{NAME}", f"https://{NAME}.evil.org", "null"])
def test_a_page_from_elsewhere_is_refused(running: Running, origin: str) -> None:
    body = {"query": HARMLESS}
    assert running.ask("/graphql", body=body, headers={"Origin": origin})[0] == 403
    assert running.ask("/graphql", headers={"Origin": origin, **WEBSOCKET})[0] == 403
    own = {"Origin": f"https://{NAME}:{running.port}"}
    assert running.ask("/graphql", body=body, headers=own)[0] == 200


def test_live_updates_reach_the_page(running: Running) -> None:
    own = {"Origin": f"https://{NAME}:{running.port}"}
    assert running.ask("/graphql", headers={**own, **WEBSOCKET})[0] == 101


def test_another_name_for_the_machine_is_refused(running: Running) -> None:
    assert running.ask("/server_info", headers={"Host": "evil.example.org"})[0] == 421
    trusted = ssl.create_default_context(cafile=str(running.certificate))
    connection = ProxyConnection(running.port, trusted, asked_for="evil.example.org")
    with pytest.raises(ssl.SSLError):
        connection.connect()


@pytest.mark.parametrize(
    "path",
    [
        "/report_asset_check/silver/segment_assignments?check_name=members_meet_their_criteria&passed=true",
        "/report_asset_materialization/gold/customer_segments",
        "/report_asset_observation/gold/customer_segments",
        "//report_asset_check/silver/segment_assignments?check_name=x&passed=true",
        "/%72eport_asset_check/silver/segment_assignments?check_name=x&passed=true",
        "/x/../report_asset_check/silver/segment_assignments?check_name=x&passed=true",
    ],
)
def test_nobody_reports_a_check_as_passed(running: Running, path: str) -> None:
    assert running.ask(path, body={})[0] == 403
    assert running.ask(path)[0] == 403


def execution() -> dict[str, Any]:
    return {
        "selector": {
            "repositoryLocationName": "customer_segmentation",
            "repositoryName": "__repository__",
            "pipelineName": "monthly_segmentation",
            "assetSelection": [{"path": asset.split("/")} for asset in WHAT_IS_RUN],
            "assetCheckSelection": [],
        },
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(NOVEMBER)}]},
    }


@pytest.mark.usefixtures("configured")
def test_a_run_started_by_an_editor_publishes_the_month(running: Running, home: Path) -> None:
    launched = running.query(LAUNCH, "ada", execution=execution())["data"]["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    found = {}

    def has_ended() -> bool:
        text = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        found["status"] = running.query(text, "vera", id=run_id)["data"]["runOrError"]["status"]
        return found["status"] in ("SUCCESS", "FAILURE", "CANCELED")

    service.wait_for(has_ended, f"the run is {found}", seconds=240)
    with dg.DagsterInstance.get() as instance:
        failures = [
            (event.message, event.dagster_event and event.dagster_event.event_specific_data)
            for event in instance.all_logs(run_id)
            if event.dagster_event_type in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE)
        ]
        assert found["status"] == "SUCCESS", failures
    with duckdb.connect(str(running.duckdb_file), read_only=True) as connection:
        (customers,) = connection.execute("select count(*) from gold.customer_segments").fetchall()[0]
    assert customers == sum(GOOD.values())
    alive = [str(Path(sys.executable).with_name("dagster-daemon")), "liveness-check"]
    subprocess.run(alive, check=True, capture_output=True, timeout=120, cwd=home)


def test_guesses_are_slowed_down_and_people_at_work_are_not(running: Running) -> None:
    """Last: this address is slow to get in for a while."""
    trusted = ssl.create_default_context(cafile=str(running.certificate))
    at_work = ProxyConnection(running.port, trusted)

    def ask(connection: http.client.HTTPSConnection, word: str) -> tuple[int, bool]:
        login = base64.b64encode(f"ada:{word}".encode()).decode()
        connection.request("GET", "/server_info", headers={"Host": NAME, "Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.will_close

    assert ask(at_work, PASSWORDS["ada"]) == (200, False)
    guesses: list[int] = []
    for number in range(200):
        guess = ProxyConnection(running.port, trusted)
        status, closes = ask(guess, f"guess-{number}")
        guesses.append(status)
        assert closes or status == 429
        guess.close()
    assert set(guesses) == {401, 429}
    assert guesses.count(429) > guesses.count(401) / 2
    assert [ask(at_work, PASSWORDS["ada"])[0] for _ in range(100)] == [200] * 100
    at_work.close()
