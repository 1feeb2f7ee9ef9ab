"""The application: routes, errors to problems, and what lives as long as the process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from system import (
    challenge_routes,
    health,
    metrics,
    notification_routes,
    operations_routes,
    periodic,
    tournament_routes,
    user_routes,
)
from system.admin import guard, pages, room
from system.admin.boards.board import Service
from system.admin.boards.live import Feeds
from system.admin.boards.recent import Recent
from system.admin.desk import open_desk
from system.admin.headers import of_admin
from system.admission import Door
from system.alerts.watch import Watch
from system.database import Limits, async_engine_for, engine_for, is_sqlite, sqlite_path
from system.dispatch import Dispatch
from system.edge import Edge
from system.errors import Invalid, NotFound, ServiceError
from system.failpoints import Failpoints
from system.lanes import Lanes
from system.modes import Modes
from system.openapi import docs_routes
from system.passwords import HashingPool
from system.problems import problem_bytes
from system.rates import Rates
from system.reads import LONG_READ_MS, LONG_READS, PostgresReads, Reads, SqliteReads
from system.reporting import events, history
from system.reporting.recorder import LAST_FLUSH_S, Recorder
from system.reporting.retention import Retention, prune
from system.settings import Settings
from system.slowness import Slowness
from system.status_files import StatusFiles

log = structlog.get_logger()


def open_reads(config: Settings) -> Reads:
    """Where this process reads the configured database."""
    url = config.database_url
    if is_sqlite(url):
        return SqliteReads(engine_for(url), sqlite_path(url))
    limits = Limits(
        connections=config.read_sessions,
        statement_ms=config.read_deadline_ms,
        lock_ms=config.lock_timeout_ms,
        idle_in_transaction_ms=config.idle_timeout_ms,
    )
    long = replace(limits, connections=LONG_READS, statement_ms=LONG_READ_MS)
    return PostgresReads(async_engine_for(url, limits), config.read_sessions, engine_for(url, limits=long))


def make_app(config: Settings) -> tuple[FastAPI, Edge]:
    """The application for this configuration, and the edge to serve it through.

    Raises Unguarded when a route of the admin part has no rule.

    Its lifespan opens the lanes and starts the watch and the periodic jobs; the database must be at the code's schema.
    """

    door = Door(config.request_places)
    modes = Modes(config.runtime_directory())
    rates = Rates(config.rate_requests, config.rate_window_s, config.rate_clients) if config.rate_requests else None
    recorder = Recorder(worker=config.worker)

    file = sqlite_path(config.database_url) if is_sqlite(config.database_url) else None
    status = StatusFiles(config.status_dir) if config.status_dir else None
    page = metrics.Page(config.port, config.runtime_directory(), file, status)
    alerts = Watch(config, page)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        lanes = Lanes(
            open_reads(config),
            config.runtime_directory(),
            read_places=config.read_places,
            write_places=config.write_places,
            read_deadline_s=config.read_deadline_ms / 1000,
            write_deadline_s=config.write_deadline_ms / 1000,
            door=door,
            modes=modes,
            slowness=Slowness(Failpoints(config.failpoints)) if config.failpoints else None,
        )
        app.state.lanes = lanes
        app.state.health = health.Health(lanes, config.database_url, recorder.losses)
        app.state.passwords = HashingPool(config.hash_threads, config.hash_places)
        app.state.admin = open_desk(config, app.state.passwords, room.rules())
        recent = Recent(page)
        app.state.feeds = Feeds(Service(lanes, app.state.health, recent, alerts, config))
        await lanes.open()
        beside = [asyncio.create_task(app.state.health.watch())]
        beside.append(asyncio.create_task(recent.run()))
        beside.append(asyncio.create_task(guard.keep_remembered(lanes, app.state.admin)))
        if config.worker == 1:
            beside.append(asyncio.create_task(periodic.run(lanes, recorder.losses, on_a_server=file is None)))
            beside.append(asyncio.create_task(alerts.run()))
            beside.append(
                asyncio.create_task(
                    prune(lanes, Retention(config.activity_days, config.activity_rows, config.audit_days))
                )
            )
            beside.append(asyncio.create_task(events.count(lanes, recorder.losses)))
        recording = asyncio.create_task(recorder.run(lanes))
        if config.records:
            beside.append(asyncio.create_task(history.keep(app.state.health, recorder)))
        if config.workers > 1:
            beside.append(asyncio.create_task(_leave_pages(config)))
        for task in beside:
            task.add_done_callback(_say_if_it_broke)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            recorder.stop()
            await asyncio.wait((recording,), timeout=LAST_FLUSH_S)
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
            app.state.passwords.close()
            await lanes.close()

    app = FastAPI(
        title="Gymkhana's gym platform",
        version=_version(),
        lifespan=lifespan,
        openapi_url=None,  # `openapi/` serves the description, and the page that shows it
        telemetry={"tracing": False, "metrics": False, "logs": False},  # which asks the environment at every request
        redirect_slashes=False,  # a path is right or not there; a redirected write would lose its answer on the way
    )
    app.state.settings = config
    app.state.page = page
    app.state.alerts = alerts
    places = (user_routes, tournament_routes, challenge_routes, notification_routes, operations_routes, health)
    routers = [*(routes.router for routes in places), *room.routers()]
    for router in routers:
        app.include_router(router)
    app.include_router(docs_routes.router)
    app.add_api_route("/metrics", _metrics, include_in_schema=False, response_model=None)
    app.add_exception_handler(ServiceError, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _problem)  # answered here, raised on to the edge, which logs it
    _bad_parameters(app)
    room.require_rules(room.every_route(app), room.rules())
    app.state.dispatch = Dispatch(routers, app)
    return app, Edge(
        app.state.dispatch, config.body_limit_bytes, door, modes, rates, recorder if config.records else None
    )


def _say_if_it_broke(task: asyncio.Task[None]) -> None:
    """What runs beside the requests ends with the process; anything else is somebody's mistake, and must be seen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a job of the service's own has ended", error=repr(error), exc_info=error)


async def _leave_pages(config: Settings) -> None:
    while True:
        await asyncio.to_thread(metrics.leave_page, config.runtime_directory())
        await asyncio.sleep(metrics.PAGE_INTERVAL_S)


async def _metrics(request: Request) -> Response:
    page: metrics.Page = request.app.state.page
    # In a thread: the kernel takes milliseconds to list a thousand connections.
    content = await asyncio.to_thread(page.render)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _problem(request: Request, error: Exception) -> Response:
    request.scope["state"]["error"] = error
    status, headers, body = problem_bytes(error, request.scope["state"]["request_id"])
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "route-not-found", 405: "method-not-allowed"}.get(error.status_code, f"http-{error.status_code}")
    family = NotFound if error.status_code == 404 else Invalid
    told = family(code, f"{request.method} {request.url.path}: {error.detail}.")
    if of_admin(request.url.path) and pages.wanted(request):
        page = pages.trouble(request, told, error.status_code)
        page.headers.update(error.headers or {})
        return page
    status, headers, body = problem_bytes(told, request.scope["state"]["request_id"], status=error.status_code)
    shown = {name.decode(): value.decode() for name, value in headers} | dict(error.headers or {})
    return Response(body, status, shown)


def _bad_parameters(app: FastAPI) -> None:
    from fastapi.exceptions import RequestValidationError

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return await _problem(request, Invalid("parameter-invalid", f"The parameter {where}: {first['msg']}."))

    app.add_exception_handler(RequestValidationError, invalid)


def _version() -> str:
    try:
        return version("gymkhana")
    except PackageNotFoundError:
        return "0"
