"""Hardware and processes: device, CPU, threads, torchrun, compiled loops."""
