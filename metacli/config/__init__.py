"""Recipes: from YAML and KEY=VALUE to typed values."""
