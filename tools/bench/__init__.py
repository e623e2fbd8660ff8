"""Benchmark of this package against tipo-kgen 0.3.1: one model, one run (`python -m tools.bench`)."""
