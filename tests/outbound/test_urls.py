"""The guard decides which URLs may be saved, and gives them their normal spelling."""

from __future__ import annotations

import pytest

from outbound.address_guard import MAX_URL_LENGTH, AddressGuard, origin_of
from outbound.errors import InvalidCallbackUrlError
from tests.outbound.guards import GUARD, TABLE, is_accepted, urls_of


@pytest.mark.parametrize("url", urls_of("save"), ids=lambda url: ascii(url)[:60])
def test_a_dangerous_url_of_the_table_is_refused_when_saved(url: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(url)


@pytest.mark.parametrize("url", urls_of("response"))
def test_a_url_is_accepted_even_if_its_redirect_is_dangerous(url: str) -> None:
    assert GUARD.check_url(url) == url


@pytest.mark.parametrize("url", TABLE["must_be_accepted"])
def test_a_harmless_url_of_the_table_is_accepted(url: str) -> None:
    assert is_accepted(GUARD, url)


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("https://EXAMPLE.com", "https://example.com/"),
        ("HTTPS://example.com/Hook?A=b", "https://example.com/Hook?A=b"),
        ("https://example.com?a=b", "https://example.com/?a=b"),
        ("https://example.com/hook?", "https://example.com/hook?"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:0080/", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com/a%20b?c=%2F", "https://example.com/a%20b?c=%2F"),
        ("https://example.com/100%", "https://example.com/100%"),
        ("https://example.com/caf\u00e9?q=\u00e9", "https://example.com/caf%C3%A9?q=%C3%A9"),
        ('https://example.com/{a}|"b"', "https://example.com/%7Ba%7D%7C%22b%22"),
        ("https://example.com/@mallory:x", "https://example.com/@mallory:x"),
        ("https://example.com//evil.example", "https://example.com//evil.example"),
        ("https://B\u00dcCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://bu\u0308cher.example/", "https://xn--bcher-kva.example/"),
        ("https://\u4f8b\u3048.\u30c6\u30b9\u30c8/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://my_service.example/", "https://my_service.example/"),
        ("http://receiver:8000/hook", "http://receiver:8000/hook"),
        ("http://93.184.215.14:8080/", "http://93.184.215.14:8080/"),
        ("http://[2606:2800:0220:0001:0248:1893:25C8:1946]/", "http://[2606:2800:220:1:248:1893:25c8:1946]/"),
        ("http://1.2.3.4.example.com/", "http://1.2.3.4.example.com/"),
        ("http://0x7f.example/", "http://0x7f.example/"),
        ("https://" + "a" * 63 + ".example/", "https://" + "a" * 63 + ".example/"),
    ],
)
def test_an_accepted_url_is_normalized(given_url: str, normal: str) -> None:
    assert GUARD.check_url(given_url) == normal
    assert GUARD.check_url(normal) == normal


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "2130706433", "0177.1", "017700000001", "00", "0x"),
        *("127.0.0.01", "127.0.0.0x1", "127.0.0.1.1", "256.1.1.1", "4294967296", "1.2.3.4.5", "example.0x7f", "a.1"),
        *("127.0.0.1", "127.255.255.254", "0.1.2.3", "100.64.0.1", "224.0.0.1", "192.0.0.8", "192.88.99.1"),
        *("127.0.0.1.", "127.0.0.1..", "localhost.", "example.com.", ".example.com", "a..example.com", ".", ".."),
        *("localhost", "LOCALHOST", "api.localhost", "loca\u200blhost", "local\u00adhost"),
        *("127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "127\uff610\uff610\uff611", "127\u20240.0.1"),
        *("\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1", "\u0661\u0662\u0667.0.0.1", "\u0967.\u0967.\u0967.\u0967"),
        *("\u2460", "\u24d4xample.com", "\uff45xample.com", "\u2102.example", "exam\u017fle.com", "\u33c2.example"),
        *("stra\u00dfe.example", "\u03c0\u03c2.example", "a\u200db.example", "a\ufe00b.example", "\u0301a.example"),
        *("\u2764.example", "xn--\u00fc.example", "a\u2044b.example", "a\u2215b.example", "exa\u2100mple.com"),
        *("127%2e0%2e0%2e1", "%31%32%37.0.0.1", "example.com%2f", "a%00b", "exa$mple", "a,b", "a;b", "<b>", "a|b"),
        *("-a.example", "a-.example", "*.example.com", "a" * 64 + ".com", ".".join(["a" * 60] * 5), "\u00fc" * 60),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:0:127.0.0.1]"),
        *("[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b::10.0.0.1]"),
        *("[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:7f00:1::]", "[2001::f5ff:fffe]", "[fe80::1%25eth0]"),
        *(
            "[fe80::1%eth0]",
            "[::1%25]",
            "[::1%lo]",
            "[fd00:ec2::254]",
            "[v1.abc]",
            "[127.0.0.1]",
            "[]",
            "[",
            "]",
            "[:]",
        ),
        *("[::1]x", "x[::1]", "[[::1]]", "[::1]:80:80", "::1", "[::\uff11]", "[1:2:3]", "[::1.2.3]", "[::01.2.3.4]"),
        *(
            "example.com:80:80",
            "example.com:",
            "example.com:+80",
            "example.com:-1",
            "example.com:8_0",
            "example.com: 80",
        ),
        *(
            "example.com:0",
            "example.com:00",
            "example.com:65536",
            "example.com:99999999999",
            "example.com:\uff18\uff10",
        ),
        *("example.com:0x50", "example.com:80.", "example.com:1", "example.com:25", "example.com:11211", ":80", ""),
        *("a@example.com", "a:b@example.com", "@example.com", "a@b@example.com", "1.1.1.1 @127.0.0.1", "%40@127.0.0.1"),
        *("example.com\\@127.0.0.1", "127.0.0.1\\.example.com", "exam\tple.com", "exam\nple.com", "example.com\r"),
        *(
            "127.0.0.1\u00a0",
            "127.0.0.1\u3000",
            "example.com\ufeff",
            "\u202eexample.com",
            "\ud800.example",
            "\ue000.example",
        ),
    ],
    ids=ascii,
)
def test_a_disguised_or_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "http", "http:", "http:/", "http://", "http:///", "http:////example.com/", "//example.com/", "/hook"),
        *("example.com/hook", "http:example.com", "http:/example.com", "http:\\\\example.com\\", "http:/\\example.com"),
        *("://example.com", "1http://example.com", "ht\ttp://example.com/", "\x00http://example.com/", "gopher://x/"),
        *("dict://example.com:11211/", "data:text/plain,x", "https+unix://example.com/", "h\u0442tp://example.com/"),
        *("http://example.com/ ", "http://example.com/a b", "http://example.com/\n", "http://example.com/\x7f"),
        *("http://example.com/#", "http://example.com#", "http://example.com?a#b", "http://example.com/\\..\\x"),
        *(
            "http://example.com/\ud800",
            "http://example.com/\u2028",
            "http://example.com/\u200b",
            "http://a?@127.0.0.1#",
        ),
        *("http://?", "http://#", "http://?x@127.0.0.1/", "http://example.com/" + "a" * MAX_URL_LENGTH),
        "http://example.com/" + "\u00e9" * (MAX_URL_LENGTH // 2),
    ],
    ids=lambda url: ascii(url)[:60],
)
def test_a_text_that_is_not_a_plain_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(url)


