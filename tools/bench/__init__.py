"""Benchmark of this package against tipo-kgen 0.3.1 and against the libraries alone (`python -m tools.bench`)."""
