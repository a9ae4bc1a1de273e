"""A service as deploy/ describes it, on this machine: Postgres, and the commands and files of compose.yaml.

Needs Debian's packages postgresql and nginx-light.
"""

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SECONDS = 120


def program(name: str) -> str:
    """The path of a program that Debian keeps off a user's PATH. Skips where it is not installed; fails in CI."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        missing = f"{name} is not installed: apt-get install postgresql nginx-light"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def free_ports(number: int) -> list[int]:
    """Held together, so that they differ."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def wait_for(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"after {seconds:.0f} s: {what}")
        time.sleep(0.2)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty Postgres of its own, gone afterwards. It refuses to run as root."""
    initdb, server = program("initdb"), program("postgres")
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's: only its owner may pass through that one
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data, (port,) = folder / "data", free_ports(1)
    subprocess.run(
        [initdb, "--auth=trust", "--username=dagster", "--no-sync", "--pgdata", str(data)],
        user=user, cwd=folder, check=True, capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    arguments = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([server, *arguments], user=user, cwd=folder, stdout=log, stderr=log)
    try:
        ready = [program("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "Postgres is not up")
        yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def dagster_home(folder: Path) -> Path:
    """DAGSTER_HOME as the Dockerfile fills it."""
    folder.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(DEPLOY / name, folder)
    return folder


def command(service: str, home: Path, port: int | None = None) -> list[str]:
    """What compose.yaml starts for the service, with this machine's folder, port and loopback address."""
    words = shlex.split(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][service]["command"])
    words = [word.replace("/srv/dagster", str(home)).replace("0.0.0.0", "127.0.0.1") for word in words]
    if port is not None:
        words[words.index("--port") + 1] = str(port)
    return [str(Path(sys.executable).with_name(words[0])), *words[1:]]
