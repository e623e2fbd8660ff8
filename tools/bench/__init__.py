"""The benchmark: this package and tipo-kgen 0.3.1 in turn, on one model, in one run (`python -m tools.bench`).

Nothing else imports it, and it changes nothing it measures.
"""
