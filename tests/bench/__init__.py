"""What a training step and an episode cost, beside honest references: `python -m tests.bench`, or `make bench`.

cases      what is measured, each a shipped recipe with a few keys changed
build      from a recipe to a training step: the one place where our models are made
plain/     the papers' equations, written down in eager PyTorch as they stand; equal to ours by test
packages   what others publish, where it is installed
limit      how long the step's arithmetic would take as one matrix product
timing     medians; references and ours take turns, so that noise hits all alike
peak       memory, each side in a process of its own
growth     how the cost grows with L, T, ways, shots and batch
report     the table and the JSON
figure     the plot
"""
