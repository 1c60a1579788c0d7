"""Where the proxy lets somebody go: spellings, the list, and the addresses behind a name."""

from ipaddress import ip_address

import pytest

from agentvine.worker.sandbox.targets import AllowList, InvalidTarget, Target, is_public


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("index.example:443", "index.example", 443),
        ("Index.Example.:443", "index.example", 443),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ("[::ffff:127.0.0.1]:1", f"{ip_address('::ffff:7f00:1')}", 1),  # written in another way since Python 3.13
        ("my_host.local:65535", "my_host.local", 65535),
        ("localhost:80", "localhost", 80),
        ("xn--x.example:443", "xn--x.example", 443),
    ],
)
def test_the_usual_spellings(text: str, host: str, port: int) -> None:
    target = Target.parse(text)
    assert (target.host, target.port) == (host, port)
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "127.1:80", "127.0.1:80", "2130706433:80", "0x7f.1:80", "0x7f000001:80", "0177.0.0.1:80", "127.0.0.01:80",
        "1.2.3.4.5:80", "foo.1:80", "foo.0x1:80", "127.0.0.1.:80:80", "::1:80", "[::1]", "[::1%lo]:80",
        "[127.0.0.1]:80",
        "[::1:80", "user@host:80", "host", "host:", "host:0", "host:65536", "host:+80", "host: 80", "host:80 ",
        "ho st:80", "host\r\n:80", "-a.b:80", "a-.b:80", "a..b:80", ".a:80", ":80", "bücher.example:443", "a/b:80",
        "http://a:80", "*.a:80", "a" * 64 + ".b:80", "a." * 130 + "b:80", "\uff11\uff12\uff17.0.0.1:80", "%31.b:80",
    ],
)  # fmt: skip
def test_other_spellings_are_not_understood(text: str) -> None:
    with pytest.raises(InvalidTarget):
        Target.parse(text)


def test_the_list_names_host_and_port() -> None:
    allowed = AllowList(["index.example:443", "*.files.example:443", "10.1.2.3:8080"])
    for text in ("index.example:443", "INDEX.EXAMPLE:443", "files.files.example:443", "a.b.files.example:443"):
        assert allowed.admits(Target.parse(text)), text
    for text in ("index.example:80", "files.example:443", "evilfiles.example:443", "index.example.evil.com:443"):
        assert not allowed.admits(Target.parse(text)), text
    assert allowed.admits(Target.parse("10.1.2.3:8080"))
    assert not AllowList([]).admits(Target.parse("index.example:443"))


def test_an_address_counts_only_if_it_is_public_or_named_itself() -> None:
    allowed = AllowList(["internal.example:443", "10.1.2.3:443", "127.0.0.1:8080"])
    assert allowed.admits_address(ip_address("10.1.2.3"), 443)
    assert not allowed.admits_address(ip_address("10.1.2.3"), 80)
    assert not allowed.admits_address(ip_address("10.1.2.4"), 443)
    assert allowed.admits_address(ip_address("127.0.0.1"), 8080)
    assert allowed.admits_address(ip_address("151.101.0.223"), 443)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2001:db8::1", "2001:0:7f00:1::1",
    ],
)  # fmt: skip
def test_these_are_no_addresses_of_the_internet(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "151.101.0.223", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))
