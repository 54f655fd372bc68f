"""TLS contexts for servers, with errors that say which file is wrong."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from netserver.errors import CertificateError


def server_context(
    certificate: str | os.PathLike[str],
    key: str | os.PathLike[str] | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """A context for ``Server.listen(tls=…)``: TLS 1.2 and later, no compression.

    Args:
        certificate: A PEM file with the certificate and those that vouch for it.
        key: A PEM file with its private key; None when it is in the same file.
        password: Opens the key; None when it is not locked.

    Raises:
        CertificateError: A file is missing, unreadable, no PEM, or the two do not fit.
    """
    for path in (certificate, key):
        if path is not None:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise CertificateError(f"cannot read {path}: {error.strerror}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a callable, OpenSSL would ask for the password on the terminal.
        context.load_cert_chain(certificate, key, password or (lambda: b""))
    except ssl.SSLError as error:
        reason = (error.reason or "NO_PEM_CERTIFICATE_AND_KEY").replace("_", " ").lower()
        raise CertificateError(f"{certificate} with key {key or certificate}: {reason}") from error
    return context
