"""TLS: certificates that cannot be used, and what goes wrong once it is up."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from netserver import CertificateError, Connection, Server, server_context


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.fixture
def files(tls: Any, tmp_path: Path) -> tuple[Path, Path]:
    issued = tls.authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return tmp_path / "cert.pem", tmp_path / "key.pem"


class TestContext:
    @pytest.mark.parametrize("apart", [True, False])
    def test_it_serves(self, site: Any, files: tuple[Path, Path], apart: bool) -> None:
        certificate, key = files
        context = (
            server_context(certificate, key)
            if apart
            else server_context(certificate.with_name("both.pem"))
        )
        listener = site.listen("tls://127.0.0.1:0", Echo, tls=context)
        with site.dial(listener, b"12hi") as sock:
            assert sock.version() == "TLSv1.3"
            assert sock.recv(10) == b"12hi"

    @pytest.mark.parametrize("missing", ["certificate", "key"])
    def test_a_file_that_is_missing(self, files: tuple[Path, Path], missing: str) -> None:
        paths: dict[str, Any] = dict(zip(("certificate", "key"), files, strict=True))
        paths[missing] = Path("/no/such/file")
        with pytest.raises(CertificateError, match="cannot read /no/such/file"):
            server_context(**paths)

    def test_one_that_may_not_be_read(self, files: tuple[Path, Path], as_nobody: Any) -> None:
        program = """
try:
    server_context(sys.argv[1], sys.argv[2])
except CertificateError as error:
    print(error)
"""
        files[1].chmod(0)
        assert "Permission denied" in as_nobody(program, *files)

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(CertificateError, match="cannot read"):
            server_context(tmp_path)

    def test_no_pem(self, files: tuple[Path, Path]) -> None:
        files[0].write_text("nonsense")
        with pytest.raises(CertificateError, match="pem"):
            server_context(*files)

    def test_a_key_of_another(self, files: tuple[Path, Path]) -> None:
        trustme.CA().issue_cert("x").private_key_pem.write_to_path(files[1])
        with pytest.raises(CertificateError, match="mismatch"):
            server_context(*files)

    def test_a_locked_key(self, files: tuple[Path, Path]) -> None:
        from cryptography.hazmat.primitives import serialization as pem

        key = pem.load_pem_private_key(files[1].read_bytes(), None)
        files[1].write_bytes(
            key.private_bytes(
                pem.Encoding.PEM,
                pem.PrivateFormat.TraditionalOpenSSL,
                pem.BestAvailableEncryption(b"open sesame"),
            )
        )
        assert server_context(*files, password="open sesame")
        for password in (None, "wrong"):
            with pytest.raises(CertificateError):
                server_context(*files, password=password)


@pytest.mark.both_loops
class TestFaults:
    @pytest.mark.parametrize("scheme", ["tls", "wss"])
    def test_a_handshake_that_is_none(self, site: Any, scheme: str, receive_all: Any) -> None:
        listener = site.listen(f"{scheme}://127.0.0.1:0", Echo)
        address: Any = listener.address
        for said in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
            b"\0" * 50,
        ):
            with socket.create_connection(address, 10) as sock:
                sock.sendall(said)
                receive_all(sock)
        with site.dial(listener):
            pass
        assert [e for e in site.journal.named("error") if not hasattr(e[2], "close_code")] == []

    def test_the_peer_is_told_with_an_alert(self, site: Any) -> None:
        listener = site.listen("tls://127.0.0.1:0", Echo)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.set_ciphers("AES128-SHA256")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        site.tls.server.set_ciphers("ECDHE+AESGCM")
        address: Any = listener.address
        with (
            socket.create_connection(address, 10) as sock,
            pytest.raises(ssl.SSLError, match=r"(?i)alert"),
        ):
            old.wrap_socket(sock)

    @pytest.mark.parametrize("scheme", ["tls", "wss"])
    def test_a_bad_record_once_it_is_up(
        self, site: Any, scheme: str, caplog: pytest.LogCaptureFixture, receive_all: Any
    ) -> None:
        listener = site.listen(f"{scheme}://127.0.0.1:0", Echo)
        sock = site.dial(listener, HANDSHAKE if scheme == "wss" else b"12hi")
        sock.recv(10)
        site.journal.until("open")
        with socket.socket(fileno=sock.detach()) as plain:
            plain.settimeout(10)
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            receive_all(plain)
        assert site.journal.until("close")[0][2] == 1015
        assert len(site.journal.named("error")) == 1
        assert "Fatal error" not in caplog.text
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    def test_an_end_without_a_close(self, site: Any) -> None:
        sock, _ = site.open(site.listen("tls://127.0.0.1:0", Echo))
        with socket.socket(fileno=sock.detach()) as plain:
            plain.shutdown(socket.SHUT_WR)
            site.journal.until("close")
        assert site.journal.until("close")[0][2:] == (1006, "the TLS stream ended without a close")

    def test_an_end_in_good_order(self, site: Any) -> None:
        sock, _ = site.open(site.listen("tls://127.0.0.1:0", Echo))
        sock.unwrap().close()
        assert site.journal.until("close")[0][2:] == (1000, "")

    def test_our_end_in_good_order(self, site: Any) -> None:
        """The peer can tell it from an attacker's cut."""
        sock, connection = site.open(site.listen("tls://127.0.0.1:0", Echo))
        with sock:
            connection.close()
            assert sock.recv(1) == b""  # and no SSLEOFError

    def test_the_certificate_is_refused_by_the_peer(self, site: Any) -> None:
        address: Any = site.listen("tls://127.0.0.1:0", Echo).address
        with (
            socket.create_connection(address, 10) as sock,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(sock, server_hostname="127.0.0.1")

    def test_to_another_server_whose_certificate_is_refused(self, site: Any) -> None:
        listener = site.listen("tls://127.0.0.1:0", Echo)
        with Server(foreman=site.foreman) as other:
            failed: list[Any] = []

            class Dialled(Connection):
                def on_error(self, error: BaseException) -> None:
                    failed.append(error)

            other.connect(site.url(listener), Dialled, reconnect=None)
            while not failed:
                pass
        assert "certificate was refused" in str(failed[0])


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
