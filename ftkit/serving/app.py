"""The app: what each path answers. Annotations are types here, of which FastAPI makes its OpenAPI, not texts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

import ftkit
from ftkit.engine.attribution import STEPS
from ftkit.errors import DataError, FTKitError, first, one_line, visible
from ftkit.serving import messages, page
from ftkit.serving.batching import Batcher, Closed, Full, Job
from ftkit.serving.guard import OPEN, App, Guard, Refused
from ftkit.serving.limits import Limits
from ftkit.serving.metrics import Metrics
from ftkit.serving.model import ServedModel, TooLarge

_SHOWN = 5
"""Faults of one request that are told."""
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": messages.Problem, "description": what}
    for status, what in {
        400: "What was sent is no JSON.",
        401: "The key is missing, or another.",
        408: "The request did not arrive in time.",
        413: "The request, or one of its rows, is too large.",
        422: "The request does not say what is asked for, or its rows can't be read.",
        429: "Too many requests wait: ask again after the seconds that Retry-After names.",
        500: "The server has failed.",
        503: "The server is stopping.",
        504: "Answering took too long.",
    }.items()
}


class Server:
    """A model with its queue, metrics and paths."""

    def __init__(self, model: ServedModel, limits: Limits, key: str | None = None) -> None:
        self.model, self.limits = model, limits
        self.metrics = Metrics()
        self.batcher = Batcher(model.predictor.each, limits, self.metrics.batch)
        self.metrics.watch_queue(lambda: self.batcher.waiting)
        self.stopping = False
        self.app = self._app(key)

    def guarded(self, key: str | None = None) -> App:
        """The app behind its guard, which is what is to be served."""
        paths = frozenset(self.app.openapi()["paths"]) | OPEN
        return Guard(self.app, self.limits, self.metrics, paths, key)

    async def drained(self) -> None:
        """Take no more, and return when all that was queued is answered."""
        self.stopping = True
        self.batcher.close()
        while self.batcher.alive:
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ paths

    def _app(self, key: str | None) -> FastAPI:
        kind = messages.input_of(self.model.task, self.limits, self.model.predictor.named)
        asked, question = messages.request_of(kind, self.limits), messages.question_of(kind)
        model = APIRouter(prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))] if key else [])

        @model.post("/predict", summary="Answer some inputs", responses=_FAULTS)
        async def predict(request: asked) -> messages.Answers:  # type: ignore[valid-type]
            rows = self._rows(request.inputs)  # type: ignore[attr-defined]
            return self.model.answers(await self._asked(Job(rows)))

        @model.post("/explain", summary="Answer one input, and weigh its words", responses=_FAULTS)
        async def explain(request: question) -> messages.Explanation:  # type: ignore[valid-type]
            (row,) = self._rows([request.input])  # type: ignore[attr-defined]
            found: messages.Explanation = await self._asked(
                Job([], partial(self.model.explain, row), weight=min(STEPS, self.limits.queue))
            )
            return found

        @model.get("/model", summary="What is served", responses=_only(401, 408, 429))
        async def about() -> messages.About:
            return self.model.about()

        app = FastAPI(
            title=f"{self.model.name}, served by ftkit",
            version=ftkit.__version__,
            docs_url=None,  # both pages fetch their scripts from elsewhere
            redoc_url=None,
            lifespan=self._lifespan,
        )
        app.include_router(model)
        self._add_operations(app, key)
        for fault, tell in _TELLERS.items():
            app.add_exception_handler(fault, tell)
        return app

    def _add_operations(self, app: FastAPI, key: str | None) -> None:
        secured = [Depends(HTTPBearer(auto_error=False))] if key else []

        @app.get("/health", summary="Whether the process is well", responses=_only(503))
        async def health() -> messages.State:
            if not self.batcher.alive and not self.stopping:
                raise Refused(503, "the model's thread has ended", "start the server again")
            return messages.State(status="ok")

        @app.get("/ready", summary="Whether requests are taken", responses=_only(503))
        async def ready() -> messages.State:
            if self.stopping or not self.batcher.alive:
                raise Refused(503, "the server is stopping")
            return messages.State(status="ready")

        @app.get("/metrics", summary="Metrics for Prometheus", dependencies=secured, response_class=Response)
        async def metrics() -> Response:
            return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

        for path, kind, text in page.files(self.model, key is not None):
            answer = partial(Response, text, media_type=kind)
            app.add_api_route(path, _constant(answer), include_in_schema=False)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        yield
        await self.drained()

    # ------------------------------------------------------------------ requests

    def _rows(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            return self.model.rows([messages.plain(value) for value in inputs])
        except TooLarge as error:
            raise Refused(413, str(error), "cut it, or leave it out") from error

    async def _asked(self, job: Job) -> Any:
        """What becomes of a job, which is given up when it takes too long."""
        try:
            future = asyncio.wrap_future(self.batcher.submit(job))
        except Full as error:
            raise Refused(429, "too many rows wait already", "ask again later", Retry_After="1") from error
        except Closed as error:
            raise Refused(503, "the server is stopping", "ask another, or later") from error
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await future
        except TimeoutError as error:
            if job.begun:
                raise Refused(504, f"no answer within {self.limits.timeout:g} seconds", "send less at once") from error
            raise Refused(429, "its turn did not come in time", "ask again later", Retry_After="1") from error


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _FAULTS[status] for status in statuses}


def _constant(answer: Any) -> Any:
    async def constant() -> Response:
        response: Response = answer()
        return response

    return constant


# ---------------------------------------------------------------------- faults in words


def _told(status: int, error: str, hint: str = "", headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": visible(error), "hint": visible(hint)}, status, headers)


async def _invalid(request: Request, error: Any) -> JSONResponse:
    """A request that says something else; nothing of it is sent back, for it may be no text at all."""
    faults = [f"{_place(fault['loc'])}: {one_line(visible(fault['msg']), 120)}" for fault in error.errors()]
    faults = list(dict.fromkeys(faults))
    if any(fault["type"] == "json_invalid" for fault in error.errors()):
        return _told(400, "what was sent is no JSON", one_line("; ".join(faults)))
    if _is_unread(request, error):
        faults = ["the request was not read: its Content-Type does not say that it is JSON"]
    hint = "send JSON, with Content-Type: application/json, as /openapi.json describes it"
    return _told(422, "; ".join(first(faults, _SHOWN)), hint)


def _is_unread(request: Request, error: Any) -> bool:
    """Whether the body was taken for bytes, and not for JSON."""
    return "json" not in request.headers.get("content-type", "") and any(
        fault["loc"] == ("body",) and isinstance(fault.get("input"), bytes) for fault in error.errors()
    )


def _place(location: Sequence[int | str]) -> str:
    return one_line(visible(".".join(map(str, location[1:])) or "the request"), 80)


async def _http(request: Request, error: Any) -> JSONResponse:
    if error.status_code == 400:  # FastAPI's own, for bytes that are no text, endless numbers and endless depth
        return _told(400, "what was sent is no JSON")
    return _told(error.status_code, str(error.detail), headers=error.headers)


async def _refused(request: Request, error: Any) -> JSONResponse:
    return _told(error.status, error.error, error.hint, error.headers)


async def _unread(request: Request, error: Any) -> JSONResponse:
    return _told(422, error.message, error.hint)


async def _failed(request: Request, error: Any) -> JSONResponse:
    known = isinstance(error, FTKitError)
    return _told(500, error.message if known else "the server has failed", error.hint if known else "its log says more")


_TELLERS: dict[Any, Any] = {
    RequestValidationError: _invalid,
    HTTPException: _http,
    Refused: _refused,
    DataError: _unread,
    Exception: _failed,
}
