"""What an answer of a task is: how it is scored, read as a label, decoded from logits and written for a person.

Shapes as in `metacli.episode`; C is the parts of an answer: its characters, its bits or its numbers.
"""

from metacli.tasks.answers.base import Answer, Decoded, verdict
from metacli.tasks.answers.bits import Bits
from metacli.tasks.answers.reals import Reals
from metacli.tasks.answers.symbols import Symbols

__all__ = ["Answer", "Bits", "Decoded", "Reals", "Symbols", "verdict"]
