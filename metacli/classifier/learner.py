"""A trained model that learns a person's own classes: `fit` reads examples, `predict` answers. No gradient step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from metacli.checkpoints import bundled
from metacli.classifier.ensemble import MOST, FittedContext, Trained, trained
from metacli.classifier.inputs import UnteachableError, distinct, in_order, paired, seen
from metacli.errors import MetacliError

ORDERS = 10  # by default; what each gives and costs stands in docs/predict.md


class NotFittedError(ValueError, AttributeError):
    """Asked before it was taught."""


class Learner:
    """phi <- f_theta(D_train) by `fit`, answers from phi by `predict`: a classifier as scikit-learn knows them.

    What a recurrent model answers hangs on the order of D_train, and every model's on which label stands for which
    class. So D_train is read in several random orders, with labels assigned at random and the pictures moved a little,
    as in training, and the probabilities are averaged.

    Args:
        checkpoint: the name of a model that ships, a file, a run directory, or None: the shipped one that suits.
        orders: how many orders of D_train are averaged over, 1 or more.
        seed: of the orders; the same answers for the same seed.

    Attributes:
        classes_: the class names, sorted, of whatever type they were given.
        context_: phi, and all that was read into it.
    """

    _estimator_type = "classifier"
    classes_: np.ndarray
    context_: FittedContext

    def __init__(self, checkpoint: str | Path | None = None, orders: int = ORDERS, seed: int = 0):
        self.checkpoint = checkpoint
        self.orders = orders
        self.seed = seed

    def fit(self, images: Iterable[Any], labels: Iterable[Any]) -> Learner:
        """Read examples of new classes, D_train, into phi.

        Args:
            images: S pictures of any sizes, see `metacli.tasks.images.preprocess.pictures.picture`; vectors (S, D) for
                a model that was trained on vectors.
            labels: S class names of any hashable type, two different ones at least.

        Raises:
            ValueError: too few or too many classes, images and labels of different length, a picture that is none.
            TypeError: images or labels of a wrong kind.
        """
        given, names = paired(images, labels)
        return self._learn(names, [], lambda model: seen(model, given, "image"))

    def fit_seen(self, x: Tensor, labels: list[Any]) -> Learner:
        """`fit` with pictures as the model sees them, (S, *x_shape), see `model_for` and `Trained.seen`."""
        return self._learn(labels, [], lambda model: x)

    def partial_fit(
        self, images: Iterable[Any], labels: Iterable[Any], classes: Iterable[Any] | None = None
    ) -> Learner:
        """Read further examples: a recurrent model goes on from phi, the others read all of them again.

        Args:
            images: as in `fit`; one class is enough here.
            labels: as in `fit`; new classes may come.
            classes: class names that will come, at the first call, as scikit-learn wants it; not needed.
        """
        known = list(self._classes) if hasattr(self, "context_") else list(classes) if classes is not None else []
        given, names = paired(images, labels)
        return self._learn(names, known, lambda model: seen(model, given, "image"))

    def predict(self, images: Iterable[Any]) -> np.ndarray:
        """The most probable class of each picture, (Q,) of `classes_`."""
        found = self.predict_proba(images)
        return self.classes_[found.argmax(1)]

    def predict_proba(self, images: Iterable[Any]) -> np.ndarray:
        """(Q, classes) probabilities in the order of `classes_`; rows sum to 1.

        Raises:
            ValueError: a picture that is none; not fitted yet.
        """
        return self._in_order(self._lesson().ask(self._asked(images)).probabilities)

    def looked_at(self, images: Iterable[Any]) -> np.ndarray | None:
        """(Q, S) the share of the model's look on each example, in the order in which they were given; rows sum to 1.

        None for a model without a memory to look at.
        """
        return self._lesson().ask(self._asked(images), look=True).looked_at

    def answers(self, images: Iterable[Any]) -> tuple[np.ndarray, np.ndarray | None]:
        """`predict_proba` and `looked_at` from one pass."""
        return self.answers_seen(self._asked(images))

    def answers_seen(self, x: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """`answers` to pictures as the model sees them, (Q, *x_shape)."""
        found = self._lesson().ask(x, look=True)
        return self._in_order(found.probabilities), found.looked_at

    def score(self, images: Iterable[Any], labels: Iterable[Any]) -> float:
        """The share of pictures whose class is predicted right."""
        wanted = list(labels)
        found = self.predict(images)
        if len(found) != len(wanted):
            raise ValueError(f"{len(found)} images, but {len(wanted)} labels")
        return float(np.mean([bool(a == b) for a, b in zip(found, wanted, strict=True)]))

    @property
    def name(self) -> str:
        """What the model is called: as it was asked for, or the shipped one that was chosen."""
        return str(self.checkpoint) if self.checkpoint is not None else self._lesson().trained.path.stem

    @property
    def ways(self) -> int:
        """The most classes that the model tells apart."""
        if self.checkpoint is None:
            return max(bundled.task_of(name).ways for name in bundled.teachable())
        return self.model_for(0).ways

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that it was made with."""
        return {"checkpoint": self.checkpoint, "orders": self.orders, "seed": self.seed}

    def set_params(self, **params: Any) -> Learner:
        """Change some of them; they count from the next `fit` on."""
        unknown = params.keys() - self.get_params().keys()
        if unknown:
            raise ValueError(f"no parameter {min(unknown)!r}: a Learner has {', '.join(self.get_params())}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"Learner({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "context_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True, one_d_labels=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    def _learn(self, names: list[Any], known: list[Any], see: Callable[[Trained], Tensor]) -> Learner:
        """Read examples of these names: `known` classes have their numbers already; without any, it begins anew.

        Args:
            see: the examples as a model sees them, (S, *x_shape).
        """
        goes_on = bool(known) and hasattr(self, "context_")
        classes = known + [name for name in distinct(names) if name not in known]
        if len(classes) < 2:
            raise ValueError(f"the examples show {len(classes)} class{'es' * (not classes)}; two or more are needed")
        model = self.context_.trained if goes_on else self.model_for(len(classes))
        called = model.path.stem if self.checkpoint is None else str(self.checkpoint)
        if len(classes) > model.ways:
            able = [name for name in bundled.teachable() if bundled.task_of(name).ways >= len(classes)]
            raise UnteachableError(
                f"{len(classes)} classes are more than {called} can tell apart, which is {model.ways}",
                f"of the shipped models {', '.join(able) or 'none'} can",
            )
        if not isinstance(self.orders, int | np.integer) or self.orders < 1:
            raise ValueError(f"orders is {self.orders!r}: a whole number from 1 on")
        lesson = self.context_ if goes_on else FittedContext.start(model, int(self.orders), int(self.seed))
        if len(lesson.y) + len(names) > MOST:
            raise ValueError(f"{len(lesson.y) + len(names)} examples; {MOST} at most")
        try:
            lesson = lesson.read(see(model), np.array([classes.index(name) for name in names], np.int64))
        except MetacliError as error:
            raise UnteachableError(error.message, error.hint) from None
        self.context_, self._classes = lesson, classes
        self.classes_, self._sorted = in_order(classes)
        if doubts := model.doubts(np.bincount(lesson.y, minlength=len(classes))):
            warnings.warn(f"{called}: {doubts}", stacklevel=3)
        return self

    def model_for(self, classes: int) -> Trained:
        """The model; of the shipped ones, where none was asked for, the one that suits so many classes.

        Raises:
            ValueError: none does, or it cannot be read.
        """
        try:
            return trained(bundled.find(self.checkpoint if self.checkpoint is not None else bundled.fitting(classes)))
        except MetacliError as error:
            raise UnteachableError(error.message, error.hint) from error

    def _lesson(self) -> FittedContext:
        if not hasattr(self, "context_"):
            raise NotFittedError("this Learner has not been taught yet: call fit first")
        return self.context_

    def _asked(self, images: Iterable[Any]) -> Tensor:
        lesson = self._lesson()
        return seen(lesson.trained, list(images) if isinstance(images, Iterator) else images, "query")

    def _in_order(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities[:, self._sorted]


def load(name: str | Path | None = None, **params: Any) -> Learner:
    """A learner with a trained model: the name of one that ships, a checkpoint file, or a run directory.

    Args:
        name: None for the shipped one that suits the number of classes, chosen in `fit`.
        params: see `Learner`.

    Raises:
        MetacliError: there is no such checkpoint, or its model teaches itself no classes.
    """
    if name is not None:
        trained(bundled.find(name))
    return Learner(name, **params)
