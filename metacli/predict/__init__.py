"""Answers on a person's own pictures: the work behind `predict`, its table and its contact sheet."""
