"""What computes: device, processor, threads, processes, compiled loops."""
