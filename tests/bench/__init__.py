"""Measures training steps, episodes and commands beside references: `python -m tests.bench`, or `make bench`.

cases       what is measured, each a bundled recipe with a few keys changed
build       builds training steps from recipes
references  the papers' equations in eager PyTorch; equal to our models by test
packages    published packages: `dnc`, `easyfsl`
floor       the time of the step's matrix products at the machine's highest rate
timing      medians; implementations take turns, so that noise affects all alike
peak        memory, each implementation in its own process
measure     all of these for all cases
growth      how the cost grows with L, T, ways, shots and batch
commands    wall time from `metacli train` to its first step, or to a stated result
report      the tables for the terminal
markdown    the tables for docs/benchmark.md
figure      the plot
ranks       the training speed of two processes beside one
"""
