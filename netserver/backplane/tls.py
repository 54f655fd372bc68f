"""The options of a broker's URL that are about TLS."""

from __future__ import annotations

import ssl

from netserver.backplane.errors import BackplaneUrlError
from netserver.backplane.url import BackplaneUrl


def read_context(url: BackplaneUrl, secure_scheme: str) -> ssl.SSLContext | None:
    """Take ``ca=``, ``cert=`` and ``key=`` (PEM files) out of a URL.

    Args:
        url: The URL.
        secure_scheme: The scheme with which it is encrypted.

    Returns:
        How to encrypt; None for not at all.

    Raises:
        BackplaneUrlError: A file cannot be used, or nothing is encrypted that it could be for.
    """
    authority = url.option("ca", str, "")
    certificate = url.option("cert", str, "")
    key = url.option("key", str, "")
    if url.scheme != secure_scheme:
        if authority or certificate or key:
            raise BackplaneUrlError(url.shown, f"has certificates, which need {secure_scheme}://")
        return None
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if certificate or key:
            # Without a callable, OpenSSL would ask for the password on the terminal.
            context.load_cert_chain(certificate or key, key or None, lambda: b"")
    except OSError as error:  # ssl.SSLError is one
        raise BackplaneUrlError(url.shown, f"has a certificate that fails: {error}") from error
    return context
