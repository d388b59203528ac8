"""Time zones from the `tzdata` wheel, so that all machines have the same rules."""

from __future__ import annotations

import hashlib
import zoneinfo
from datetime import timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]

from commands_platform.lib.errors import InvalidInputError

# The database has files of these names for the zone of the machine, and for a zone that nobody has set.
_NO_PLACES = frozenset({"Factory", "localtime"})


class InvalidTimezoneError(InvalidInputError):
    """The time zone is not a name of the IANA database."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(errors={"timezone": [message or type(self).__doc__ or ""]})


def use_packaged_zones() -> str:
    """Makes `zoneinfo` read only the `tzdata` wheel, not the system's copy. Returns its version, such as `2026f`.

    Zones that are already loaded keep their old rules, so the settings call this before anything uses a zone.
    """
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()
    load_zone.cache_clear()
    rules_of.cache_clear()
    _spellings.cache_clear()
    _names_near.cache_clear()
    return str(tzdata.IANA_VERSION)


def check_zone(name: str) -> str:
    """Returns the name in the spelling of the IANA database. The case does not matter, and an alias stays an alias.

    Raises InvalidTimezoneError for any other name.
    """
    # Only ASCII, because lower-casing would turn a Kelvin sign into a k.
    spelling = _spellings().get(name.lower()) if isinstance(name, str) and name.isascii() else None
    if spelling is None:
        shown = name if isinstance(name, str) and len(name) <= 64 else str(name)[:64] + "…"
        near = _names_near(shown)
        advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Its names are like 'Europe/Berlin'."
        raise InvalidTimezoneError(f"{shown!r} is not a time zone of the IANA database. {advice}")
    return spelling


@lru_cache(maxsize=256)
def _names_near(name: str) -> list[str]:
    """Returns up to three zones with a similar name or a similar city."""
    folded = name.lower().replace(" ", "_")
    by_city: dict[str, list[str]] = {}
    for known in _spellings():
        by_city.setdefault(known.rpartition("/")[2], []).append(known)
    cities = get_close_matches(folded.rpartition("/")[2], by_city, n=3, cutoff=0.8)
    found = [
        *get_close_matches(folded, _spellings(), n=1, cutoff=0.8),
        *(zone for city in cities for zone in by_city[city]),
    ]
    return [_spellings()[zone] for zone in dict.fromkeys(found)][:3]


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """Returns the zone of this name, always as the same object. Raises InvalidTimezoneError."""
    return ZoneInfo(check_zone(name))


@lru_cache(maxsize=1024)
def rules_of(zone: ZoneInfo) -> timedelta | bytes:
    """Returns a value that is equal for zones with the same rules, such as `UTC` and `Etc/UTC`.

    For a zone with a fixed offset it is that offset, and for any other a digest of its rules.
    """
    fixed_offset = zone.utcoffset(None)
    if fixed_offset is not None:
        return fixed_offset
    rules = resources.files("tzdata.zoneinfo").joinpath(*str(zone.key).split("/")).read_bytes()
    return hashlib.sha256(rules).digest()


@cache
def _spellings() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones() - _NO_PLACES}
