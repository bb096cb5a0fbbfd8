"""notebooks/memory.ipynb: every cell runs, in order, in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "memory.ipynb"


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    namespace: dict = {"__name__": "notebook"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec", dont_inherit=True), namespace)
    plt.close("all")
    trained, broken = namespace["trace"].decoded.correct, namespace["broken"].decoded.correct
    assert trained.mean() > 0.95 > broken.mean()  # the shift is what copying needs
    assert namespace["learner"].classes_.tolist() == ["Kesh", "Lumo", "Nim", "Oru", "Tavi"]
    assert "1.0" in capsys.readouterr().out.splitlines()[-1]
