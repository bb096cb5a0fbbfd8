"""Hardware and processes: device, processor, threads, torchrun, compiled loops."""
