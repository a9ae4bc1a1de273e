"""A real HTTP receiver of alerts that fails, keeps people waiting and comes back, and counts what it took."""

import json
import re
import threading
import time
from collections import Counter
from typing import Literal

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class Receiver:
    def __init__(self, server: HTTPServer, path: str) -> None:
        self.url = server.url_for(path).replace("http://", "json://") + "?cto=1&rto=1"
        self.mood: Literal["takes", "refuses", "waits"] = "takes"
        self.accepted: list[dict[str, str]] = []
        self.tried = 0
        self.reached = threading.Event()
        server.expect_request(path).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        mood = self.mood
        self.tried += 1
        self.reached.set()
        if mood == "waits":
            time.sleep(2)  # longer than the sender waits
        if mood != "takes":
            return Response("not now", status=503)
        self.accepted.append(json.loads(request.get_data()))
        return Response("{}")

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.accepted]

    def body(self, title: str) -> str:
        (found,) = [message["message"] for message in self.accepted if message["title"] == title]
        return found

    def sent_twice(self) -> list[str]:
        references = Counter(re.findall(r"Reference: (\w+)", "\n".join(one["message"] for one in self.accepted)))
        return [reference for reference, times in references.items() if times > 1]
