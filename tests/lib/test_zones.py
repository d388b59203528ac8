from __future__ import annotations

import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
import tzdata  # type: ignore[import-untyped]

from commands_platform.lib.zones import InvalidTimezoneError, check_zone, load_zone, use_packaged_zones

use_packaged_zones()


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("AMERICA/ARGENTINA/BUENOS_AIRES", "America/Argentina/Buenos_Aires"),
        ("asia/calcutta", "Asia/Calcutta"),
        ("utc", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("EST5EDT", "EST5EDT"),
        ("GMT0", "GMT0"),
    ],
)
def test_the_names_of_zones_are_case_insensitive(name: str, spelling: str) -> None:
    assert check_zone(name) == spelling
    assert load_zone(name).key == spelling


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localtime",
        "Localtime",
        "Factory",
        "posixrules",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "/usr/share/zoneinfo/Europe/Berlin",
        "../Europe/Berlin",
        "Europe/../Europe/Berlin",
        "Europe//Berlin",
        "Europe\\Berlin",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "zone.tab",
        "tzdata.zi",
        "__init__.py",
        "+02:00",
        "UTC+2",
        "GMT+5",
        "CEST",
        "PST",
        "Europe/Berlin ",
        " UTC",
        "UTC\n",
        "UTC\x00",
        "Asia/\u212aolkata",
        "\ud800",
        "Ｕ\uff34Ｃ",
        "x" * 10_000,
        None,
        5,
        b"UTC",
    ],
)
def test_a_name_that_is_not_an_iana_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidTimezoneError) as caught:
        check_zone(name)
    assert caught.value.code == "params_validation_error"
    assert caught.value.errors == {"timezone": [caught.value.message]}
    assert "is not a time zone of the IANA database" in caught.value.message
    assert len(caught.value.message) < 200


def test_every_zone_of_the_package_but_factory_is_accepted() -> None:
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    assert len(names) > 500
    for name in set(names) - {"Factory"}:
        assert check_zone(name) == name
        assert load_zone(name).key == name


def test_the_packaged_zones_take_precedence_over_those_of_the_operating_system(tmp_path: Path) -> None:
    """Uses a fake system copy in which Vancouver is at UTC."""
    system = tmp_path / "zoneinfo"
    (system / "America").mkdir(parents=True)
    (system / "America" / "Vancouver").write_bytes(resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes())
    script = (
        "from datetime import datetime\n"
        "from zoneinfo import ZoneInfo\n"
        "at = datetime(2020, 1, 1)\n"
        "before = ZoneInfo('America/Vancouver').utcoffset(at)\n"
        "from commands_platform.lib.zones import load_zone, use_packaged_zones\n"
        "version = use_packaged_zones()\n"
        "after = load_zone('America/Vancouver').utcoffset(at)\n"
        "print(before.total_seconds(), after.total_seconds(), version)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONTZPATH": str(system), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["0.0", "-28800.0", tzdata.IANA_VERSION]


def test_the_search_path_is_empty_and_zones_still_load() -> None:
    assert use_packaged_zones() == tzdata.IANA_VERSION
    assert zoneinfo.TZPATH == ()
    offset = datetime(2026, 7, 1, tzinfo=UTC).astimezone(load_zone("Europe/Paris")).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 7200
