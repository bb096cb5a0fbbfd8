"""Networks with an external memory: a controller and an output layer around a memory access module."""
