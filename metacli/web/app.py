"""The page's server: it gives the page, answers questions about drawings, and packs the drawings into a zip file."""

from __future__ import annotations

import html
import json
import time
import warnings
from collections.abc import Callable
from importlib import resources
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metacli.classifier.learner import Learner
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


class Answers:
    """Answers from the last D_train that was read: it is read again only when it has changed.

    Args:
        learner: the model; one question at a time.
    """

    def __init__(self, learner: Learner):
        self._learner = learner
        self._lock = Lock()
        self._read: object = None
        self._doubts = ""

    def answer(self, question: Question) -> dict[str, Any]:
        """What the model says.

        Returns:
            `probabilities`: of each query those of the classes, both in the order of the question; `model`: its name;
            `doubts`: what it warned of when it read D_train, or ""; `milliseconds`: how long it took.

        Raises:
            ValueError: the model cannot learn this.
        """
        began = time.perf_counter()
        queries = [picture(drawing) for drawing in question.queries]
        with self._lock:
            self._learn(question)
            place = {str(name): i for i, name in enumerate(self._learner.classes_)}
            columns = [place[c.name] for c in question.classes]
            found = np.asarray(self._learner.predict_proba(queries))[:, columns]
            told = {"model": self._learner.name, "doubts": self._doubts}
        return {
            "probabilities": [_rounded(row) for row in found],
            **told,
            "milliseconds": round(1000 * (time.perf_counter() - began), 1),
        }

    def look(self, question: Question) -> dict[str, Any]:
        """Where the model looked, which takes longer than its answer: a request of its own.

        Returns:
            `looked`: of each query, of each class, the share of each drawing; null where a model has no such thing.

        Raises:
            ValueError: the model cannot learn this.
        """
        queries = [picture(drawing) for drawing in question.queries]
        with self._lock:
            self._learn(question)
            found = self._learner.looked_at(queries)
        ends = np.cumsum([len(c.drawings) for c in question.classes])[:-1]
        return {"looked": found if found is None else [[_rounded(c) for c in np.split(row, ends)] for row in found]}

    def _learn(self, question: Question) -> None:
        if self._read == question.classes:
            return
        self._read = None
        images = [picture(drawing) for c in question.classes for drawing in c.drawings]
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            self._learner.fit(images, [c.name for c in question.classes for _ in c.drawings])
        self._read = question.classes
        self._doubts = "; ".join(str(w.message) for w in warned if w.category is UserWarning)


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
    page = page.replace("__FACTS__", html.escape(json.dumps(facts)))

    async def show(request: Request) -> Response:
        return Response(page, media_type="text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404, "there is no such file")
        return Response(texts[name], media_type=FILES[name])

    async def answer(request: Request) -> Response:
        return await _told(answers.answer, request)

    async def look(request: Request) -> Response:
        return await _told(answers.look, request)

    async def download(request: Request) -> Response:
        packed = await run_in_threadpool(folder, await _received(request, Drawn))
        return Response(packed, media_type="application/zip")

    routes = [
        Route("/", show),
        Route("/answer", answer, methods=["POST"]),
        Route("/look", look, methods=["POST"]),
        Route("/folder.zip", download, methods=["POST"]),
        Route("/{name}", file),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _failed, Exception: _broken}), token, port)


async def _told(answer: Callable[[Question], dict[str, Any]], request: Request) -> Response:
    question = await _received(request, Question)
    try:
        return JSONResponse(await run_in_threadpool(answer, question))
    except MetacliError as error:
        raise HTTPException(422, error.message) from error
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


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
