"""`segmentation ui` as a person starts it, and what a web page, another host name or an anonymous report get from it.

Locks out: a page that launches a run by GET, by a form or with its own Origin; one that reads runs by pointing its host
name at 127.0.0.1; one that listens on the web socket; a check that anybody reports as passed; a stock web server in
place of the guarded one after an upgrade of Dagster; a server that listens to the network.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.ui.guard import Guard
from tests.support.command_line import settings
from tests.support.ui_service import free_port, graphql, wait_for_code

MUTATION = "mutation { setNuxSeen }"
DEFINITIONS = "import dagster as dg\n\n\n@dg.asset\ndef one() -> None: ...\n\n\ndefs = dg.Definitions([one])\n"


@contextmanager
def development(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """What `segmentation ui` becomes, of a graph of one asset, which is there in seconds."""
    folder.mkdir()
    (folder / "one.py").write_text(DEFINITIONS, encoding="utf-8")
    words = ["-m", "segmentation_assets.ui.development", "-f", "one.py", "-h", "127.0.0.1", "-p", str(port)]
    environment = settings(DAGSTER_HOME=str(folder), DO_NOT_TRACK="1", DAGSTER_DISABLE_TELEMETRY="1")
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for_code(f"http://127.0.0.1:{port}", [process], folder)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui") / "home"


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    port = free_port()
    with development(home, port):
        yield port


def ask(port: int, method: str, path: str, body: str | None = None, **headers: str | None) -> int:
    """The status. A header of None is not sent; names are written with _ for -."""
    sent = {"Host": f"127.0.0.1:{port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        data = (body or "").encode()
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return connection.getresponse().status
    finally:
        connection.close()


def nux_is_seen(port: int) -> bool:
    return graphql(f"http://127.0.0.1:{port}", "{ shouldShowNux }")["shouldShowNux"] is False


def mutation(port: int, **headers: str | None) -> int:
    return ask(port, "POST", "/graphql", json.dumps({"query": MUTATION}), **headers)


JSON = "application/json"


def test_its_own_pages_and_a_local_script_are_served(port: int) -> None:
    assert ask(port, "GET", "/") == 200
    assert (
        ask(port, "GET", "/runs", Host=f"localhost:{port}", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
        == 200
    )
    assert ask(port, "GET", "/graphql", Accept="text/html") == 200
    own = f"http://127.0.0.1:{port}"
    query = json.dumps({"query": "{ version }"})
    assert ask(port, "POST", "/graphql", query, Content_Type=JSON, Origin=own, Sec_Fetch_Site="same-origin") == 200
    assert ask(port, "POST", "/graphql", query, Content_Type=f"{JSON}; charset=utf-8") == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example.org", "evil.example.org:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.org:{port}", None],
)
def test_another_host_name_is_refused(port: int, host: str | None) -> None:
    """A page may point its own name at 127.0.0.1, and is then of the same origin as what it reads there."""
    named = host and host.format(port=port)
    assert ask(port, "GET", "/", Host=named) in (400, 403)
    assert ask(port, "GET", "/server_info", Host=named) in (400, 403)
    assert mutation(port, Content_Type=JSON, Host=named) in (400, 403)


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "http://localhost"]
)
def test_another_origin_is_refused(port: int, origin: str) -> None:
    foreign = origin.format(port=port)
    assert mutation(port, Content_Type=JSON, Origin=foreign) == 403
    assert ask(port, "GET", "/", Origin=foreign) == 403
    assert ask(port, "OPTIONS", "/graphql", Origin=foreign, Access_Control_Request_Method="POST") == 403
    assert handshake(port, Origin=foreign) == 403
    assert not nux_is_seen(port)


def test_a_mutation_comes_by_json_post_or_not_at_all(port: int) -> None:
    asked = urllib.parse.urlencode({"query": MUTATION})
    for path in (f"/graphql?{asked}", f"/graphql/?{asked}", f"//graphql?{asked}", f"/graphq%6c?{asked}"):
        for method in ("GET", "HEAD"):
            assert ask(port, method, path) == 403
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
        "application/graphql",
        None,
    ):
        assert mutation(port, Content_Type=kind) == 403
        assert ask(port, "POST", f"/graphql?{asked}", Content_Type=kind) == 403
    for method in ("PUT", "PATCH", "DELETE"):
        assert ask(port, method, "/graphql", json.dumps({"query": MUTATION}), Content_Type=JSON) == 403
    assert mutation(port, Content_Type=JSON, Sec_Fetch_Site="cross-site") == 403
    assert ask(port, "GET", "/server_info", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors") == 403
    assert not nux_is_seen(port)


@pytest.mark.parametrize("path", ["report_asset_check", "report_asset_materialization", "report_asset_observation"])
def test_nobody_reports_what_happened_to_an_asset(port: int, home: Path, path: str) -> None:
    own = f"http://127.0.0.1:{port}"
    words = "one?check_name=any&passed=true"
    for headers in ({}, {"Origin": own}, {"Origin": "https://evil.example.org"}, {"Content_Type": JSON}):
        for spelled in (path, f"/{path}", path.replace("r", "%72", 1)):
            assert ask(port, "POST", f"/{spelled}/{words}", "{}", **headers) == 403
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            assert not instance.fetch_materializations(dg.AssetKey("one"), limit=1).records
            assert not instance.fetch_observations(dg.AssetKey("one"), limit=1).records


def handshake(port: int, path: str = "/graphql", **headers: str) -> int:
    """The status of a web socket's beginning: 101 where it is let in."""
    asked: Mapping[str, str] = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "c2VnbWVudGF0aW9uLi4uLg==",
        "Sec-WebSocket-Protocol": "graphql-ws",
        "Host": f"127.0.0.1:{port}",
        **headers,
    }
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items()), "", ""]
        opened.sendall("\r\n".join(lines).encode())
        return int(opened.recv(1024).split()[1])


