"""The layout shows the path: no import runs upward, and none goes round."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "metacli"
ORDER = [
    "version",
    "errors",
    "episode",
    "system",
    "compute",
    "plugins",
    "registry",
    "config",
    "tasks",
    "models",
    "checkpoints",
    "evaluation",
    "runs",
    "training",
    "show",
    "inspect",
    "classifier",
    "registration",
    "api",
    "web",
    "cli",
    "__init__",
    "__main__",
]
APART = {("models", "tasks")}  # what reads tasks knows no task: only `training` brings the two together


def imports() -> list[tuple[str, str]]:
    """(module, module that it imports), with those that are imported within functions; `metacli.` left out."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "metacli":
                inner = node.module.removeprefix("metacli").lstrip(".")
                for name in node.names:
                    deeper = PACKAGE / Path(*inner.split(".")) / f"{name.name}.py"
                    package = (PACKAGE / Path(*inner.split("."))).is_dir() and deeper.is_file()
                    target = f"{inner}.{name.name}".lstrip(".") if package else inner
                    if target and target != module:
                        found.append((module, target))
    return found


def test_no_import_runs_upward() -> None:
    edges = imports()
    assert len(edges) > 150
    for source, target in edges:
        here, there = source.split(".")[0], target.split(".")[0]
        assert ORDER.index(there) <= ORDER.index(here), f"{source} imports {target}"
        assert (here, there) not in APART, f"{source} imports {target}"


def test_no_import_goes_round() -> None:
    graph: dict[str, set[str]] = {}
    for source, target in imports():
        graph.setdefault(source, set()).add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module in done:
            return
        for target in sorted(graph.get(module, ())):
            visit(target, (*path, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_few_modules_lie_at_the_top() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")} == {
        "api",
        "episode",
        "errors",
        "plugins",
        "registration",
        "registry",
        "version",
    }
