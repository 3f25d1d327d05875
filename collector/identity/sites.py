"""What a site may be called, and in which time zone it may lie."""

import functools
import re
import zoneinfo

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it stands in addresses of the API


def is_site_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def is_time_zone(name: str) -> bool:
    """Whether this machine knows it: who shows or sums up anything of the site must be able to."""
    return name in _time_zones()


@functools.cache
def _time_zones() -> set[str]:
    return zoneinfo.available_timezones()  # it looks at many files
