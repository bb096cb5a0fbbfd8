"""The kinds of answers: how an answer is scored, encoded as a label, decoded from logits and formatted.

Shapes as in `metacli.episode`; C is the number of components of an answer: characters, bits or numbers.
"""

from metacli.tasks.answers.base import Answer, Decoded, summarize_result
from metacli.tasks.answers.bits import Bits
from metacli.tasks.answers.embedded import EmbeddedLabels
from metacli.tasks.answers.gaussian import Gaussian, gaussian_nll
from metacli.tasks.answers.reals import Reals
from metacli.tasks.answers.symbols import Symbols

__all__ = [
    "Answer",
    "Bits",
    "Decoded",
    "EmbeddedLabels",
    "Gaussian",
    "Reals",
    "Symbols",
    "gaussian_nll",
    "summarize_result",
]