def test_a_url_may_be_as_long_as_the_limit() -> None:
    url = "https://example.com/".ljust(MAX_URL_LENGTH, "a")

    assert GUARD.check_url(url) == url
    assert not is_accepted(GUARD, url + "a")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://[64:ff9b::a00:1]/", "carries 10.0.0.1, a private address"),
        ("http://0x7f.1/", "four decimal numbers"),
        ("ftp://example.com/", "http or https"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:0/", "between 1 and 65535"),
        ("http://example.com/#a", "fragment"),
        ("http://a@example.com/", "user name"),
        ("http://[fe80::1%25eth0]/", "zone id"),
        ("http://:80/", "no host"),
        ("http://example.com./", "dots"),
        ("http://example.com/" + "a" * MAX_URL_LENGTH, f"{MAX_URL_LENGTH} characters."),
        ("http://localhost/", "localhost"),
    ],
)
def test_the_error_says_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(InvalidCallbackUrlError) as caught:
        GUARD.check_url(url)

    assert message in caught.value.message
    assert caught.value.code == "params_validation_error"


def test_the_error_does_not_repeat_a_password() -> None:
    with pytest.raises(InvalidCallbackUrlError) as caught:
        GUARD.check_url("https://alice:hunter2@example.com/")

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("port", "accepted"),
    [
        *((80, True), (443, True), (1024, True), (8000, True), (8080, True), (8443, True), (65535, True)),
        *(
            (1, False),
            (22, False),
            (25, False),
            (81, False),
            (1023, False),
            (3306, False),
            (5432, False),
            (6379, False),
        ),
        *((2375, False), (9200, False), (10250, False), (11211, False), (27017, False)),
    ],
)
def test_by_default_web_ports_and_most_high_ports_are_allowed(port: int, accepted: bool) -> None:
    assert is_accepted(GUARD, f"https://example.com:{port}/") is accepted


