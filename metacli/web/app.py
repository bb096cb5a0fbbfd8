"""The web application: serves the page, answers queries about drawings, and packs drawings into a zip file."""

from __future__ import annotations

import html
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metacli.classifier.inputs import PictureWarning
from metacli.classifier.learner import Learner
from metacli.errors import MetacliError
from metacli.web.drawings import (
    MAX_CLASSES,
    MAX_DRAWINGS,
    MAX_NAME_LENGTH,
    MAX_REQUEST_BYTES,
    PAD_SIDE,
    DrawnSupport,
    DrawnTask,
    pack_folder,
    render_drawing,
)
from metacli.web.guard import RequestGuard

STATIC_FILES = {
    "draw.css": "text/css",
    "draw.js": "text/javascript",
    "state.js": "text/javascript",
    "pad.js": "text/javascript",
    "answer.js": "text/javascript",
    "example.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
Body = TypeVar("Body", bound=DrawnSupport)


class AnswerService:
    """Answers queries with a learner, which is fitted again only if the support set has changed.

    Args:
        learner: the learner, used by one request at a time.
    """

    def __init__(self, learner: Learner):
        self._learner = learner
        self._lock = Lock()
        self._fitted_classes: object = None
        self._warnings = ""

    def answer_queries(self, task: DrawnTask) -> dict[str, Any]:
        """Answers the queries of a task.

        Returns:
            `probabilities`: for each query, the probability of each class, in the order of the task; `unsure`: for each
            query, whether the answer is unsure; `model`: its name;
            `warnings`: the warnings of `fit`, or ""; `milliseconds`: the duration.

        Raises:
            ValueError: the model cannot learn these classes.
        """
        start = time.perf_counter()
        queries = [render_drawing(drawing) for drawing in task.queries]
        with self._lock:
            self._fit(task)
            class_index = {str(name): i for i, name in enumerate(self._learner.classes_)}
            columns = [class_index[c.name] for c in task.classes]
            with ignore_picture_warnings():
                answers = self._learner.answer(queries)
            about_model = {"model": self._learner.name, "warnings": self._warnings}
        return {
            "probabilities": [_round_row(row) for row in answers.probabilities[:, columns]],
            "unsure": answers.unsure.tolist(),
            **about_model,
            "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        }

    def find_attended(self, task: DrawnTask) -> dict[str, Any]:
        """Returns the attended drawings. This is a separate request because it takes longer than the answer.

        Returns:
            `most_attended`: for each query and class, the share of each drawing; null for a model without attention.

        Raises:
            ValueError: the model cannot learn these classes.
        """
        queries = [render_drawing(drawing) for drawing in task.queries]
        with self._lock:
            self._fit(task)
            with ignore_picture_warnings():
                attended = self._learner.most_attended(queries)
        ends = np.cumsum([len(c.drawings) for c in task.classes])[:-1]
        return {
            "most_attended": attended
            if attended is None
            else [[_round_row(c) for c in np.split(row, ends)] for row in attended]
        }

    def _fit(self, task: DrawnTask) -> None:
        if self._fitted_classes == task.classes:
            return
        self._fitted_classes = None
        images = [render_drawing(drawing) for c in task.classes for drawing in c.drawings]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._learner.fit(images, [c.name for c in task.classes for _ in c.drawings])
        self._fitted_classes = task.classes
        self._warnings = "; ".join(str(w.message) for w in caught if w.category is UserWarning)


@contextmanager
def ignore_picture_warnings() -> Iterator[None]:
    """Ignores warnings about queries: a person who draws sees the edge of the pad."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PictureWarning)
        yield


def _round_row(row: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in row]


def build_app(learner: Learner, token: str, port: int) -> RequestGuard:
    """Builds the web application for one model.

    Args:
        learner: the model.
        token: the first part of every path, a secret.
        port: the port of the server.
    """
    service = AnswerService(learner)
    texts = {name: resources.files(__package__).joinpath(name).read_text("utf-8") for name in STATIC_FILES}
    page_settings = {
        "model": learner.name,
        "classes": min(MAX_CLASSES, learner.ways),
        "drawings": MAX_DRAWINGS,
        "side": PAD_SIDE,
        "name": MAX_NAME_LENGTH,
    }
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    page = page.replace("__FACTS__", html.escape(json.dumps(page_settings)))

    async def serve_page(request: Request) -> Response:
        return Response(page, media_type="text/html")

    async def serve_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC_FILES:
            raise HTTPException(404, "no such file")
        return Response(texts[name], media_type=STATIC_FILES[name])

    async def serve_answer(request: Request) -> Response:
        return await _respond(service.answer_queries, request)

    async def serve_attended(request: Request) -> Response:
        return await _respond(service.find_attended, request)

    async def serve_zip(request: Request) -> Response:
        zip_bytes = await run_in_threadpool(pack_folder, await _parse_body(request, DrawnSupport))
        return Response(zip_bytes, media_type="application/zip")

    routes = [
        Route("/", serve_page),
        Route("/answer", serve_answer, methods=["POST"]),
        Route("/attended", serve_attended, methods=["POST"]),
        Route("/folder.zip", serve_zip, methods=["POST"]),
        Route("/{name}", serve_file),
    ]
    return RequestGuard(
        Starlette(
            routes=routes, exception_handlers={HTTPException: _http_error_response, Exception: _internal_error_response}
        ),
        token,
        port,
    )


async def _respond(respond: Callable[[DrawnTask], dict[str, Any]], request: Request) -> Response:
    task = await _parse_body(request, DrawnTask)
    try:
        return JSONResponse(await run_in_threadpool(respond, task))
    except MetacliError as error:
        raise HTTPException(422, error.message) from error
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


async def _parse_body(request: Request, body_type: type[Body]) -> Body:
    """Parses and validates the body of a request.

    Raises:
        HTTPException: 400, 413, 415 or 422, with the reason.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                raise HTTPException(413, f"a request has at most {MAX_REQUEST_BYTES:,} bytes")
    except ClientDisconnect as error:  # nobody reads the answer, and there is nothing to report
        raise HTTPException(400, "the request is not complete") from error
    try:
        return body_type.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        location = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise HTTPException(422, f"{location}: {reason}" if location else reason) from error


async def _http_error_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _internal_error_response(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "internal error: see the terminal of metacli draw"}, 500)
