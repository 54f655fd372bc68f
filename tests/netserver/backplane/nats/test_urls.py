"""What a ``nats://`` URL may say, and what is told when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from netserver.backplane import BackplaneUrlError, make_backplane


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nats://", "names no host"),
        ("nats://a b", "names no host"),
        ("nats://h:port", "is none"),
        ("nats://h:1,nats://h:2", "several servers are listed as host,host"),
        ("nats://h/chat", "a path, of which NATS knows nothing"),
        ("nats://token@h", r"a token is given as \?token="),
        ("nats://u:secret@h?token=secret", "more than one of password, token, creds and nkey"),
        ("nats://h?token=secret&nkey=/nowhere", "more than one of"),
        ("nats://h?creds=/nowhere/at/all", "No such file"),
        ("nats://h?nkey=/nowhere/at/all", "No such file"),
        ("nats://h?ca=/nowhere/at/all", "need tls"),
        ("tls+nats://h?ca=/nowhere/at/all", "certificate that fails: .*No such file"),
        ("nats://h?history=maybe", "it is on or off"),
        ("nats://h?stream=a.b", "up to 32 of"),
        ("nats://h?replicas=2", "there are 1, 3 or 5"),
        ("nats://h?max_bytes=1MiB", "at least 2MiB"),
        ("nats://h?max_bytes=1TB", "such as 512MiB or 4GiB"),
        ("nats://h?max_bytes=-1", "such as 512MiB or 4GiB"),
        ("nats://h?speed=high&token=secret", "not known: speed"),
    ],
)
def test_a_url_with_a_mistake_is_refused_without_telling_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(BackplaneUrlError, match=reason) as caught:
        make_backplane(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["creds", "nkey"])
def test_a_file_without_a_key_in_it_is_refused(tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    file.write_text("nothing of the kind\n")
    with pytest.raises(BackplaneUrlError, match="in it"):
        make_backplane(f"nats://h?{option}={file}")
