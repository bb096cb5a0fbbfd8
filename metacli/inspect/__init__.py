"""Show a `MemoryTrace` in the terminal, as a figure and as a page, and measure the use of memory over many tasks."""
