"""Servers under the same load, each a program of its own: ours and those of others.

`program` is what they share: options in, one JSON line with the addresses out, statistics on
request. Those that take part in the mixed scenario listen twice, the second time for the slow, and
obey the orders of `work`. `benchmark.servers` lists them.
"""
