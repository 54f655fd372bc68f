"""The Autobahn test suite against this project's WebSocket server and clients.

``python -m conformance`` installs the suite, runs it, and fails unless every case passes. The
suite is a program for Python 2.7, so it lives in a virtual environment of its own and is only ever
talked to through its files, its output and its sockets.
"""
