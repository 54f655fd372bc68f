"""A chat: one server, a page for the browser over WebSocket, a terminal client over TCP.

Read it in this order: `rules` and `protocol` (what is said on the wire), `chat` (who is where),
`commands` (what a person may type), `server` (connections and the page); then the other end:
`session`, `render`, `plain` and `screen`, and the page beside them.
"""
