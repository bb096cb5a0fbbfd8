"""Tab completion. Answers the shell without importing the command line, torch or pydantic.

The scripts that `metacli --install-completion` sets up are typer's. They call `metacli` with the words typed so far in
environment variables. If nothing is offered, the shell completes file names.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from metacli.cli.completion_index import keys_of, load_index

VARIABLE = "_METACLI_COMPLETE"  # set by the script of the shell, as in complete_bash
_MOST_RUNS = 200
_RUNS_DEPTH = 3  # runs/<recipe>/<time>-seeds/seed0
_SAFE = re.compile(r"[\w./=+@,~-]+")  # words that no shell changes


class Offer(NamedTuple):
    """A word that can be typed, and what it means."""

    word: str
    meaning: str = ""


class Line(NamedTuple):
    """What has been typed after the verb: its arguments without options, and the word at the cursor."""

    arguments: list[str]
    word: str


def complete() -> int:
    """Prints what fits at the cursor, in the format of the shell. Returns the exit status."""
    shell = os.environ[VARIABLE].rpartition("_")[2]
    words = _read_words(shell)
    offers = [offer for offer in find_offers(words) if offer.word.startswith(words[-1]) and _SAFE.fullmatch(offer.word)]
    if shell == "fish" and os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if offers else 1
    print(_format(shell, offers, words[-1]))
    return 0


def find_offers(words: list[str]) -> list[Offer]:
    """Returns what may stand at the cursor. The caller leaves out what does not begin with the last word.

    Args:
        words: typed after `metacli`, the one at the cursor last.
    """
    verbs, word = load_index()["verbs"], words[-1]
    if len(words) == 1:
        flags = [Offer(flag, content["help"]) for flag, content in verbs[""]["options"].items()]
        return flags if word.startswith("-") else [Offer(name, verb["help"]) for name, verb in verbs.items() if name]
    if words[0] not in verbs:
        return []
    options, names = verbs[words[0]]["options"], verbs[words[0]]["arguments"]
    arguments: list[str] = []
    option = None  # waits for its value
    for typed in words[1:-1]:
        if option is None and typed.startswith("-"):
            option = options.get(typed) if options.get(typed, {}).get("takes_value") else None
        elif option is not None:
            option = None
        else:
            arguments.append(typed)
    flag, equals, value = word.partition("=")
    if option is not None:
        return _offer_option_values(words[0], option, Line(arguments, word))
    if equals and flag in options:
        offers = _offer_option_values(words[0], options[flag], Line(arguments, value))
        return [Offer(f"{flag}={offer.word}", offer.meaning) for offer in offers]
    if word.startswith("-"):
        return [Offer(flag, content["help"]) for flag, content in options.items() if flag.startswith("--")]
    return _offer_values(words[0], names[min(len(arguments), len(names) - 1)], Line(arguments, word)) if names else []


def _offer_option_values(verb: str, option: dict[str, Any], line: Line) -> list[Offer]:
    return [Offer(choice) for choice in option["choices"]] or _offer_values(verb, option["name"], line)


def _offer_values(verb: str, parameter: str, line: Line) -> list[Offer]:
    offer = _VALUES.get(f"{verb} {parameter}") or _VALUES.get(parameter)
    return offer(line) if offer else []


def _recipes(line: Line) -> list[Offer]:
    return [Offer(name, entry["purpose"]) for name, entry in load_index()["recipes"].items()]


def _recipes_and_keys(line: Line) -> list[Offer]:
    """Offers keys too once the word has a dot, as in `train --resume RUN_DIR train.steps=9000`."""
    return _recipes(line) + (_keys(line) if "." in line.word else [])


def _recipes_and_runs(line: Line) -> list[Offer]:
    return _recipes(line) + _run_directories(line)


def _checkpoints(line: Line) -> list[Offer]:
    index = load_index()
    return [Offer(name, index["recipes"][name]["purpose"]) for name in index["bundled"]] + _run_directories(line)


def _checkpoints_and_keys(line: Line) -> list[Offer]:
    return _checkpoints(line) + (_keys(line) if line.arguments or "." in line.word else [])


def _keys(line: Line) -> list[Offer]:
    """Offers KEY= for the keys of the recipe on the line, and KEY=VALUE once only one key fits."""
    known = keys_of(load_index(), line.arguments[0] if line.arguments else None)
    key, equals, _ = line.word.partition("=")
    fitting = [key] if equals and key in known else [name for name in known if name.startswith(line.word)]
    offers = [] if equals else [Offer(f"{name}=", known[name]["meaning"]) for name in fitting]
    if len(fitting) == 1:  # with a second offer the shell adds no space after the `=`
        offers += [Offer(f"{fitting[0]}={value}") for value in known[fitting[0]]["values"]]
    return offers


def _run_directories(line: Line) -> list[Offer]:
    """Offers run directories below `runs` and below the folder that is being typed."""
    typed = os.path.dirname(line.word)
    found = set(islice(_find_runs("runs", _RUNS_DEPTH), _MOST_RUNS))
    if typed and typed != "runs" and not typed.startswith("runs/"):
        found |= set(islice(_find_runs(typed, 2), _MOST_RUNS))
    return [Offer(run, "run directory") for run in sorted(found)]


def _find_runs(folder: str, depth: int) -> Iterator[str]:
    try:
        children = sorted(os.scandir(folder), key=lambda child: child.name)
    except OSError:
        return
    for child in children:
        if not child.is_dir():
            continue
        if os.path.isfile(os.path.join(child.path, "recipe.yaml")):
            yield child.path
        elif depth > 1:
            yield from _find_runs(child.path, depth - 1)


def _devices(line: Line) -> list[Offer]:
    meanings = {"auto": "GPU if there is one", "cpu": "CPU", "cuda": "first NVIDIA GPU", "mps": "GPU of a Mac"}
    return [Offer(*item) for item in meanings.items()]


def _sections(line: Line) -> list[Offer]:
    return [Offer(part.rpartition(" ")[2], part) for part in load_index()["keys"]]


_VALUES: dict[str, Callable[[Line], list[Offer]]] = {  # by the name of a parameter, with or without its verb
    "train recipe": _recipes_and_keys,
    "sample-tasks recipe": _recipes_and_runs,
    "recipes words": _recipes,
    "eval words": _checkpoints_and_keys,
    "inspect-memory words": _checkpoints_and_keys,
    "predict words": _checkpoints,
    "draw word": _checkpoints,
    "checkpoint": _checkpoints,
    "init": _checkpoints,
    "overrides": _keys,
    "resume": _run_directories,
    "runs": _run_directories,
    "device": _devices,
    "threads": lambda line: [Offer("auto", "measure and pick the fastest"), Offer("1", "one thread")],
    "keys": _sections,
}


def _read_words(shell: str) -> list[str]:
    """Returns the words after `metacli` up to the cursor, the last one possibly empty."""
    if shell != "bash":
        line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
        words = _split(line)[1:]
        return words if words and not line.endswith(" ") else [*words, ""]
    position = int(os.environ["COMP_CWORD"])
    words = [*_split(os.environ["COMP_WORDS"]), ""][: position + 1]
    joined: list[str] = []
    for i, word in enumerate(words):  # bash makes three words of KEY=VALUE
        if joined and (word == "=" or (word and words[i - 1] == "=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined[1:]


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an open quote
        return line.split()


def _format(shell: str, offers: list[Offer], word: str) -> str:
    """Returns the offers as typer's script of the shell reads them."""
    if shell == "bash":
        before = word.rfind("=") + 1  # bash replaces only what follows it
        return "\n".join(offer.word[before:] for offer in offers)
    plain = [Offer(word, re.sub(r"[^\w ,.%=+/-]", "", meaning)) for word, meaning in offers]
    if shell == "zsh":
        listed = "\n".join(f'"{o.word}":"{o.meaning}"' if o.meaning else f'"{o.word}"' for o in plain)
        return f"_arguments '*: :(({listed}))'" if offers else "_files"
    separator = "\t" if shell == "fish" else ":::"
    return "\n".join(f"{o.word}{separator}{o.meaning}" if o.meaning or shell != "fish" else o.word for o in plain)
