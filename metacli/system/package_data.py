"""Finds the recipes and examples that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def find_data_folder(name: str) -> Path:
    """Returns a folder of data files: inside the installed package, or at the top of a clone."""
    packaged = Path(str(resources.files("metacli"))) / name
    return packaged if packaged.is_dir() else packaged.parent.parent / name


def examples_folder() -> Path:
    """Returns the folder of example pictures, which holds `characters/support` and `characters/query`."""
    return find_data_folder("examples")


def resolve_example(path: Path) -> Path:
    """Returns the path of an example that is named from the top of a clone, as `examples/characters/support`.

    Any other path, and one that exists, is returned unchanged.
    """
    if path.parts[:1] != ("examples",) or path.exists():
        return path
    example = examples_folder().joinpath(*path.parts[1:])
    return example if example.exists() else path
