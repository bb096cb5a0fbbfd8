"""What pictures by matplotlib share."""

from __future__ import annotations

from metacli.errors import MetacliError

# Okabe and Ito's, told apart by everyone; the first stands out least from text, the yellow is left out
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#30363d")


def need_matplotlib(hint: str = "or leave out --png") -> None:
    """Raise a MetacliError that names the extra where matplotlib is missing.

    Args:
        hint: what else one may do.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MetacliError(
            "a picture needs matplotlib, which is not installed", f"pip install 'metacli[plot]', {hint}"
        ) from None
