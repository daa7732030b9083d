"""Which manifests are loaded ahead: the conditions of a configuration, applied to one manifest.

Semantics 8. Expressions are searched for as those for splitting are.
"""

from __future__ import annotations

from functools import lru_cache

from icechunk._values.conditions import (
    ManifestPreloadCondition,
    PreloadAnd,
    PreloadFalse,
    PreloadNameMatches,
    PreloadNumRefs,
    PreloadOr,
    PreloadPathMatches,
    PreloadTrue,
)
from icechunk._values.splitting import is_found

__all__ = ["DEFAULT_PRELOAD_CONDITION", "is_preloaded"]

# Names by which cf-xarray knows the coordinates of a data set. The whole name has to fit.
_COORDINATES = (
    r"t|(time|min|hour|day|week|month|year)[0-9]*",
    r"(z|nav_lev|gdep|lv_|o*lev|bottom_top|sigma|h(ei)?ght|altitude|depth|isobaric|pres|isotherm)[a-z_]*[0-9]*",
    r"y|j|nlat|rlat|nj",
    r"y?(nav_lat|lat|gphi)[a-z0-9]*",
    r"x|i|nlon|rlon|ni",
    r"x?(nav_lon|lon|glam)[a-z0-9]*",
)
_MOST_REFS_OF_A_COORDINATE = 1000

#: Small arrays that are named like coordinates.
DEFAULT_PRELOAD_CONDITION = ManifestPreloadCondition.name_matches(
    f"^(?:{'|'.join(_COORDINATES)})$"
) & ManifestPreloadCondition.num_refs(None, _MOST_REFS_OF_A_COORDINATE + 1)


@lru_cache(maxsize=4096)
def is_preloaded(condition: ManifestPreloadCondition, path: str, num_refs: int) -> bool:
    """Whether a condition fits a manifest of the array at a path, which has so many refs."""
    match condition:
        case PreloadTrue():
            return True
        case PreloadFalse():
            return False
        case PreloadOr():
            return any(is_preloaded(each, path, num_refs) for each in condition.conditions)
        case PreloadAnd():
            return all(is_preloaded(each, path, num_refs) for each in condition.conditions)
        case PreloadPathMatches():
            return is_found(condition.regex, path)
        case PreloadNameMatches():
            return is_found(condition.regex, path.rpartition("/")[2])
        case PreloadNumRefs():
            least, too_many = condition.from_refs, condition.to_refs
            return (least is None or num_refs >= least) and (too_many is None or num_refs < too_many)
    return False
