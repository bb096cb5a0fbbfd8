"""Plugins: a person's own code, imported so that it registers its classes by name (see `metacli.register`).

It is a file or a module that the person names, or an entry point of an installed package. Nothing is ever imported
because a recipe or a checkpoint names it.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from metacli.errors import UsageError
from metacli.system import terminal

GROUP = "metacli.plugins"  # of entry points, each a module that registers
SESSION = "a Python session"

_importing: list[str] = []  # the plugins that are being imported, the innermost last
_looked = False  # whether the entry points have been imported


def load(source: str | Path) -> None:
    """Import a plugin, once.

    Args:
        source: a Python file, whose folder is then also searched for modules, after all others; or the name of a
            module, as `import` takes it.

    Raises:
        UsageError: there is none, or its import fails; names the line.
    """
    name, path = str(source), Path(os.path.expanduser(source))
    if path.suffix == ".py" or path.name != name:
        _load_file(name, path)
        return
    with importing(name), explained(name):
        importlib.import_module(name)


def _load_file(name: str, path: Path) -> None:
    if not os.path.isfile(path):
        raise UsageError(f"plugin {name!r}: no such file", "a Python file, or the name of a module")
    path = path.resolve()
    called = f"metacli_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = spec_from_file_location(called, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin {name!r}: not a Python file", "a file that ends in .py, or the name of a module")
    if called in sys.modules:
        return
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = sys.modules[called] = module_from_spec(spec)
    try:
        with importing(name), explained(name, path):
            spec.loader.exec_module(module)
    except UsageError:
        del sys.modules[called]
        raise


def load_installed() -> None:
    """Import the entry points of installed packages, once; one that fails is told on stderr and left out."""
    global _looked
    if _looked:
        return
    _looked = True  # first: what they register asks for names again
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        try:
            with importing(point.module), explained(point.module):
                point.load()
        except UsageError as error:
            terminal.say(f"note: left out the installed {error.message}")


def origin(cls: type) -> str:
    """What registers a class: the plugin as it was named, else the module or script in which the class stands."""
    if _importing:
        return _importing[-1]
    if cls.__module__ != "__main__":
        return cls.__module__
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).name if file else SESSION


@contextmanager
def importing(name: str) -> Iterator[None]:
    """What is registered meanwhile comes from the plugin of this name."""
    _importing.append(name)
    try:
        yield
    finally:
        _importing.pop()


@contextmanager
def explained(name: str, file: Path | None = None) -> Iterator[None]:
    """What an import raises becomes a UsageError that names the plugin and, where it has one, the line."""
    try:
        yield
    except (Exception, SystemExit) as error:  # SystemExit: a script that runs when it is imported
        if file is None and isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            hint = "a Python file by its path, as in ./mine.py, or a module that is installed"
            raise UsageError(f"plugin {name!r}: no such module", hint) from None
        frames = [f for f in traceback.extract_tb(error.__traceback__) if file is None or f.filename == str(file)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames and file else None
        place = f", line {line}" if line else ""
        said = getattr(error, "message", "") or str(error)
        raise UsageError(f"plugin {name!r}{place}: {type(error).__name__}: {said}") from error
