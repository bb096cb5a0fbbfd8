"""A stand-in for a learner: it compares blurred pictures, so that tests of the page need no trained model."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import uvicorn
from PIL import Image, ImageFilter

from metacli.classifier.certainty import Answers
from metacli.web.app import build_app
from metacli.web.server import open_listener

TOKEN = "a-token"


class Stub:
    """See `metacli.web.app.Learner`.

    Args:
        looks: whether it tells where it looked.
    """

    name, ways = "stub", 5

    def __init__(self, looks: bool = True):
        self.looks, self.fits = looks, 0

    def fit(self, images: list[Image.Image], labels: list[str]) -> Stub:
        if "refuse me" in labels:
            raise ValueError("this name is refused")
        self.fits += 1
        if len(set(labels)) == 2:
            warnings.warn("two classes are few", stacklevel=1)
        self.classes_ = np.unique(labels)
        self._x, self._y = self._features(images), np.array(labels)
        return self

    def answer(self, queries: list[Image.Image]) -> Answers:
        probabilities = self._shares(queries) @ (self._y[:, None] == self.classes_)
        return Answers(probabilities, probabilities.max(1) < 0.6, None, None)

    def most_attended(self, queries: list[Image.Image]) -> np.ndarray | None:
        return self._shares(queries) if self.looks else None

    def _shares(self, queries: list[Image.Image]) -> np.ndarray:
        score = 20 * self._features(queries) @ self._x.T
        weights = np.exp(score - score.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    @staticmethod
    def _features(images: list[Image.Image]) -> np.ndarray:
        blurred = [image.resize((32, 32)).filter(ImageFilter.GaussianBlur(1.5)) for image in images]
        x = 255 - np.stack([np.asarray(image, float).ravel() for image in blurred])
        x -= x.mean(1, keepdims=True)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@contextlib.contextmanager
def served(learner: Stub) -> Iterator[int]:
    """The page in a thread: its port."""
    listener = open_listener(0)
    port = listener.getsockname()[1]
    app = build_app(learner, TOKEN, port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
