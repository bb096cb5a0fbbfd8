"""One's own tasks, models and encoders: known by name to all, by a file, a module or an installed package."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_keys
from PIL import Image
from test_cli import inside
from torch import nn

import metacli
from metacli import plugins
from metacli.config.keys import find_section, list_keys
from metacli.config.recipe import recipe_from_dict
from metacli.errors import MetacliError, UsageError
from metacli.models.encoder import EncoderConfig
from metacli.models.lstm import LSTM
from metacli.registry import ENCODERS, MODELS, TASKS, find_origins, resolve
from metacli.tasks.clusters import Clusters

FILE = Path(__file__).parent / "plugin_file.py"
TREE = {
    "task": {"name": "blobs", "ways": 3},
    "model": {"name": "lstm", "hidden": 8, "layers": 1, "encoder": {"kind": "rows", "hidden": 6}},
    "train": {"steps": 3, "batch": 4, "eval_tasks": 5},
}

pytestmark = pytest.mark.usefixtures("registries")


def test_a_file_is_imported_once_and_its_names_are_known():
    plugins.load_plugin(FILE)
    first = TASKS["blobs"]
    plugins.load_plugin(str(FILE))
    assert TASKS["blobs"] is first
    assert find_origins(["blobs", "rows", "copy"]) == {"blobs": str(FILE), "rows": str(FILE)}
    recipe = metacli.load_recipe(TREE, "task.spread=4", "model.encoder.size=3")
    assert (recipe.task.spread, recipe.task.name, recipe.model.encoder.hidden) == (4, "blobs", 6)
    assert recipe.as_dict()["plugins"] == {"blobs": str(FILE), "rows": str(FILE)}
    assert recipe_from_dict(recipe.as_dict(), "again") == recipe
    assert metacli.build_model(recipe).encoder.size == 3
    assert "plugins" not in metacli.load_recipe("smoke").as_dict()


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("shape", [(4,), (1, 8, 6)])
def test_an_encoder_serves_every_model(name, shape):
    plugins.load_plugin(FILE)
    cls = resolve(MODELS, name, "model")
    encoder = {"kind": "rows", "hidden": 7, "normalise": True}
    config = cls.Config.model_validate({**tiny_keys(name), "encoder": encoder})
    model = cls(config, metacli.Spec("independent", shape, 3, 3, 10)).train()
    assert model.input_size == 7 + 3
    x = torch.rand(2, 6, *shape)
    y = torch.eye(3).repeat(2, 2, 1)
    logits = model.predict(model.adapt(x, y), x)
    assert logits.shape == (2, 6, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_keys_are_explained():
    plugins.load_plugin(FILE)
    section, config = find_section("rows")
    assert section == "model.encoder"
    keys = {key.name: key for key in list_keys(config)}
    assert (keys["hidden"].default, keys["hidden"].range, keys["kind"].type) == (5, "1 to 99", "always rows")
    assert keys["hidden"].meaning == "Numbers that an item becomes."
    model = metacli.load_recipe(TREE).model
    listed = [key.name for key in list_keys(type(model), values=model)]
    assert "encoder.hidden" in listed
    assert "encoder.hidden" not in [key.name for key in list_keys(type(model))]
    keys = {key.name: key for key in list_keys(find_section("blobs")[1])}
    assert keys["name"].default == "blobs"
    assert (keys["unexplained"].type, keys["unexplained"].meaning) == ("true or false", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.encoder.kind=row", r"model.encoder: unknown kind 'row', did you mean 'rows'\? \(known: flat, conv, ro"),
        ("model.encoder.hiden=3", "model.encoder.hiden: unknown key, did you mean 'hidden'"),
        ("model.encoder.hidden=0", "model.encoder.hidden: should be greater than or equal to 1"),
        ("task.name=blob", "task.name: unknown task 'blob', did you mean 'blobs'"),
        ("task.sprad=1", "task.sprad: unknown key, did you mean 'spread'"),
        ("plugins=3", "plugins: should map names"),
    ],
)
def test_wrong_keys_are_told_as_those_of_the_package(change, says):
    plugins.load_plugin(FILE)
    with pytest.raises(UsageError, match=says):
        metacli.load_recipe(TREE, change)


def test_a_name_is_taken_but_by_the_same_class_defined_again():
    for registry, name in ((TASKS, "copy"), (MODELS, "ntm")):
        cls = Clusters if registry is TASKS else LSTM
        with pytest.raises(ValueError, match=f"the name '{name}' is taken by metacli"):
            metacli.register(name, type("Own", (cls,), {}))
    for name in ("conv", "flat", "train", "lstm"):
        with pytest.raises(ValueError, match="is taken by metacli"):
            metacli.register(name, type("Net", (nn.Linear,), {}))

    def cell():
        @metacli.register("again")
        class Again(Clusters):
            pass

        return Again

    first, second = cell(), cell()
    assert first is not second
    assert TASKS["again"] is second
    assert (second.Config().name, Clusters.Config().name) == ("again", "clusters")
    with pytest.raises(ValueError, match="the name 'again' is taken by test_plugins:test_a_name"):
        metacli.register("again", type("Other", (Clusters,), {}))
    for cls, name in ((Clusters, "clusters"), (second, "again")):
        with pytest.raises(ValueError, match=f"is already registered as '{name}'"):
            metacli.register("alias", cls)
    for name in ("", "two words", "a.b", "a=b", "1a", "x" * 65):
        with pytest.raises(ValueError, match="is not a valid name"):
            metacli.register(name, type("Own", (Clusters,), {}))


def test_what_cannot_be_registered_is_told():
    class NoBatch(metacli.Tasks):
        class Config(metacli.Config):
            pass

    class NoConfig(LSTM):
        Config = None

    class NoEncoder(LSTM):
        class Config(metacli.Config):
            pass

    class OtherConfig(nn.Linear):
        class Config(metacli.Config):
            pass

    for cls, says in (
        (NoBatch, "does not define answer_of, batch, spec_of"),
        (NoConfig, "extends metacli.Config"),
        (NoEncoder, "needs encoder"),
        (OtherConfig, "extends metacli.EncoderConfig"),
        (dict, "must extend"),
        (3, "is not a class"),
    ):
        with pytest.raises(TypeError, match=says):
            metacli.register("mine", cls)
    with pytest.raises(TypeError, match="the first argument is a name"):
        metacli.register(NoBatch)
    assert "mine" not in {**TASKS, **MODELS, **ENCODERS}


def test_an_encoder_without_keys_and_one_that_makes_no_features():
    class Plain(nn.Module):
        def __init__(self, config, x_shape):
            super().__init__()
            self.made = config.size
            self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))

        def forward(self, x):
            assert x.is_contiguous()
            return self.net(x)

    assert metacli.register("plain", Plain) is Plain
    assert (
        metacli.build_model(
            {**TREE, "task": {"name": "clusters"}, "model": {**TREE["model"], "encoder": {"kind": "plain"}}}
        ).encoder.size
        == 4
    )
    metacli.register(
        "odd",
        type("Odd", (nn.Module,), {"__init__": lambda s, c, x: nn.Module.__init__(s), "forward": lambda s, x: x.sum()}),
    )
    tree = {**TREE, "task": {"name": "clusters"}, "model": {**TREE["model"], "encoder": {"kind": "odd"}}}
    with pytest.raises(MetacliError, match="encoder 'odd': its output for items"):
        metacli.build_model(tree)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 +", "line 1: SyntaxError"),
        ("x = 1\n\nraise RuntimeError('no luck')", "line 3: RuntimeError: no luck"),
        ("import nonesuch_at_all", "line 1: ModuleNotFoundError"),
        ("import sys; sys.exit(3)", "line 1: SystemExit"),
        (
            "import metacli\nimport torch\n\nmetacli.register('copy', type('Net', (torch.nn.Linear,), {}))",
            "line 4: ValueError: the name 'copy' is taken",
        ),
    ],
)
def test_a_plugin_that_fails_is_told_with_its_line(tmp_path, text, says):
    (tmp_path / "bad.py").write_text(text)
    for _ in range(2):  # it is not left half imported
        with pytest.raises(UsageError, match=says) as caught:
            plugins.load_plugin(tmp_path / "bad.py")
        assert "bad.py" in caught.value.message


def test_no_such_plugin(tmp_path):
    for source, says in (
        ("none.py", "no such file"),
        ("./none", "no such file"),
        (tmp_path, "no such file"),
        ("nonesuch.x", "no such module"),
    ):
        with pytest.raises(UsageError, match=says):
            plugins.load_plugin(source)


def test_a_file_may_import_its_neighbours_and_a_module_is_known_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "beside_it.py").write_text("NAME = 'near'")
    text = "import metacli, beside_it\nfrom metacli.tasks.clusters import Clusters\n"
    (tmp_path / "own" / "with_it.py").write_text(text + "metacli.register(beside_it.NAME, type('C', (Clusters,), {}))")
    plugins.load_plugin(tmp_path / "own" / "with_it.py")
    assert "near" in TASKS
    (tmp_path / "as_module.py").write_text(
        text.replace(", beside_it", "") + "metacli.register('far', type('C', (Clusters,), {}))"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load_plugin("as_module")
    assert find_origins(["far"]) == {"far": "as_module"}
    del sys.modules["as_module"]


def installed(folder: Path, name: str, text: str) -> None:
    """A package as pip would leave it in a folder."""
    (folder / f"{name}.py").write_text(text)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[metacli.plugins]\n{name} = {name}\n")


@pytest.mark.slow
def test_installed_packages_are_asked_for_names_that_are_unknown(cli, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    installed(site, "own_blobs", FILE.read_text() + "\nprint('imported')\n")
    installed(site, "broken", "raise RuntimeError('broken')")
    path = f"{site}:{Path(metacli.__file__).parent.parent}"
    (tmp_path / "r.yaml").write_text(json.dumps(TREE))
    known = cli("sample-tasks", "smoke", "-n", "1", PYTHONPATH=path)
    assert known.returncode == 0, known.stderr
    assert "imported" not in known.stdout
    assert "broken" not in known.stderr
    done = cli("train", "r.yaml", "--run-dir", "r", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "note: skipped the installed plugin 'broken': RuntimeError: broken" in done.stderr
    assert cli("eval", "-c", "r", "--tasks", "5", PYTHONPATH=path).returncode == 0
    without = cli("eval", "-c", "r", "--tasks", "5")
    assert without.returncode == 2
    assert "needs 'blobs' from the plugin 'own_blobs'" in without.stderr


REFUSED = [
    ("eval", "-c", "r"),
    ("inspect-memory", "-c", "r"),
    ("train", "--resume", "r"),
    ("draw", "-c", "r", "--no-open"),
    ("predict", "-c", "r", "--support", "classes", "--query", "classes/a"),
]
GRANTED = [
    *REFUSED[:3],
    ("sample-tasks", "r.yaml"),
    ("train", "r.yaml", "--dry-run"),
    ("recipes", "r.yaml"),
    ("recipes", "--keys", "blobs"),
]


def test_the_whole_way_through_the_command_line(cli, tmp_path, monkeypatch, capsys):
    """Every verb takes --plugin; a checkpoint without its plugin says which, and imports nothing by itself."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILE, "own.py")
    with open("own.py", "a") as file:
        file.write("\nfrom pathlib import Path\nPath('was_imported').touch()\n")
    Path("r.yaml").write_text(json.dumps(TREE))
    for name in ("a", "b"):
        Path("classes", name).mkdir(parents=True)
        Image.new("L", (8, 8), 9).save(Path("classes", name, "1.png"))
    done = cli("train", "r.yaml", "--run-dir", "r", "--plugin", "own.py")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("next: metacli eval r --plugin own.py\n")
    Path("was_imported").unlink()

    for args in REFUSED:
        code, out, err = inside(monkeypatch, capsys, *args)
        assert (code, out) == (2, ""), args
        assert "needs 'blobs' from the plugin 'own.py', which is not loaded" in err
        assert "hint: load the file or module that registers it with --plugin" in err
    assert not Path("was_imported").exists()

    for args in GRANTED:
        code, out, err = inside(monkeypatch, capsys, *args, "--plugin", "own.py")
        assert code == 0, (args, err)
        assert out
    result = json.loads(Path("r/eval.json").read_text())
    assert result["recipe"]["plugins"] == {"blobs": "own.py", "rows": "own.py"}
    assert Path("was_imported").exists()
    code, out, err = inside(monkeypatch, capsys, "train", "r.yaml", "--plugin", "nowhere.py")
    assert (code, out) == (2, "")
    assert err.startswith("error: plugin 'nowhere.py': no such file")


