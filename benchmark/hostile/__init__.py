"""Peers that mean harm: what they do, and what becomes of them.

A catalogue of attacks (`benchmark.hostile.catalogue`), a file for each family. Each is carried out
on real sockets against a real address, by a process of its own (`benchmark.hostile.attacker`), and
says what a server is to make of it. The tests run every one of them, one by one; ``python -m
benchmark hostile`` puts figures to them (`benchmark.hostile.rows`).
"""
