"""Pictures are the same whatever the user's matplotlib settings, which stay as they are; without matplotlib a hint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metacli.errors import MetacliError
from metacli.show import figures

ROOT = Path(__file__).parent.parent
HOSTILE = """
text.usetex: True
font.family: serif
font.size: 30
figure.figsize: 2, 2
figure.dpi: 300
savefig.dpi: 20
savefig.bbox: tight
savefig.facecolor: black
axes.facecolor: red
lines.linewidth: 9
image.cmap: jet
image.origin: lower
backend: svg
"""
SCRIPT = """
import json
import os
import sys
from pathlib import Path
import numpy as np
from metacli.runs.learning_curves import Curve
from metacli.show import figures
from metacli.show.curves import save_curves
from metacli.show.picture import save_samples
from metacli.tasks import sample
from metacli.tasks.sequences.copy import Copy
from metacli.tasks.sinusoid import Sinusoid


def draw():
    figures.require_matplotlib()
    from matplotlib import font_manager, rcParams
    before, fonts = dict(rcParams), list(font_manager.fontManager.ttflist)
    all_tasks = Copy(Copy.Config(), 0), Sinusoid(Sinusoid.Config(), 0)
    for tasks in all_tasks:
        save_samples(f"{tasks.config.name}.png", sample.collect_samples(tasks, "test", 2))
    curve = Curve(Path("run"), "$recipe_1$", 0, 10, all_tasks[0].metrics[0], np.eye(2), np.eye(2))
    save_curves(Path("curves.png"), [curve])
    assert dict(rcParams) == before
    assert font_manager.fontManager.ttflist == fonts

assert "matplotlib" not in sys.modules, "each child loads it with an environment of its own"
for folder, environment in json.loads(sys.argv[1]).items():
    child = os.fork()
    if not child:
        os.mkdir(folder)
        os.chdir(folder)
        os.environ.update(environment)
        draw()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children of one process share its import of torch")
def test_settings_of_the_user_change_no_byte_and_stay_as_they_are(tmp_path: Path):
    pytest.importorskip("matplotlib")
    settings = tmp_path / "matplotlibrc"
    settings.write_text(HOSTILE)
    environments = {
        "plain": {},
        "hostile": {"MATPLOTLIBRC": str(settings), "MPLBACKEND": "qtagg"},
        "nonsense": {"MPLBACKEND": "nonsense"},
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MPL") and k != "MATPLOTLIBRC"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", SCRIPT, json.dumps(environments)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = {name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in environments}
    assert set(drawn["plain"]) == {"copy.png", "sinusoid.png", "curves.png"}
    assert drawn["hostile"] == drawn["plain"]
    assert drawn["nonsense"] == drawn["plain"]


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MetacliError, match=r"^matplotlib is not installed$") as caught:
        figures.require_matplotlib()
    assert caught.value.hint == "pip install 'metacli[plot]'"


@pytest.mark.parametrize(
    "command",
    [
        ("sample-tasks", "copy_ntm"),
        ("predict", "--support", "none", "--query", "none"),
        ("eval", "-c", "none", "-c", "none"),
        ("curves", "none"),
    ],
    ids=lambda command: command[0],
)
def test_a_picture_without_matplotlib_is_refused_before_any_work(command, monkeypatch, capsys):
    from metacli.cli.main import main

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["metacli", *command, "--png", "x.png"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["error: matplotlib is not installed", "hint: pip install 'metacli[plot]'"]
    assert captured.out == ""
