"""Measures the server on this machine, alone and beside others: ``python -m benchmark --help``."""
