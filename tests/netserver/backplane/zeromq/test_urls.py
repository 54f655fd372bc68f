"""What a ``zmq://`` URL may say, and what is told when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from netserver.backplane import BackplaneUrlError, make_backplane
from netserver.backplane.url import Address, BackplaneUrl
from netserver.backplane.zeromq.options import Options
from tests.netserver.backplane.zeromq.helpers import made_site, zmq_of


def read(url: str) -> Options:
    return Options.read(BackplaneUrl.parse(url))


def test_everything_at_once() -> None:
    options = read(
        "zmq://*:5000?advertise=chat-1&peers=a:1,b:2&seeds=[::1]:3&dns=chat:5000&insecure=yes"
    )
    assert options.bind == Address("0.0.0.0", 5000)
    assert options.advertised(5000) == Address("chat-1", 5000)
    assert options.listed == (Address("a", 1), Address("b", 2), Address("::1", 3))
    assert options.name == Address("chat", 5000)
    assert options.keys is None


def test_the_free_port_is_the_one_advertised() -> None:
    assert read("zmq://127.0.0.1:0").advertised(77) == Address("127.0.0.1", 77)
    assert read("zmq://[::1]:0?advertise=x:80").advertised(77) == Address("x", 80)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("zmq://", "is no address to listen on"),
        ("zmq://127.0.0.1", "is not HOST:PORT"),
        ("zmq://127.0.0.1:x", "is no address to listen on"),
        ("zmq://127.0.0.1:70000", "is no address to listen on"),
        ("zmq://127.0.0.1:1/path", "a path means nothing here"),
        ("zmq://user@127.0.0.1:1", "is not HOST:PORT"),
        ("zmq://127.0.0.1:1?peers=here", "has peers=here"),
        ("zmq://127.0.0.1:1?seeds=a:1,,b:2", "has seeds=a:1,,b:2"),
        ("zmq://127.0.0.1:1?seeds=a:0", "has seeds=a:0"),
        ("zmq://127.0.0.1:1?dns=chat", "has dns=chat"),
        ("zmq://127.0.0.1:1?advertise=ä:1", "has advertise=ä:1"),
        ("zmq://127.0.0.1:1?insecure=1", "is neither yes nor no"),
        ("zmq://127.0.0.1:1?colour=red", "not known: colour"),
        ("zmq://127.0.0.1:1?key=a", "needs both key= and trusted="),
        ("zmq://127.0.0.1:1?trusted=a", "needs both key= and trusted="),
        ("zmq://127.0.0.1:1?key=no-file&trusted=no-file", "has keys that cannot be used"),
        ("zmq://10.0.0.1:1", "or insecure=yes"),
        ("zmq://chat.example:1", "or insecure=yes"),
        ("zmq://*:1?insecure=yes", "with advertise="),
    ],
)
def test_mistakes_are_told(url: str, reason: str) -> None:
    with pytest.raises(BackplaneUrlError) as caught:
        make_backplane(url)
    assert reason in str(caught.value)


async def test_a_port_that_is_taken_is_told() -> None:
    async with made_site() as site:
        a = await site.join()
        with pytest.raises(
            BackplaneUrlError, match="cannot be listened on: Address already in use"
        ):
            await site.join(host=str(zmq_of(a).address))


def test_a_key_file_that_has_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text('curve\n    public-key = "short"\n    secret-key = "x"\n')
    with pytest.raises(BackplaneUrlError, match="a key that is none"):
        make_backplane(f"zmq://127.0.0.1:0?key={tmp_path}/a.key&trusted={tmp_path}")
