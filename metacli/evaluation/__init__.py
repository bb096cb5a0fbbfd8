"""Evaluation on held-out tasks, with confidence intervals."""
