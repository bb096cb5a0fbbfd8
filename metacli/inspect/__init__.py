"""Looking at a `MemoryTrace`: in the terminal, as a figure, as a page, and measured over many tasks."""
