"""The operating system at hand: files, cache, downloads, terminal, memory."""
