"""The fast scan of memory networks: compiled, with hand-written gradients, equal to the plain scan."""
