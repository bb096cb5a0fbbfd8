"""A few-shot classifier with the scikit-learn interface."""
