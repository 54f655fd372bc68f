"""``zmq://``: servers that connect to each other, without a broker.

``zmq://HOST:PORT``, where this server listens, port 0 for any that is free and ``*`` for all
addresses, and behind it ``?`` and options with ``&`` between them:

    advertise=HOST[:PORT]      where others reach it, if that is not where it listens
    seeds=HOST:PORT,…          some of the others: any one tells of all further ones
    peers=HOST:PORT,…          the same, for a list of all
    dns=NAME:PORT              all addresses of a name are peers; looked up every five seconds
    key=FILE                   CURVE: this server's secret key
    trusted=FILE or DIR        CURVE: the public key, or the folder of ``*.key`` files, of all peers
    insecure=yes               plain text, though HOST is no loopback address

Listed addresses are tried for ever, and this server's own may be among them. With CURVE, both ends
of each connection are authenticated and all is encrypted; a certificate is made by

    python -m netserver.backplane.zeromq keygen DIR NAME

Servers may have a key each, or share one. A caller has to know a server's key beforehand, so it
tries the trusted ones in turn where nobody has told it yet: with many keys, joining takes longer.
"""
