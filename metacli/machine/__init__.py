"""The computer at hand: processor, threads, device, compiled loops, cache, files."""
