"""The process that tries hostile inputs of one kind: `python -m tests.trust.worker JOB`, started by `tests.trust.fuzz`."""

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

COMPILED = [
    "metacli.tasks.images.augment_jit",
    "metacli.models.memory.fast",
]  # by numba, which wants its bytecode plain
SEEDS = 24  # first inputs, of random bytes


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
    (_by_coverage if atheris else _at_random)(trial, job, atheris)


def _atheris() -> Any:
    try:
        return import_module("atheris")
    except ImportError:
        return None


def _by_coverage(trial: Trial, job: dict[str, Any], atheris: Any) -> None:
    """Inputs that atheris chooses: bytes that hypothesis draws from. It ends the process itself."""
    corpus = Path(job["top"]) / f"corpus-{job['kind']}"
    if not corpus.exists():
        corpus.mkdir()
        rng = random.Random(job["seed"])
        for i in range(SEEDS):
            (corpus / f"first{i}").write_bytes(rng.randbytes(rng.choice((200, 1000, 4000))))
    flags = ["-runs=-1", f"-seed={job['seed'] + 1}", "-len_control=0", "-max_len=4096", "-verbosity=0"]
    flags += ["-timeout=0", "-rss_limit_mb=0", *(f"-handle_{s}=0" for s in ("segv", "bus", "abrt", "ill", "fpe"))]
    flags += [f"-handle_{s}=0" for s in ("int", "term", "xfsz", "usr1", "usr2")]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], _test(trial, 1).hypothesis.fuzz_one_input)
    atheris.Fuzz()


def _at_random(trial: Trial, job: dict[str, Any], _: Any) -> None:
    """Inputs that hypothesis chooses."""
    from hypothesis import seed

    for more in range(job["seed"], job["seed"] + 1000):
        seed(more)(_test(trial, job["inputs"]))()


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
        from tests.trust import confined, goods

        self._job, self._confined, self._engine = job, confined, engine
        self._module = import_module(f"tests.trust.{job['kind']}")
        self._top, self._kept = Path(job["top"]), Path(job["kept"])
        self._place = self._top / "place"
        self._log = open(job["log"], "a", encoding="utf-8")  # noqa: SIM115
        self._faults: set[str] = set()
        self._tried = 0
        self._goods = goods.Goods(self._top / "goods")
        self._goods.prepare(getattr(self._module, "NEEDS", ()))
        self._watch = confined.Watch(self._place, self._top / "cache", Path(os.environ["TMPDIR"]))
        confined.limit_memory()

    def __call__(self, draw: Callable[[Any], Any]) -> None:
        """One input."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        os.chdir(self._place)
        case = self._module.case(draw, self._place, self._goods)
        command = shlex.join(["metacli", *case.argv])
        about = {"kind": self._job["kind"], "command": command, "kept": str(self._place), "engine": self._engine}
        self._write({"begun": {**about, "seconds": 0.0, "mib": self._confined.peak_mib()}})
        before = snapshot(self._top)
        outcome = self._confined.run(case, self._watch)
        outcome.outside += sorted(snapshot(self._top) ^ before)
        word, detail = self._confined.judge(case, outcome)
        self._tried += 1
        fault = f"{word}: {detail}".partition(" | ")[0]
        if word not in ("done", "refused") and fault not in self._faults:
            self._faults.add(fault)
            about["kept"] = self._keep(case, outcome, fault)
        self._write(
            {**about, "outcome": word, "detail": detail, "seconds": outcome.seconds, "mib": self._confined.peak_mib()}
        )
        if self._tried >= self._job["inputs"] or len(self._faults) >= self._job["faults"]:
            os._exit(0)  # out of atheris and of hypothesis, which would go on

    def _keep(self, case: Any, outcome: Any, fault: str) -> str:
        kept = self._kept / f"{self._job['kind']}-{self._job['seed']}-{self._tried}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self._place, kept, symlinks=True, ignore=_pipes, dirs_exist_ok=True)
        about = {"argv": case.argv, "encoding": case.encoding, "fault": fault, "code": outcome.code}
        (kept / "trust.json").write_text(json.dumps(about, indent=2))
        (kept / "trust.txt").write_text(f"{outcome.out}\n{outcome.err}\n{outcome.raised}", errors="backslashreplace")
        return str(kept)

    def _write(self, record: dict[str, Any]) -> None:
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()


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
