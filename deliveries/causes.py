"""Translates libcurl's errors into the API's reasons why an attempt has no answer."""

from __future__ import annotations

import re
from typing import NamedTuple

import pycurl

from deliveries.models import AttemptError

_ERRORS = {
    pycurl.E_COULDNT_RESOLVE_HOST: AttemptError.DNS,
    pycurl.E_COULDNT_CONNECT: AttemptError.REFUSED,
    pycurl.E_OPERATION_TIMEDOUT: AttemptError.TIMEOUT,
    pycurl.E_SSL_CONNECT_ERROR: AttemptError.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: AttemptError.TLS,
    pycurl.E_SSL_CACERT_BADFILE: AttemptError.TLS,
    pycurl.E_SSL_CERTPROBLEM: AttemptError.TLS,
    pycurl.E_SSL_CIPHER: AttemptError.TLS,
    pycurl.E_RECV_ERROR: AttemptError.RESET,
    pycurl.E_SEND_ERROR: AttemptError.RESET,
    pycurl.E_GOT_NOTHING: AttemptError.RESET,
    pycurl.E_PARTIAL_FILE: AttemptError.RESET,
    pycurl.E_URL_MALFORMAT: AttemptError.INVALID_URL,
    pycurl.E_UNSUPPORTED_PROTOCOL: AttemptError.PROTOCOL,
    pycurl.E_BAD_CONTENT_ENCODING: AttemptError.PROTOCOL,
    8: AttemptError.PROTOCOL,  # CURLE_WEIRD_SERVER_REPLY, which pycurl has no name for
    100: AttemptError.HEADERS_TOO_LARGE,  # CURLE_TOO_LARGE, which pycurl has no name for
}

# libcurl reads no more than this, but reports it like a connection that was reset.
_MAX_HEADER_BYTES = 300 * 1024

# The words that libcurl puts before the reason, and OpenSSL's own codes.
_TLS_NOISE = re.compile(
    r"^(?:SSL certificate problem|SSL certificate OpenSSL verify result|SSL|TLS connect error): "
    r"|\s*\(\d+\)$|error:[0-9A-F]{8}:"
)
_MAX_DETAIL = 200


class Failure(NamedTuple):
    """Why there is no answer: the error, and the cause in plain words."""

    error: AttemptError
    cause: str
    is_proxys_fault: bool = False


def error_of(errno: int, *, header_bytes: int = 0) -> AttemptError:
    """Returns the error that libcurl's number stands for, after an answer with headers of that many bytes."""
    if errno == pycurl.E_RECV_ERROR and header_bytes > _MAX_HEADER_BYTES:
        return AttemptError.HEADERS_TOO_LARGE
    return _ERRORS.get(errno, AttemptError.OTHER)


def cause_of(error: AttemptError, detail: str) -> str:
    """Returns the cause in a sentence. For TLS it gives libcurl's reason, which the receiver's owner needs."""
    if error != AttemptError.TLS:
        return str(error.label)
    reason = "".join(character for character in _TLS_NOISE.sub("", detail.strip()) if character.isprintable())
    if not reason:
        return str(error.label)
    return f"{str(error.label).rstrip('.')}: {reason[:_MAX_DETAIL].rstrip('.')}."


def name_failure(errno: int) -> Failure:
    """Returns why the receiver's name was not resolved: in time, or at all."""
    label = str(AttemptError.DNS.label)
    cause = f"{label.rstrip('.')} in time." if errno == pycurl.E_OPERATION_TIMEDOUT else label
    return Failure(AttemptError.DNS, cause)


def proxy_failure(errno: int, *, status: int, is_connected: bool) -> Failure:
    """Returns why the proxy made no tunnel. If it could not connect in time, that may be the receiver's fault.

    `status` is the proxy's answer to CONNECT, or 0 if it gave none.
    """
    is_late = is_connected and not status and errno == pycurl.E_OPERATION_TIMEDOUT
    if status == 407:
        # The proxy Smokescreen gives this answer for every receiver that it does not allow.
        cause = "wants other credentials, or does not let callbacks go to this receiver (status 407)"
    elif status:
        cause = f"{'could not' if status >= 500 else 'refused to'} connect to the receiver (status {status})"
    elif is_late:
        cause = "did not connect to the receiver in time"
    elif errno == pycurl.E_COULDNT_RESOLVE_PROXY:
        cause = "has a name that could not be resolved"
    elif not is_connected:
        cause = "could not be reached"
    elif error_of(errno) == AttemptError.TLS:
        cause = "made no TLS connection that can be trusted"
    else:
        cause = "did not answer as a proxy does"
    is_proxys_fault = status < 500 and not is_late
    return Failure(AttemptError.PROXY, f"The proxy for callbacks {cause}.", is_proxys_fault=is_proxys_fault)
