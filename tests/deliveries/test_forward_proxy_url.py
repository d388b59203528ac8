"""The setting of the forward proxy is validated, and its credentials are never printed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from outbound.forward_proxy import ForwardProxy, parse_proxy
from tests.production_files import ROOT


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("", None),
        ("http://proxy.internal:3128", ForwardProxy("http://proxy.internal:3128")),
        ("http://10.0.0.5:3128/", ForwardProxy("http://10.0.0.5:3128")),
        ("https://[fd12::5]:443", ForwardProxy("https://[fd12::5]:443")),
        ("http://ada:hush@proxy:1", ForwardProxy("http://proxy:1", b"ada", b"hush")),
        ("http://ada@proxy:65535", ForwardProxy("http://proxy:65535", b"ada")),
        ("http://ada:@proxy:03128", ForwardProxy("http://proxy:3128", b"ada")),
        ("http://a%40b:p%3a%2F%25%C3%A9@proxy:1", ForwardProxy("http://proxy:1", b"a@b", "p:/%é".encode())),
    ],
)
def test_a_proxy_is_parsed_from_its_url(text: str, proxy: ForwardProxy | None) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        *("proxy:3128", "proxy.internal", "http://proxy.internal", "https://proxy.internal", "http://:3128"),
        *("socks5h://proxy:1080", "ftp://proxy:21", "HTTP//proxy:1", "http://proxy:0", "http://proxy:65536"),
        *("http://proxy:http", "http://proxy:3128/path", "http://proxy:3128?a", "http://proxy:3128#a"),
        *("http://[::g]:3128", "http://[127.0.0.1]:3128", "http://::1:3128", "http://pröxy:3128", "http://pro xy:3128"),
        *("http://@proxy:1", "http://:hush@proxy:1", "http://ada:hu@sh@proxy:1", "http://ada:hu/sh@proxy:1"),
        *("http://ada:hu%sh@proxy:1", "http://ada:hu%0d%0ash@proxy:1", "http://ada:hu%00sh@proxy:1"),
        *("http://a%3Ada:hush@proxy:1", "http://ada:hush:hush@proxy:1", "http://ada:hüsh@proxy:1", "http://proxy:1\n"),
    ],
)
def test_an_invalid_proxy_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        parse_proxy(text)

    for part in ("hu", "sh", "ada"):
        assert part not in str(error.value)


def test_a_malformed_proxy_stops_the_process_without_printing_its_password() -> None:
    variables = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": "of-this-test-only-0123456789-abcdefghijklmnopqrstuvwxyz",
        "CALLBACK_PROXY": "http://ada:hush-hush@proxy.internal",
    }

    run = subprocess.run(
        [sys.executable, "-c", "from commands_platform import settings"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("CALLBACK_PROXY: must be http://host:port")
    assert "hush" not in line


def test_printing_a_proxy_does_not_show_its_credentials() -> None:
    printed = repr(parse_proxy("http://ada:hush@proxy.internal:3128"))

    assert "proxy.internal" in printed
    assert "ada" not in printed
    assert "hush" not in printed
