"""Networks with an external memory: a core (controller, interface, output) around a module of memory access."""
