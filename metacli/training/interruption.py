"""What a second signal costs, which stops a run at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.checkpoints import checkpoint
from metacli.training.logbook import Journal
from metacli.training.progress import Progress


@contextmanager
def report_lost_steps(journal: Journal, run: Path, progress: Progress) -> Iterator[None]:
    """Where the block ends in a KeyboardInterrupt, says which steps are lost and where --resume goes on."""
    try:
        yield
    except KeyboardInterrupt:
        last = run / "last.pt"
        # asked of the file: the signal may have come between its writing and any note of that
        kept = checkpoint.load(last).step if last.is_file() else 0
        lost = max(journal.step - kept, 0)
        progress.say(
            f"stopped at once, nothing saved after step {kept:,}: {lost:,} step{'s' * (lost != 1)} and the one in hand "
            f"are lost; go on from step {kept:,} with: metacli train --resume {run}"
        )
        raise