def test_only_its_own_pages_open_the_web_socket(port: int) -> None:
    own = f"http://127.0.0.1:{port}"
    assert handshake(port, Origin=own) == 101
    assert handshake(port) == 403
    assert handshake(port, Origin=own, Host="evil.example.org") == 403
    assert handshake(port, Origin="https://evil.example.org") == 403


def test_a_mutation_of_its_own_pages_is_done(port: int) -> None:
    """After the refused ones: that they would have been seen."""
    assert not nux_is_seen(port)
    assert mutation(port, Content_Type=JSON, Origin=f"http://127.0.0.1:{port}") == 200
    assert nux_is_seen(port)


def test_it_listens_to_this_machine_alone(port: int, tmp_path: Path) -> None:
    listening = {
        address
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        for address, asked in [line.split()[1].split(":")]
        if int(asked, 16) == port and line.split()[3] == "0A"
    }
    assert listening == {"0100007F"}
    refused = subprocess.run(
        [sys.executable, "-m", "segmentation_assets.ui.server", "-h", "0.0.0.0", "-p", "1", "--empty-workspace"],
        cwd=tmp_path, env=settings(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "listens to 127.0.0.1 alone" in refused.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_with_everything_it_started(tmp_path: Path, number: signal.Signals, code: int) -> None:
    port = free_port()
    with development(tmp_path / "home", port) as process:
        os.kill(process.pid, number)
        assert process.wait(timeout=30) == code
    given_up_at = time.monotonic() + 20
    while members(process.pid) and time.monotonic() < given_up_at:
        time.sleep(0.2)
    assert not members(process.pid)


def members(group: int) -> list[str]:
    found = subprocess.run(["pgrep", "-g", str(group), "-a"], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if "defunct" not in line]


def test_the_guard_knows_what_it_lets_through() -> None:
    """Without a server: duplicates, which a client library would not send."""

    async def never(*_: object) -> None:
        raise AssertionError

    guard = Guard(never, 3000)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1:3000")]}
    assert guard.refusal(scope) is None
    twice = [(b"host", b"127.0.0.1:3000"), (b"host", b"evil.example.org")]
    assert guard.refusal({**scope, "headers": twice})
    origins = [(b"origin", b"http://127.0.0.1:3000"), (b"origin", b"https://evil.example.org")]
    assert guard.refusal({**scope, "headers": [*scope["headers"], *origins]})
