"""A TCP proxy in front of the emulator that cuts the connection for good when a chosen statement is sent."""

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import BinaryIO


class CuttingProxy:
    """Passes plain HTTP on, request by request. Once it has cut, it refuses every connection: the network is gone."""

    def __init__(self, upstream_port: int, is_cut: Callable[[str], bool]) -> None:
        self._upstream_port = upstream_port
        self._is_cut = is_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.cut_at: str | None = None
        self.refused = 0
        self.passed: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut_at is not None:
                self.refused += 1
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with closing(client), closing(socket.create_connection(("127.0.0.1", self._upstream_port))) as upstream:
            self._open += [client, upstream]
            threading.Thread(target=_copy, args=(upstream, client), daemon=True).start()
            with client.makefile("rb") as reader:
                while self.cut_at is None and (request := _request(reader)):
                    head, body = request
                    sql = _sql(body)
                    if self._is_cut(sql):
                        self.cut_at = sql
                        break
                    self.passed.append(sql)
                    try:
                        upstream.sendall(head + body)
                    except OSError:
                        return
        if self.cut_at is not None:
            self.close_all()

    def close_all(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_all()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _request(reader: BinaryIO) -> tuple[bytes, bytes] | None:
    """Head and body of the next request, or None when the client has closed or the connection was cut."""
    head, length = b"", 0
    with suppress(OSError, ValueError):
        while line := reader.readline():
            head += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n":
                return head, reader.read(length)
    return None


def _sql(body: bytes) -> str:
    plain = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    try:
        return str(json.loads(plain).get("sqlText", ""))
    except ValueError:
        return ""


@contextmanager
def cutting_proxy(upstream_port: int, is_cut: Callable[[str], bool]) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(upstream_port, is_cut)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
