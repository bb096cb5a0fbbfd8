"""Checkpoint files: format, saving, loading, provenance, bundled models."""
