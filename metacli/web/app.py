"""The page's server: it gives the page, answers questions about drawings, and packs the drawings into a zip file."""

from __future__ import annotations

import html
import json
import time
from importlib import resources
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metacli.errors import MetacliError
from metacli.web.drawings import BYTES, CLASSES, DRAWINGS, NAME, SIDE, Drawn, Question, folder, picture
from metacli.web.guard import Guard

FILES = {
    "draw.css": "text/css",
    "draw.js": "text/javascript",
    "state.js": "text/javascript",
    "pad.js": "text/javascript",
    "answer.js": "text/javascript",
    "example.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
D = TypeVar("D", bound=Drawn)


class Learner(Protocol):
    """What the page asks of a model; see `metacli.learner`."""

    name: str
    ways: int
    classes_: np.ndarray

    def fit(self, images: list[Image.Image], labels: list[str]) -> Any:
        """Read D_train."""

    def predict_proba(self, queries: list[Image.Image]) -> np.ndarray:
        """(Q, classes)."""

    def looked_at(self, queries: list[Image.Image]) -> np.ndarray | None:
        """(Q, S), rows sum to 1; None where a model has no such thing."""


class Answers:
    """Answers from the last D_train that was read: it is read again only when it has changed.

    Args:
        learner: the model; one question at a time.
    """

    def __init__(self, learner: Learner):
        self._learner = learner
        self._lock = Lock()
        self._read: object = None

    def __call__(self, question: Question) -> dict[str, Any]:
        """For each query, in the order of the question.

        Returns:
            `answers`: [{`probabilities`: of each class, `looked`: of each class, the share of each drawing in what the
            model looked at, or null}], and `milliseconds`.

        Raises:
            ValueError: the model cannot learn this.
            MetacliError: likewise.
        """
        began = time.perf_counter()
        queries = [picture(drawing) for drawing in question.queries]
        with self._lock:
            if self._read != question.classes:
                self._read = None
                images = [picture(drawing) for c in question.classes for drawing in c.drawings]
                self._learner.fit(images, [c.name for c in question.classes for _ in c.drawings])
                self._read = question.classes
            place = {str(name): i for i, name in enumerate(self._learner.classes_)}
            probabilities = np.asarray(self._learner.predict_proba(queries))[
                :, [place[c.name] for c in question.classes]
            ]
            looked = self._learner.looked_at(queries)
        ends = np.cumsum([len(c.drawings) for c in question.classes])[:-1]
        return {
            "answers": [
                {
                    "probabilities": _rounded(row),
                    "looked": None if looked is None else [_rounded(part) for part in np.split(looked[q], ends)],
                }
                for q, row in enumerate(probabilities)
            ],
            "milliseconds": round(1000 * (time.perf_counter() - began), 1),
        }


def _rounded(row: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in row]


def build(learner: Learner, token: str, port: int) -> Guard:
    """The page for one model.

    Args:
        learner: the model.
        token: the first part of every path, known only to who may use the page.
        port: where it is served.
    """
    answers = Answers(learner)
    texts = {name: resources.files(__package__).joinpath(name).read_text("utf-8") for name in FILES}
    facts = {
        "model": learner.name,
        "classes": min(CLASSES, learner.ways),
        "drawings": DRAWINGS,
        "side": SIDE,
        "name": NAME,
    }
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    page = page.replace("__FACTS__", html.escape(json.dumps(facts))).replace("__NAME__", str(NAME))

    async def show(request: Request) -> Response:
        return Response(page, media_type="text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404, "there is no such file")
        return Response(texts[name], media_type=FILES[name])

    async def answer(request: Request) -> Response:
        question = await _received(request, Question)
        try:
            return JSONResponse(await run_in_threadpool(answers, question))
        except MetacliError as error:
            raise HTTPException(422, error.message) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    async def download(request: Request) -> Response:
        packed = await run_in_threadpool(folder, await _received(request, Drawn))
        return Response(packed, media_type="application/zip")

    routes = [
        Route("/", show),
        Route("/answer", answer, methods=["POST"]),
        Route("/folder.zip", download, methods=["POST"]),
        Route("/{name}", file),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _failed, Exception: _broken}), token, port)


async def _received(request: Request, kind: type[D]) -> D:
    """The body of a request, held to what the page may send.

    Raises:
        HTTPException: 413, 415 or 422, with a reason in words.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BYTES:
            raise HTTPException(413, f"a request has at most {BYTES:,} bytes")
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise HTTPException(422, f"{place}: {reason}" if place else reason) from error


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "this went wrong; the terminal says why"}, 500)
