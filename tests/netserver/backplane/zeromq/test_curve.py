"""Who is let in, and by whose key."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from netserver.backplane.zeromq.__main__ import main
from netserver.backplane.zeromq.curve import load_keys, make_keys
from tests.netserver.backplane.zeromq.helpers import is_heard, made_site, until, zmq_of


def keys(folder: Path, *names: str) -> Path:
    for name in names:
        make_keys(folder, name)
    return folder


def curve(folder: Path, name: str, trusted: Path | None = None) -> str:
    return f"key={folder}/{name}.key_secret&trusted={trusted or folder}"


async def test_servers_with_keys_of_their_own_trust_each_other(tmp_path: Path) -> None:
    folder = keys(tmp_path, "a", "b", "c")
    async with made_site() as site:
        a = await site.join(curve(folder, "a"))
        b = await site.next_to(a, curve(folder, "b"))
        c = await site.next_to(a, curve(folder, "c"))
        await c.backplane.subscribe(["s"])
        assert await is_heard(b, "s", b"secret")
        assert await c.until_received(1) == [("s", b"secret")]
        assert zmq_of(a).statistics.refused == 0


async def test_servers_may_share_one_key(tmp_path: Path) -> None:
    folder = keys(tmp_path, "all")
    one = folder / "all.key"
    async with made_site() as site:
        a = await site.join(curve(folder, "all", one))
        b = await site.next_to(a, curve(folder, "all", one))
        await b.backplane.subscribe(["s"])
        assert await is_heard(a, "s")


async def test_one_that_is_not_trusted_stays_outside_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inside = keys(tmp_path / "inside", "a", "b")
    outside = keys(tmp_path / "outside", "x")
    (outside / "a.key").write_bytes((inside / "a.key").read_bytes())
    caplog.set_level(logging.WARNING)
    async with made_site() as site:
        a = await site.join(curve(inside, "a"))
        await a.backplane.subscribe(["s"])
        stranger = await site.next_to(a, curve(outside, "x"))
        await until(lambda: zmq_of(a).statistics.refused >= 3)  # it tries again and again
        assert not await is_heard(stranger, "s")
        b = await site.next_to(a, curve(inside, "b"))
        assert await is_heard(b, "s", b"trusted")
        assert await a.until_received(1) == [("s", b"trusted")]
        assert zmq_of(stranger).statistics.peers == 0
        await until(lambda: "it does not trust this server's key" in caplog.text)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if line.startswith("refused a peer from 127.0.0.1")]) == 1
    assert len([line for line in told if "it does not trust this server's key" in line]) == 1


async def test_a_server_in_place_of_another_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that knows who is trusted, but has another key than any of those."""
    real = keys(tmp_path / "real", "a", "b")
    fake = keys(tmp_path / "fake", "x")
    (fake / "b.key").write_bytes((real / "b.key").read_bytes())
    async with made_site() as site:
        x = await site.join(curve(fake, "x"))
        b = await site.next_to(x, curve(real, "b"))
        await x.backplane.subscribe(["s"])
        assert not await is_heard(b, "s")
        await until(lambda: f"the peer at {zmq_of(x).address}: it has another key" in caplog.text)
        assert zmq_of(b).statistics.peers == 0


@pytest.mark.parametrize("first", ["plain", "curve"])
async def test_plain_text_stays_outside(
    first: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_curve = curve(keys(tmp_path, "a", "b"), "a")
    async with made_site() as site:
        a = await site.join("" if first == "plain" else with_curve)
        await a.backplane.subscribe(["s"])
        b = await site.next_to(a, with_curve if first == "plain" else "")
        assert not await is_heard(b, "s")
        await until(lambda: f"no link to the peer at {zmq_of(a).address}: it has" in caplog.text)
        assert zmq_of(a).statistics.peers == zmq_of(b).statistics.peers == 0


def test_keygen_makes_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    done = subprocess.run(
        [sys.executable, "-m", "netserver.backplane.zeromq", "keygen", str(folder), "chat"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    public, secret = folder / "chat.key", folder / "chat.key_secret"
    assert f"key={secret}" in done.stdout
    assert {stat.S_IMODE(each.stat().st_mode) for each in (public, secret)} == {0o600}
    found = load_keys(secret, folder)
    assert found.trusted == {found.public}
    assert repr(found.secret) not in repr(found)


def test_keygen_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", str(tmp_path)]) == 0
    before = (tmp_path / "server.key_secret").read_bytes()
    assert main(["keygen", str(tmp_path)]) == 1
    assert (tmp_path / "server.key_secret").read_bytes() == before
    assert "no keys made" in capsys.readouterr().err


def test_a_folder_without_keys_and_a_key_without_its_secret_are_told(tmp_path: Path) -> None:
    folder = keys(tmp_path / "keys", "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no \*.key file"):
        load_keys(folder / "a.key_secret", tmp_path / "empty")
    with pytest.raises(ValueError, match="has no secret key"):
        load_keys(folder / "a.key", folder)
