"""Fuzzers of the wire layer: what may arrive is any bytes, so any bytes are what it is tried with.

``python -m fuzz --help`` runs them guided by coverage, which needs atheris; the kept inputs are
in ``fuzz/corpus``, and pytest replays them all without it.
"""
