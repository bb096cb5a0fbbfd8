"""`metacli models`: the bundled models."""

from __future__ import annotations

from metacli.cli.options import AsJson, examples, print_result

EXAMPLES = examples("metacli models", "metacli models --json")


def models(as_json: AsJson = False) -> None:
    """List the bundled models with their reference scores, and which to start with."""
    from metacli.checkpoints.bundled import bundled_models
    from metacli.show.models import print_models

    bundled = bundled_models()
    print_result(as_json, [model.as_dict() for model in bundled], lambda console: print_models(console, bundled))
