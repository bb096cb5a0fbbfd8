"""The process that tries hostile inputs: `python -m tests.trust.worker JOB`, started by `tests.trust.fuzz`."""

from __future__ import annotations

import faulthandler
import json
import os
import pkgutil
import random
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tests.trust.confined import Case, Outcome, Watch, judge, limit_memory, peak_mib, run
from tests.trust.goods import Goods

COMPILED = [
    "metacli.tasks.images.augment_jit",
    "metacli.models.memory.fast",
]  # by numba, which wants its bytecode plain
SEEDS = 1000  # first inputs, of random bytes, at most; half of all


def main(job: dict[str, Any]) -> None:
    """Try inputs until there are enough, or too many faults."""
    faulthandler.enable()
    atheris = _atheris() if job["coverage"] else None
    with atheris.instrument_imports(include=["metacli"], exclude=COMPILED) if atheris else nullcontext():
        import metacli

        for module in pkgutil.walk_packages(metacli.__path__, "metacli."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    torch.set_num_threads(1)
    sys.modules["numba"] = None  # type: ignore[assignment]  # which compiles for longer than a command may take
    trial = Trial(job, "atheris" if atheris else "hypothesis")
    for kind, inputs in job["kinds"].items():
        trial.begin(kind, inputs)
        if atheris:
            _by_coverage(trial, kind, job, atheris)
        _at_random(trial, inputs, job["seed"])


def _atheris() -> Any:
    try:
        return import_module("atheris")
    except ImportError:
        return None


def _by_coverage(trial: Trial, kind: str, job: dict[str, Any], atheris: Any) -> None:
    """Inputs that atheris chooses: bytes that hypothesis draws from. It ends the process itself."""
    corpus = Path(job["top"]) / f"corpus-{kind}"
    if not corpus.exists():
        corpus.mkdir()
        rng = random.Random(job["seed"])
        for i in range(min(SEEDS, 1 + job["kinds"][kind] // 2)):
            (corpus / f"first{i}").write_bytes(rng.randbytes(rng.choice((200, 1000, 4000))))
    flags = ["-runs=-1", f"-seed={job['seed'] + 1}", "-len_control=0", "-max_len=4096", "-verbosity=0"]
    flags += [
        "-timeout=0",
        "-rss_limit_mb=0",
        f"-artifact_prefix={corpus.parent}/",
        *(f"-handle_{s}=0" for s in ("segv", "bus", "abrt", "ill", "fpe")),
    ]
    flags += [f"-handle_{s}=0" for s in ("int", "term", "xfsz", "usr1", "usr2")]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], _test(trial, 1).hypothesis.fuzz_one_input)
    atheris.Fuzz()


def _at_random(trial: Trial, inputs: int, first: int) -> None:
    """Inputs that hypothesis chooses."""
    from hypothesis import seed

    while trial.left:
        seed(first)(_test(trial, inputs))()
        first += 1


def _test(trial: Callable[[Any], None], inputs: int) -> Any:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    quiet = settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def attempt(data: Any) -> None:
        trial(data.draw)

    return quiet(given(st.data())(attempt))


class Trial:
    """Makes an input of what is drawn, runs it, judges it and writes a line about it.

    Args:
        job: what `tests.trust.fuzz` asks for.
        engine: what chooses the inputs.
    """

    def __init__(self, job: dict[str, Any], engine: str):
        self._job, self._engine = job, engine
        self._top = Path(job["top"])
        self._place = self._top / "place"
        self._log = open(job["log"], "a", encoding="utf-8")  # noqa: SIM115
        self._faults: set[str] = set()
        self._goods = Goods(self._top / "goods")
        for kind in job["kinds"]:
            self._goods.prepare(getattr(_module(kind), "NEEDS", ()))
        self._watch = Watch(self._place, self._top / "cache", Path(os.environ["TMPDIR"]))
        limit_memory()

    def begin(self, kind: str, inputs: int) -> None:
        """From now on try inputs of this kind, and so many."""
        self._kind, self._case, self.left = kind, _module(kind).case, inputs

    def __call__(self, draw: Callable[[Any], Any]) -> None:
        """One input; none where there were enough."""
        if not self.left:
            return
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        os.chdir(self._place)
        case = self._case(draw, self._place, self._goods)
        about = {"kind": self._kind, "command": shlex.join(["metacli", *case.argv]), "kept": str(self._place)}
        about |= {"engine": self._engine, "seconds": 0.0, "mib": peak_mib()}
        self._write(about)
        before = snapshot(self._top)
        outcome = run(case, self._watch)
        outcome.outside += sorted(path for path, *_ in snapshot(self._top) ^ before)
        word, detail = judge(case, outcome)
        self.left -= 1
        fault = f"{word}: {detail}".partition(" | ")[0]
        if word not in ("done", "refused") and fault not in self._faults:
            self._faults.add(fault)
            about["kept"] = self._keep(case, outcome, fault)
        self._write({**about, "outcome": word, "detail": detail, "seconds": outcome.seconds, "mib": peak_mib()})
        if len(self._faults) >= self._job["faults"] or (self._engine == "atheris" and not self.left):
            os._exit(0)  # out of atheris and of hypothesis, which would go on

    def _keep(self, case: Case, outcome: Outcome, fault: str) -> str:
        kept = Path(self._job["kept"], f"{self._kind}-{self._job['seed']}-{self.left}-left")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self._place, kept, symlinks=True, ignore=_pipes, dirs_exist_ok=True)
        about = {"argv": case.argv, "encoding": case.encoding, "fault": fault, "code": outcome.code}
        (kept / "trust.json").write_text(json.dumps(about, indent=2))
        (kept / "trust.txt").write_text(f"{outcome.out}\n{outcome.err}\n{outcome.raised}", errors="backslashreplace")
        return str(kept)

    def _write(self, record: dict[str, Any]) -> None:
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()


def _module(kind: str) -> Any:
    return import_module(f"tests.trust.{kind}")


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_fifo()]


def snapshot(top: Path) -> set[tuple[str, int, int]]:
    """Every file around the place: where it is, how long, when it was changed."""
    found = set()
    for folder, folders, files in os.walk(top):
        if Path(folder) == top:
            folders[:] = [f for f in folders if f not in ("place", "cache", "tmp") and not f.startswith("corpus-")]
            files = []
        for name in files:
            about = os.lstat(os.path.join(folder, name))
            found.add((os.path.join(folder, name), about.st_size, about.st_mtime_ns))
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
