"""metacli: train, evaluate and look inside model-based meta-learners."""

__version__ = "0.1.0"
