"""``zmq://``: servers that connect to each other, without a broker."""

from netserver.backplane.zeromq.engine import ZmqBackplane

__all__ = ["ZmqBackplane"]