def test_what_a_file_says_of_plugins_is_told_safely_and_held_to_its_form(tiny_tree):
    said = {"evil": "\x1b[31m../../evil.py"}
    with pytest.raises(UsageError) as caught:
        recipe_from_dict({**tiny_tree, "task": {"name": "evil"}, "plugins": said}, "file")
    assert "\x1b" not in caught.value.message
    recipe_from_dict({**tiny_tree, "plugins": said}, "file")  # of a name that is not used
    for wrong in ([], "x", {"a": 1}, {1: "a"}):
        with pytest.raises(UsageError, match="plugins: should map names"):
            recipe_from_dict({**tiny_tree, "plugins": wrong}, "file")


def test_a_learner_is_taught_by_tasks_of_ones_own(tmp_path):
    plugins.load_plugin(FILE)
    tree = {**TREE, "model": {"name": "transformer", "width": 64, "init": "content"}}
    outcome = metacli.train(tree, "task.width=6", run_dir=tmp_path / "r", quiet=True, threads=1)
    x = np.random.default_rng(0).uniform(-1, 1, (3, 6))
    assert metacli.load(outcome.run).fit(x, ["a", "b", "c"]).predict(x).tolist() == ["a", "b", "c"]


def test_encoder_configs_validate_in_python_too():
    plugins.load_plugin(FILE)
    own = resolve(ENCODERS, "rows", "encoder").Config
    assert issubclass(own, EncoderConfig)
    config = LSTM.Config(encoder=own(hidden=9))
    assert config.as_dict()["encoder"]["hidden"] == 9
    assert LSTM.Config.model_validate({"encoder": {"kind": "rows", "hidden": 9}}) == config
