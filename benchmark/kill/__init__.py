"""The kill test: chatting clients who come back while servers, or the broker, are killed.

`trial` runs it: `site` is the server's program, `crowd` that of all clients, of which `guest` is
one, and `ledger` knows what it has received.
"""
