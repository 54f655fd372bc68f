"""The load client: a process of its own that plays ping-pong with a server and checks every byte.

`plan` is what it is asked and what it answers, `connect` opens the connections, `stream` builds
the frames in advance, `client` is the face of the two clients that exchange them: `native`
(`load.c`, compiled when a C compiler is there) and `selecting` (Python, everywhere and for TLS).
"""
