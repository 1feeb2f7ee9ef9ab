"""The platform as its clients see it: the real application, and a real writer on a real socket, in this process."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from system.app import make_app
from system.database import Base, engine_for
from system.settings import Settings
from system.writer import open_lane

PASSWORD = "correct horse battery"


class Front:
    """Serves while the block runs. Calls are made from the test's thread, one after the other."""

    def __init__(self, directory: Path, url: str, **settings: Any) -> None:
        self.config = Settings(DATABASE_URL=url, runtime=directory, **settings)  # type: ignore[call-arg]
        engine = engine_for(url, writer=True)
        Base.metadata.create_all(engine)
        engine.dispose()
        self._writer = open_lane(self.config)
        self._writing = threading.Thread(target=self._writer.serve)
        self._runner = asyncio.Runner()
        self._looping = threading.Thread(target=self._runner.get_loop().run_forever)
        self._numbers = itertools.count(1)
        self._regular = ""

    def __enter__(self) -> Front:
        self._writing.start()
        self._looping.start()
        app, edge = make_app(self.config)
        self.app = app
        self.edge = edge
        self._lifespan = app.router.lifespan_context(app)
        self.run(self._lifespan.__aenter__())
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=edge), base_url="http://gym")
        self.until(lambda: self.call("GET", "/health/ready").status_code == 200)
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self._runner.get_loop().call_soon_threadsafe(self._runner.get_loop().stop)
        self._looping.join()
        self._runner.close()
        self._writer.stop()
        self._writing.join()
        self._writer.close()
        self._writer.lane.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        op: str | None = None,
        raw: bytes | None = None,
    ) -> httpx2.Response:
        """The response to one request. A write gets an operation id of its own unless `op` names one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method != "GET":
            headers["Operation-Id"] = op or f"front.{next(self._numbers)}"
        content: dict[str, Any] = {"content": raw} if raw is not None else {"json": body} if body is not None else {}
        response: httpx2.Response = self.run(self._client.request(method, path, headers=headers, **content))
        return response

    def ask(self, *requests: dict[str, Any]) -> list[httpx2.Response]:
        """The responses to requests that are made at once, as they are given, with no cookie but their own."""

        async def at_once() -> list[httpx2.Response]:
            found = await asyncio.gather(*(self._client.request(**one) for one in requests))
            self._client.cookies.clear()
            return list(found)

        responses: list[httpx2.Response] = self.run(at_once())
        return responses

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Returns once the condition holds; fails the test when it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the platform did not get there in time"
            time.sleep(0.01)

    def join(self, name: str) -> tuple[int, str]:
        """Id and token of a new user who has logged in."""
        user = self.call("POST", "/users", {"name": name, "password": PASSWORD})
        assert user.status_code == 201, user.text
        session = self.call("POST", "/sessions", {"name": name, "password": PASSWORD})
        assert session.status_code == 201, session.text
        return user.json()["id"], session.json()["token"]

    def regular(self) -> str:
        """The token of a user who is there for whoever needs one, and is never changed."""
        if not self._regular:
            _, self._regular = self.join("regular")
        return self._regular

    def run(self, work: Any) -> Any:
        """What the coroutine returns, run where the platform runs."""
        return asyncio.run_coroutine_threadsafe(work, self._runner.get_loop()).result(30)
