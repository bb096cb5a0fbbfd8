"""Reads and writes the YAML of recipes and of KEY=VALUE overrides.

Scalars follow YAML 1.2: `1e-4` is a number, while `on`, `yes` and `12:30` are strings. A duplicate key is an error
with its line. Anchors, tags and deep nesting are refused.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from metacli.errors import UsageError

MAX_BYTES = 100_000
MAX_DEPTH = 12

_SCALARS = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+(_[0-9]+)*|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0"),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    # PyYAML's characters, and the surrogates that Python uses for bytes of file names that are not UTF-8
    _NOT_PRINTABLE = "[^\t\n\r -~\x85\xa0-\ud7ff\udc80-\udcff\ue000-\ufffd\U00010000-\U0010ffff]"
    NON_PRINTABLE = re.compile(_NOT_PRINTABLE)  # type: ignore[misc]
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes a node as PyYAML does. Refuses aliases and more than MAX_DEPTH levels."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                None, None, "anchors and aliases are not supported", self.peek_event().start_mark
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                None, None, f"nested deeper than {MAX_DEPTH} levels", self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping as PyYAML does. Refuses duplicate keys and keys that are not words."""
        first_lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key must be a word", key_node.start_mark)
            line = key_node.start_mark.line + 1
            if key_node.value in first_lines:
                problem = f"duplicate key {key_node.value!r}, first on line {first_lines[key_node.value]}"
                raise yaml.MarkedYAMLError(None, None, problem, key_node.start_mark)
            first_lines[key_node.value] = line
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: Any) -> int | float:
        """Constructs a number by its tag: 1_000 and 0x10 are integers, 1e-4 and .inf are floats."""
        text = node.value.replace("_", "")
        if node.tag.endswith(":int"):
            return int(text, 16 if text.startswith("0x") else 10)
        return float(text.replace(".inf", "inf").replace(".nan", "nan")) if "." in text[:2] else float(text)


for _tag, (_pattern, _first) in _SCALARS.items():
    for _char in _first:
        _regex = re.compile(rf"^(?:{_pattern})$", re.IGNORECASE if _tag.endswith("float") else 0)
        _Loader.yaml_implicit_resolvers.setdefault("" if _char == "\0" else _char, []).append((_tag, _regex))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def parse(text: str, source: str) -> Any:
    """Returns the value of a YAML text.

    Args:
        text: YAML of at most MAX_BYTES characters.
        source: the file or override, for messages.

    Raises:
        UsageError: the text is not YAML, is too long or too deeply nested, or has a duplicate key, an anchor or a
            tag. The message names the line.
    """
    if len(text) > MAX_BYTES:
        raise UsageError(f"{source}: {len(text):,} characters, but a recipe has at most {MAX_BYTES:,}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line}: {e.problem or e.context or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise UsageError(f"{source}: not YAML: {str(e).splitlines()[0]}") from None


def dump(value: Any) -> str:
    """Returns a value as YAML that `parse` reads back to the same value. The order of keys is kept."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        """Returns True: a value that occurs twice is written twice."""
        return True
