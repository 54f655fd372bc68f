"""``nats://``: NATS, with its clustering, TLS, credentials, and history on JetStream.

    nats://[user:password@]host[:4222][,host2[:4222]…][?options]
    tls+nats://…

Of several servers one is chosen at random, and those of the cluster that it tells of are tried
after them. Options:

- ``token=`` a token, ``creds=`` a credentials file (JWT and seed), ``nkey=`` a file with a seed:
  instead of a user and a password, one of them; files are read anew for each connection.
- with ``tls+nats://``, which refuses a broker without TLS: ``ca=`` the authority's certificate
  instead of the system's, ``cert=`` and ``key=`` this server's own.
- ``history=off`` for no journal; ``stream=FOREMAN`` the stream that keeps it, one for all servers
  that belong together; ``replicas=`` 1, 3 or 5, on how many brokers of a cluster;
  ``max_bytes=1GiB`` how much of a broker's disk it takes, the oldest messages giving way.

A subscription costs some 0.3 KiB here, and no task. That nobody subscribes to what was published is
NATS's own word ("no responders", from nats-server 2.2). While the broker takes no more, publishing
waits; at most 256 KiB and a message are unsent. What arrives is handed on as it is read, and queued
nowhere: a server that is too slow for it is cut off by the broker, and connects anew.
"""
