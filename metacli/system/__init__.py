"""The operating system: files, cache, downloads, terminal, memory."""
