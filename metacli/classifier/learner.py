"""Learner: a few-shot classifier with the scikit-learn interface."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from metacli.checkpoints import bundled
from metacli.classifier.certainty import Answers, check_min_probability, find_unsure
from metacli.classifier.ensemble import FittedContext
from metacli.classifier.few_shot_model import MAX_SUPPORT, FewShotModel, load_few_shot_model
from metacli.classifier.inputs import UnteachableError, check_pairs, list_inputs, preprocess_inputs
from metacli.classifier.labels import plain_labels, sort_classes, unique_labels
from metacli.compute.settings import own_settings
from metacli.errors import MetacliError
from metacli.system.caller_warnings import warn_caller

ORDERS = 10  # default; docs/predict.md has the accuracy and time of other numbers


class NotFittedError(ValueError, AttributeError):
    """`fit` must be called before this method."""


class Learner:
    """A few-shot classifier with the scikit-learn interface.

    `fit` reads the support set into phi; `predict` answers queries. No gradient step is taken.

    A recurrent model's answer depends on the order of the support examples. Every model's answer depends on which label
    is assigned to which class. So the support set is read in several random orders, with random labels and slightly
    moved images, and the probabilities are averaged.

    Args:
        checkpoint: name of a bundled model, checkpoint file or run directory. None: `fit` chooses a bundled model.
        orders: number of orders of the support set to average over, 1 or more.
        seed: seed of the orders, an integer of 0 or more; the same seed gives the same answers. None: `fit` draws one.
        prepare: False to scale whole images instead of cropping and redrawing the characters, for a model that was
            trained with `task.prepare`.
        invert: True if all images have dark ink on light paper, False for light ink on dark paper. None: it is detected
            in each image, or is `task.invert` for a model that was trained on a `folder` without `task.prepare`.
        min_probability: answers of a lower probability are unsure, from 0 to 1; see `is_unsure`.

    Attributes:
        classes_: the class names, sorted, of the type that `fit` received.
        context_: phi and the support set.
    """

    _estimator_type = "classifier"
    classes_: np.ndarray
    context_: FittedContext

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        orders: int = ORDERS,
        seed: int | None = 0,
        prepare: bool = True,
        invert: bool | None = None,
        min_probability: float = 0.0,
    ):
        self.checkpoint = checkpoint
        self.orders = orders
        self.seed = seed
        self.prepare = prepare
        self.invert = invert
        self.min_probability = min_probability

    @own_settings()
    def fit(self, images: Iterable[Any], labels: Iterable[Any]) -> Learner:
        """Reads the support set D_train into phi.

        Args:
            images: S images of any size, see `metacli.tasks.images.preprocess.pictures.load_picture`; vectors (S, D)
                for a model that was trained on vectors.
            labels: S class names of any hashable type, at least two distinct ones, see
                `metacli.classifier.labels.plain_labels`.

        Raises:
            ValueError: too few or too many classes, different numbers of images and labels, an unreadable image, a
                missing label.
            TypeError: images or labels have an unsupported type.
        """
        inputs, names = check_pairs(images, labels)
        return self._read_support(names, [], lambda few_shot: preprocess_inputs(few_shot, inputs, "image"))

    @own_settings()
    def fit_tensor(self, x: Tensor, labels: list[Any]) -> Learner:
        """`fit` with preprocessed images (S, *x_shape); see `select_model` and `FewShotModel.preprocess`."""
        return self._read_support(labels, [], lambda few_shot: x)

    @own_settings()
    def partial_fit(
        self, images: Iterable[Any], labels: Iterable[Any], classes: Iterable[Any] | None = None
    ) -> Learner:
        """Reads further support examples.

        A recurrent model continues from phi. Every other model reads the whole support set again.

        Args:
            images: as in `fit`; one class is enough.
            labels: as in `fit`; they may include new classes.
            classes: optional, all class names to expect. scikit-learn passes them at the first call.
        """
        announced = [] if classes is None else unique_labels(plain_labels(classes))
        numbered = list(self._classes) if hasattr(self, "context_") else announced
        inputs, names = check_pairs(images, labels)
        return self._read_support(names, numbered, lambda few_shot: preprocess_inputs(few_shot, inputs, "image"))

    def predict(self, images: Iterable[Any]) -> np.ndarray:
        """Returns the most probable class of each query, (Q,) values of `classes_`."""
        probabilities = self.predict_proba(images)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, images: Iterable[Any]) -> np.ndarray:
        """Returns (Q, classes) probabilities in the order of `classes_`; rows sum to 1.

        Raises:
            ValueError: an image is unreadable, or `fit` was not called.
        """
        return self.answer(images).probabilities

    def is_unsure(self, images: Iterable[Any]) -> np.ndarray:
        """Returns (Q,) bool, whether the answer to a query may well be wrong, or the query may be of no class.

        The probability is below `min_probability`, or its product with the resemblance to the support examples of the
        answer is below `certainty.MIN_CERTAINTY`.
        """
        return self.answer(images).unsure

    def most_attended(self, images: Iterable[Any]) -> np.ndarray | None:
        """Returns (Q, S) the share of each query's attention on each support example, in `fit` order; rows sum to 1.

        The largest share of a row is that of the most attended example. None for a model without memory or attention.
        """
        return self.answer(images, with_attention=True).attended

    @own_settings()
    def answer(self, images: Iterable[Any], with_attention: bool = False) -> Answers:
        """Returns what `predict_proba`, `is_unsure` and, if requested, `most_attended` return, from one pass."""
        return self.answer_tensor(self._preprocess_queries(images), with_attention)

    @own_settings()
    def answer_tensor(self, x: Tensor, with_attention: bool = False) -> Answers:
        """`answer` of preprocessed images (Q, *x_shape)."""
        result = self._fitted_context().predict(x, with_attention)
        probabilities = result.probabilities[:, self._class_order]
        unsure = find_unsure(probabilities.max(1), result.resemblance, self.min_probability)
        return Answers(probabilities, unsure, result.resemblance, result.attended)

    def score(self, images: Iterable[Any], labels: Iterable[Any]) -> float:
        """Returns the accuracy on queries with known labels, in [0, 1]."""
        inputs, targets = check_pairs(images, labels)
        predictions = self.predict(inputs)
        return float(np.mean([bool(a == b) for a, b in zip(predictions, targets, strict=True)]))

    @property
    def name(self) -> str:
        """The model's name: the `checkpoint` argument, or the bundled model that `fit` chose."""
        return str(self.checkpoint) if self.checkpoint is not None else self._fitted_context().few_shot.path.stem

    @property
    def ways(self) -> int:
        """N, the largest number of classes that the model supports."""
        if self.checkpoint is None:
            return max(model.ways for model in bundled.bundled_classifiers())
        return self.select_model(0).ways

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("checkpoint", "orders", "seed", "prepare", "invert", "min_probability")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Learner:
        """Changes parameters; `min_probability` takes effect at once, the others at the next `fit`."""
        unknown = params.keys() - self.get_params().keys()
        if unknown:
            raise ValueError(
                f"Learner has no parameter {min(unknown)!r}; its parameters are {', '.join(self.get_params())}"
            )
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

    def _read_support(
        self, names: list[Any], numbered: list[Any], preprocess: Callable[[FewShotModel], Tensor]
    ) -> Learner:
        """Reads support examples into a new context, or into the existing one.

        Args:
            names: the class name of each example.
            numbered: the classes of the existing context, in the order of their numbers; empty to start a new context.
            preprocess: returns the examples as a model reads them, (S, *x_shape).
        """
        extends = bool(numbered) and hasattr(self, "context_")
        classes = numbered + [name for name in unique_labels(names) if name not in numbered]
        if len(classes) < 2:
            raise ValueError(
                f"the support set has {len(classes)} class{'es' * (not classes)}, but a model needs two classes or more"
            )
        few_shot = self.context_.few_shot if extends else self.select_model(len(classes))
        model_name = few_shot.path.stem if self.checkpoint is None else str(self.checkpoint)
        if len(classes) > few_shot.ways:
            able = [model.name for model in bundled.bundled_classifiers() if model.ways >= len(classes)]
            raise UnteachableError(
                f"{model_name} supports at most {few_shot.ways} classes, but the support set has {len(classes)}",
                f"bundled models for {len(classes)} classes: {', '.join(able) or 'none'}",
            )
        seed = secrets.randbits(31) if self.seed is None else self.seed
        for parameter, value, least in (("orders", self.orders, 1), ("seed", seed, 0)):
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{parameter} is {value!r}, but it must be an integer of {least} or more")
        check_min_probability(self.min_probability)
        context = self.context_ if extends else FittedContext.create_empty(few_shot, int(self.orders), int(seed))
        if len(context.y) + len(names) > MAX_SUPPORT:
            raise ValueError(
                f"the support set has {len(context.y) + len(names)} examples; at most {MAX_SUPPORT} are supported"
            )
        try:
            context = context.extend(preprocess(few_shot), np.array([classes.index(name) for name in names], np.int64))
        except MetacliError as error:
            raise UnteachableError(error.message, error.hint) from None
        self.context_, self._classes = context, classes
        self.classes_, self._class_order = sort_classes(classes)
        if warning := few_shot.untested_support_warning(np.bincount(context.y, minlength=len(classes))):
            warn_caller(f"{model_name}: {warning}")
        return self

    @own_settings()
    def select_model(self, classes: int) -> FewShotModel:
        """Loads the model; without a checkpoint argument, the bundled model for this number of classes.

        Raises:
            ValueError: no bundled model fits, or the checkpoint cannot be read.
        """
        try:
            name = self.checkpoint if self.checkpoint is not None else bundled.bundled_model_for(classes)
            few_shot = load_few_shot_model(bundled.find_checkpoint(name))
        except MetacliError as error:
            raise UnteachableError(error.message, error.hint) from error
        return replace(few_shot, prepare=self.prepare, invert=self.invert)

    def _fitted_context(self) -> FittedContext:
        if not hasattr(self, "context_"):
            raise NotFittedError("this Learner is not fitted yet: call fit first")
        return self.context_

    def _preprocess_queries(self, images: Iterable[Any]) -> Tensor:
        return preprocess_inputs(self._fitted_context().few_shot, list_inputs(images), "query")


@own_settings()
def load(name: str | Path | None = None, **params: Any) -> Learner:
    """Returns a Learner with a trained model.

    Args:
        name: name of a bundled model, checkpoint file or run directory. None: `fit` chooses a bundled model by the
            number of classes.
        params: see `Learner`.

    Raises:
        MetacliError: there is no such checkpoint, or its model is not a few-shot classifier.
    """
    if name is not None:
        load_few_shot_model(bundled.find_checkpoint(name))
    return Learner(name, **params)
