"""The emulator's server, which also writes down what it is asked: a line of JSON per login and per statement.

    python -m tests.support.recording_emulator PORT FILE

Each line has `asked` ("login" or "statement"), `session`, a number in the order of logins, and a statement its `sql`.
"""

import gzip
import json
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fakesnow.server import app

LOGIN, STATEMENT = "/session/v1/login-request", "/queries/v1/query-request"


class Recorder:
    """In front of the emulator: reads each request's body, writes the line, and passes the body on."""

    def __init__(self, record: Path) -> None:
        self._record, self._lock = record, threading.Lock()
        self._sessions: dict[str, int] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in (LOGIN, STATEMENT):
            await app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = await _whole(receive)

        async def once() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        if scope["path"] == STATEMENT:
            plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            session = self._sessions.get(headers.get("authorization", "").split('"')[1], 0)
            self._write({"asked": "statement", "session": session, "sql": json.loads(plain)["sqlText"]})
            await app(scope, once, send)
            return
        answer = bytearray()

        async def read(message: Any) -> None:
            answer.extend(message.get("body", b""))
            await send(message)

        await app(scope, once, read)
        session = len(self._sessions) + 1
        self._sessions[json.loads(answer)["data"]["token"]] = session
        self._write({"asked": "login", "session": session})

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock, self._record.open("a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")


async def _whole(receive: Any) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body.extend(message.get("body", b""))
        if not message.get("more_body"):
            return bytes(body)


def recorded(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def as_an_account_is_asked(asked: list[dict[str, Any]]) -> list[str]:
    """The statements of a record as they would be sent to an account.

    The emulator knows no scripting block, so what replaces months, or rows of outcomes, is sent to it one by one, from
    begin to commit, and the working table is dropped behind it: on an account all that is one statement. And its SHOW
    tells no comments, so it is asked for them where it keeps them.
    """
    sent: list[str] = []
    inside: dict[int, bool] = {}  # by session; False right behind a commit
    for line in asked:
        sql = " ".join(line.get("sql", "").split()).lower()
        if line["asked"] != "statement" or "_fs_tables_ext" in sql:
            continue
        was_inside = inside.get(line["session"])
        if sql.startswith("begin"):
            inside[line["session"]] = True
            sent.append("begin ... commit")
        elif was_inside:
            if sql.startswith(("commit", "rollback")):
                inside[line["session"]] = False
        elif was_inside is False and sql.startswith("drop table") and "__dbt_tmp" in sql:
            del inside[line["session"]]
        else:
            inside.pop(line["session"], None)
            sent.append(sql)
    return sent


if __name__ == "__main__":
    uvicorn.run(Recorder(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
