"""metacli: train, evaluate and look inside model-based meta-learners.

What a program needs is here by name and imported when it is first used, torch with it; see docs/python.md.
"""

from __future__ import annotations

import importlib
import random
import sys
from typing import TYPE_CHECKING, Any

from metacli.version import __version__ as __version__

if TYPE_CHECKING:
    from metacli.api import build_model as build_model
    from metacli.api import build_tasks as build_tasks
    from metacli.api import evaluate as evaluate
    from metacli.api import list_recipes as list_recipes
    from metacli.api import load_model as load_model
    from metacli.api import load_recipe as load_recipe
    from metacli.api import trace as trace
    from metacli.api import train as train
    from metacli.classifier.learner import Learner as Learner
    from metacli.classifier.learner import load as load
    from metacli.config.base import BaseConfig as Config  # noqa: F401
    from metacli.config.recipe import Recipe as Recipe
    from metacli.episode import Episode as Episode
    from metacli.episode import Spec as Spec
    from metacli.errors import MetacliError as MetacliError
    from metacli.evaluation.evaluate import Scores as Scores
    from metacli.inspect.trace import MemoryTrace as MemoryTrace
    from metacli.models.base import MetaLearner as MetaLearner
    from metacli.models.encoder import EncoderConfig as EncoderConfig
    from metacli.models.recurrent import Recurrent as Recurrent
    from metacli.plugins import load_plugin as load_plugin
    from metacli.registration import register as register
    from metacli.system.package_data import examples_folder as examples_folder
    from metacli.tasks.answers import Bits as Bits
    from metacli.tasks.answers import Gaussian as Gaussian
    from metacli.tasks.answers import Reals as Reals
    from metacli.tasks.answers import Symbols as Symbols
    from metacli.tasks.base import Tasks as Tasks
    from metacli.tasks.images.class_folders import list_images as list_images
    from metacli.tasks.optimum import OptimumTasks as OptimumTasks
    from metacli.tasks.rng import CounterRNG as CounterRNG
    from metacli.training.outcome import Outcome as Outcome

_HOME = {
    "Bits": "metacli.tasks.answers:Bits",
    "Config": "metacli.config.base:BaseConfig",
    "CounterRNG": "metacli.tasks.rng:CounterRNG",
    "EncoderConfig": "metacli.models.encoder:EncoderConfig",
    "Episode": "metacli.episode:Episode",
    "Gaussian": "metacli.tasks.answers:Gaussian",
    "Learner": "metacli.classifier.learner:Learner",
    "MemoryTrace": "metacli.inspect.trace:MemoryTrace",
    "MetaLearner": "metacli.models.base:MetaLearner",
    "MetacliError": "metacli.errors:MetacliError",
    "OptimumTasks": "metacli.tasks.optimum:OptimumTasks",
    "Outcome": "metacli.training.outcome:Outcome",
    "Reals": "metacli.tasks.answers:Reals",
    "Recipe": "metacli.config.recipe:Recipe",
    "Recurrent": "metacli.models.recurrent:Recurrent",
    "Scores": "metacli.evaluation.evaluate:Scores",
    "Spec": "metacli.episode:Spec",
    "Symbols": "metacli.tasks.answers:Symbols",
    "Tasks": "metacli.tasks.base:Tasks",
    "build_model": "metacli.api:build_model",
    "build_tasks": "metacli.api:build_tasks",
    "evaluate": "metacli.api:evaluate",
    "examples_folder": "metacli.system.package_data:examples_folder",
    "list_images": "metacli.tasks.images.class_folders:list_images",
    "list_recipes": "metacli.api:list_recipes",
    "load": "metacli.classifier.learner:load",
    "load_model": "metacli.api:load_model",
    "load_plugin": "metacli.plugins:load_plugin",
    "load_recipe": "metacli.api:load_recipe",
    "register": "metacli.registration:register",
    "trace": "metacli.api:trace",
    "train": "metacli.api:train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'metacli' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    random_state = None if module in sys.modules else random.getstate()
    value = getattr(importlib.import_module(module), attribute)
    if random_state is not None:
        random.setstate(random_state)  # importing rich draws random numbers
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
