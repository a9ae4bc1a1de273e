"""The service as `make ui` runs it: code server, guarded web server and daemon, on free ports of loopback."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.command_line import settings

LOCATION = "segmentation_assets"
# A code server takes 10 s to load; this is for a machine that does much else.
START_SECONDS = 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def service(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The webserver's address, once its code location is loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    code, web = free_port(), free_port()
    workspace = folder / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
    script = Path(sys.executable).with_name
    grpc = ["api", "grpc", "-h", "127.0.0.1", "-p", str(code), "-m", "segmentation_assets.definitions"]
    guarded = [sys.executable, "-m", "segmentation_assets.ui.server"]
    commands = {
        "code": [str(script("dagster")), *grpc],
        "web": [*guarded, "-h", "127.0.0.1", "-p", str(web), "-w", str(workspace)],
        "daemon": [str(script("dagster-daemon")), "run", "-w", str(workspace)],
    }
    quiet = {
        "SEGMENTATION_AUTOSTART": "1",
        "DO_NOT_TRACK": "1",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": "ignore",
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, words in commands.items():
            log = (folder / f"{name}.log").open("wb")
            processes.append(
                subprocess.Popen(
                    words,
                    cwd=folder,
                    env=settings(**quiet, **environment),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
        address = f"http://127.0.0.1:{web}"
        wait_for_code(address, processes, folder)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_code(address: str, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    given_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < given_up_at:
        dead = [process.args for process in processes if process.poll() is not None]
        assert not dead, f"{dead}: {[log.read_text()[-2000:] for log in folder.glob('*.log')]}"
        try:
            found = graphql(
                address,
                "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }",
            )
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            found = None
        entries = found["workspaceOrError"]["locationEntries"] if found else []
        if entries and (entries[0]["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation":
            return
        time.sleep(0.5)
    raise AssertionError(f"not up: {[log.read_text()[-2000:] for log in folder.glob('*.log')]}")


def graphql(address: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())["data"]
