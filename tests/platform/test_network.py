"""Tests cannot reach other machines."""

from __future__ import annotations

import socket

import pytest

# An address reserved for documentation. If connections to it were allowed, they would time out.
NOWHERE = "192.0.2.1"


def test_a_connection_to_another_machine_is_blocked() -> None:
    # pytest-socket warns before it refuses, and a warning is an error here.
    with socket.socket() as client, pytest.raises(UserWarning, match=NOWHERE):
        client.connect((NOWHERE, 80))


def test_a_connection_to_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
