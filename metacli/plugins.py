"""Plugins: user code that registers classes by name when it is imported (see `metacli.register`).

A plugin is a file or a module that the user names, or an entry point of an installed package. No plugin is ever
imported because a recipe or a checkpoint names it.
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

ENTRY_POINT_GROUP = "metacli.plugins"
PYTHON_SESSION = "a Python session"  # the origin of a class that is defined in one

_importing: list[str] = []  # names of the plugins being imported, innermost last
_entry_points_loaded = False


def load_plugin(source: str | Path) -> None:
    """Imports a plugin. A second call with the same plugin does nothing.

    Args:
        source: a Python file, whose folder is then appended to the module search path, or the name of a module.

    Raises:
        UsageError: there is no such plugin, or its import fails. The message names the line.
    """
    name, path = str(source), Path(os.path.expanduser(source))
    if path.suffix == ".py" or path.name != name:
        _load_file(name, path)
        return
    with _registering(name), _import_errors_explained(name):
        importlib.import_module(name)


def _load_file(name: str, path: Path) -> None:
    if not os.path.isfile(path):
        raise UsageError(f"plugin {name!r}: no such file", "name a Python file or a module")
    path = path.resolve()
    module_name = f"metacli_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin {name!r}: not a Python file", "name a file that ends in .py, or a module")
    if module_name in sys.modules:
        return
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = sys.modules[module_name] = module_from_spec(spec)
    try:
        with _registering(name), _import_errors_explained(name, path):
            spec.loader.exec_module(module)
    except UsageError:
        del sys.modules[module_name]
        raise


def load_installed_plugins() -> None:
    """Imports the plugins of installed packages, once. Prints a note on stderr for each plugin that fails."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True  # set first, since registering a class looks up names and calls this again
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: (p.name, p.value)):
        try:
            with _registering(point.module), _import_errors_explained(point.module):
                point.load()
        except UsageError as error:
            terminal.print_to_stderr(f"note: skipped the installed {error.message}")


def find_origin(cls: type) -> str:
    """Returns the plugin that is registering a class, or else the module or script that defines the class."""
    if _importing:
        return _importing[-1]
    if cls.__module__ != "__main__":
        return cls.__module__
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).name if file else PYTHON_SESSION


@contextmanager
def _registering(name: str) -> Iterator[None]:
    """Makes this plugin the origin of all classes that are registered in the block."""
    _importing.append(name)
    try:
        yield
    finally:
        _importing.pop()


@contextmanager
def _import_errors_explained(name: str, file: Path | None = None) -> Iterator[None]:
    """Turns errors of an import into a UsageError that names the plugin and, if it is a file, the line."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a script may exit when it is imported
        if file is None and isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            hint = "name a Python file by its path, such as ./mine.py, or an installed module"
            raise UsageError(f"plugin {name!r}: no such module", hint) from None
        frames = [f for f in traceback.extract_tb(error.__traceback__) if file is None or f.filename == str(file)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames and file else None
        location = f", line {line}" if line else ""
        message = getattr(error, "message", "") or str(error)
        raise UsageError(f"plugin {name!r}{location}: {type(error).__name__}: {message}") from error
