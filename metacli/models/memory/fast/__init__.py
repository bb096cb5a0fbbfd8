"""The scan of memory networks compiled, its gradient by hand: the values of the plain one, sooner."""
