"""`requirements.lock`: the packages of `.[all]`, in the versions of constraints.txt, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(text: str) -> dict[str, str]:
    """The version of each package in a file of requirements."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M)
    return {canonicalize_name(name): version for name, version in found}


LOCKED, CONSTRAINTS = pins(LOCK), pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("group", ["", "fast", "plot", "web"])
def test_the_lock_has_every_dependency_in_the_version_of_the_constraints(group):
    for line in PROJECT["optional-dependencies"][group] if group else PROJECT["dependencies"]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert LOCKED[name] == CONSTRAINTS[name], f"make lock: {name} differs"
        assert requirement.specifier.contains(LOCKED[name])


def test_all_that_both_files_name_agrees():
    assert {name: LOCKED[name] for name in LOCKED.keys() & CONSTRAINTS.keys()} == {
        name: CONSTRAINTS[name] for name in LOCKED.keys() & CONSTRAINTS.keys()
    }
    assert len(LOCKED.keys() & CONSTRAINTS.keys()) > 30


def test_every_package_has_hashes_and_no_line_names_a_place():
    packages = re.split(r"^(?=[a-z])", LOCK, flags=re.M)[1:]
    assert len(packages) == len(LOCKED)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", package, re.M) for package in packages)
    assert "://" not in LOCK
    assert not re.search(r"^--", LOCK, re.M), "no option, such as the address of an index"
