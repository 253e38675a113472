"""Whom to trust: certificates are verified and TLS is 1.2 at least, whatever Python's build or the environment say."""

import functools
import os
import ssl

from moonshot_async.errors import ConfigurationError


def trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    """A context that trusts the authorities in a PEM file, and no others.

    Raises:
        ConfigurationError: the file cannot be read, or holds no certificate.
    """
    try:
        return _made(ca_file)
    except (OSError, ValueError, TypeError) as error:
        # An SSLError is an OSError, with the words of OpenSSL.
        raise ConfigurationError(f"ca_file {ca_file!r} cannot be used: {error}") from None


@functools.cache
def strict() -> ssl.SSLContext:
    """A context that trusts the authorities of the system. They are read once, which takes 20 ms."""
    return _made(None)


def is_strict(context: ssl.SSLContext) -> bool:
    """Whether a context is as it must be."""
    verified = context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    return verified and context.minimum_version >= ssl.TLSVersion.TLSv1_2


def _made(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