@pytest.mark.parametrize("port", [32768, 40000, 50000, 60999])
def test_ports_for_outgoing_sockets_are_never_taken_for_services(port: int) -> None:
    assert is_accepted(GUARD, f"http://example.com:{port}/")


def test_ports_that_an_operator_names_replace_the_default_ones() -> None:
    guard = AddressGuard(allowed_ports=frozenset({443, 6379}))

    assert is_accepted(guard, "https://example.com/")
    assert is_accepted(guard, "https://example.com:6379/")
    assert not is_accepted(guard, "http://example.com/")
    assert not is_accepted(guard, "https://example.com:8443/")


def test_plain_http_can_be_forbidden() -> None:
    guard = AddressGuard(allowed_schemes=frozenset({"https"}))

    assert is_accepted(guard, "https://example.com/")
    assert not is_accepted(guard, "http://example.com/")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.com/a?b", "https://example.com:443"),
        ("http://example.com/", "http://example.com:80"),
        ("https://example.com:8443/", "https://example.com:8443"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]:80"),
    ],
)
def test_an_origin_consists_of_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("text", ["", "example.com", "ftp://example.com/", "https://a:b:c/"])
def test_a_text_that_is_not_a_checked_url_has_no_origin(text: str) -> None:
    with pytest.raises(ValueError):
        origin_of(text)


@pytest.mark.parametrize(
    ("url", "way_out"),
    [
        ("", "https://example.com/hook"),
        ("example.com", "https://example.com/hook"),
        ("ftp://example.com/", "http or https"),
        ("http://example.com/#a", "Remove the #"),
        ("http://a:b@example.com/", "Put credentials into `headers`, as Authorization"),
        ("http://::1/", "[brackets]"),
        ("http://:80/", "https://example.com/hook"),
        ("http://127.0.0.1/", "CALLBACK_ALLOWED_NETWORKS"),
        ("http://localhost/", "CALLBACK_ALLOWED_NETWORKS"),
        ("http://169.254.169.254/", "Use a host with a public address."),
        ("http://example.com:81/", "Use 80, 443, or a port from 1024 on"),
        ("http://example.com:5432/", "not a well-known service's"),
        ("http://0x7f.1/", "like 203.0.113.7"),
        ("http://[fe80::1%25eth0]/", "Remove the %"),
        ("http://[xyz]/", "Correct it or use a name"),
        ("http://example.com./", "Remove them"),
        ("http://example.com/a b", "%20"),
        ("http://example.com/\\a", "%5C"),
        ("http://example.com/\u200b", "percent-encode"),
        ("http://example.com/" + "a" * MAX_URL_LENGTH, "into the payload"),
        ("http://example.com/" + "\u00e9" * (MAX_URL_LENGTH // 2), "Shorten it"),
        ("http://stra\u00dfe.example/", "xn--"),
        ("http://exa$mple/", "letters, digits, hyphens and dots only"),
        ("http://-a.com/", "must not begin or end with a hyphen"),
        ("http://example-.com/", "must not begin or end with a hyphen"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_the_error_says_what_to_do_instead(url: str, way_out: str) -> None:
    with pytest.raises(InvalidCallbackUrlError) as caught:
        GUARD.check_url(url)

    assert way_out in caught.value.message


def test_the_error_lists_the_allowed_ports() -> None:
    guard = AddressGuard(allowed_ports=frozenset({8443, 443}))

    with pytest.raises(InvalidCallbackUrlError, match="Use one of these: 443, 8443"):
        guard.check_url("https://example.com/".replace(".com", ".com:444"))
