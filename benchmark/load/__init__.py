"""The load clients: processes of their own that exchange messages and check every byte.

There are two. The closed loop (`__main__`, asked by a `plan`) sends when a reply has come, which
measures throughput; the open loop (`paced`, asked by a `timetable`) sends when it is time to,
whatever has come back, which measures whether promises are kept. Each exists in C, compiled when a
C compiler is there (`library`; `native` and `load.c`, `native_pacing` and `paced.c`, with
`wire.h`, `link.h` for TLS and `inflate.h` for compression in common), and in Python for everywhere
else (`selecting`, `pacing`, with `wire` and `deflate` in common). `dialing` and `dial.c` shake
hands over and over, in C only. `connect` opens the connections, `stream` builds the frames in
advance, `hold` only holds idle ones.
"""
