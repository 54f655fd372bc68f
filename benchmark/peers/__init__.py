"""Servers under the same load, each a program of its own: ours and those of others.

`program` is what they share: options in, one JSON line with the addresses out, statistics on
request. `benchmark.servers` lists them.
"""
