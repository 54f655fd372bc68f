"""``amqp://`` and ``amqps://``: servers joined by RabbitMQ, with a queue for each of them.

    amqp://[user:password@]host[:5672][,host2[:5672]…][/vhost][?options]
    amqps://…

Any of several servers will do; they share the credentials, which are guest's if none are given.
Options:

- ``exchange=foreman`` the exchange, one for all servers that belong together.
- ``heartbeat=10`` seconds, 1 to 60: a broker that is silent for two of them is taken for gone.
- with ``amqps://``: ``ca=`` the authority's certificate instead of the system's, ``cert=`` and
  ``key=`` this server's own (PEM files).

Nothing is written to disk there: the queue goes with the connection, and is made anew with it. A
broker that hangs, or that is out of memory or disk and therefore blocks publishers, is slow:
publishing waits. Messages are not confirmed: one that is on its way when the link is lost may be
lost too, without a word.
"""
