"""The names of bands: which part of the spectrum a band shows, in whatever order a file has them.

Known names (`red`, `NIR`, `near infrared`, of Sentinel-2 `B08` ...) are spelled alike. A band that nobody names is "";
() says that no band is named.
"""

import re
from collections import Counter
from collections.abc import Sequence

RGB = ("red", "green", "blue")
SENTINEL2 = {
    "b01": "coastal", "b02": "blue", "b03": "green", "b04": "red", "b05": "rededge1", "b06": "rededge2",
    "b07": "rededge3", "b08": "nir", "b8a": "nir_narrow", "b09": "water_vapour", "b10": "cirrus", "b11": "swir1",
    "b12": "swir2",
}  # fmt: skip
SENTINEL2_ALONE = {"b08", "b8a"}  # codes that no other satellite has: beside them, the others are Sentinel-2's too
EVERYWHERE = {"b02", "b03", "b04"}  # the same colours in Landsat 8's harmonised products
# Bands that weights were made for, under one name.
SETS = {
    "rgb": RGB,
    "bgr": RGB[::-1],
    "rgbn": (*RGB, "nir"),
    "bgrn": (*RGB[::-1], "nir"),
    "sentinel2": tuple(SENTINEL2[code] for code in (
        "b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b8a", "b09", "b10", "b11", "b12")),
    "sentinel2_l2a": tuple(SENTINEL2[code] for code in (
        "b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b8a", "b09", "b11", "b12")),
}  # fmt: skip
ALIASES = {
    "r": "red", "g": "green", "b": "blue", "n": "nir", "near_infrared": "nir", "nearinfrared": "nir", "nir1": "nir",
    "near_ir": "nir", "infrared": "nir", "coastal_aerosol": "coastal", "coastal_blue": "coastal",
    "red_edge": "rededge", "red_edge1": "rededge1", "red_edge2": "rededge2", "red_edge3": "rededge3",
    "red_edge_1": "rededge1", "red_edge_2": "rededge2", "red_edge_3": "rededge3", "rededge_1": "rededge1",
    "rededge_2": "rededge2", "rededge_3": "rededge3", "narrow_nir": "nir_narrow", "nir_2": "nir2",
    "near_infrared_2": "nir2", "swir_1": "swir1", "swir_2": "swir2", "swir16": "swir1", "swir22": "swir2",
    "panchromatic": "pan", "water_vapor": "water_vapour",
}  # fmt: skip
KNOWN = {*SENTINEL2.values(), *ALIASES.values(), "yellow", "swir", "hh", "hv", "vh", "vv"}
ENOUGH = 64  # characters of a name


def spelled(names: Sequence[str]) -> tuple[str, ...]:
    """Names as they are compared: known ones in one spelling, others in small letters."""
    plain = [_plain(name) for name in names]
    # A sensor's codes name bands where only one sensor can be meant.
    codes = SENTINEL2 if SENTINEL2_ALONE & set(plain) else {code: SENTINEL2[code] for code in EVERYWHERE}
    return tuple(codes.get(name) or ALIASES.get(name, name) for name in plain)


def known_names(descriptions: Sequence[str | None]) -> tuple[str, ...]:
    """What the descriptions in a file say: known names, "" for bands without; () where they name none, or one twice.

    All else that people write there (dates, products, `Band 1`) is not a name.
    """
    names = tuple(name if name in KNOWN else "" for name in spelled([text or "" for text in descriptions]))
    given = [name for name in names if name]
    return names if given and len(set(given)) == len(given) else ()


def what_is_wrong(names) -> str | None:
    """What is wrong with names that somebody has given, in words; None where nothing is."""
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return "is not a list of names"
    if any(len(name) > ENOUGH for name in names):
        return f"has a name of more than {ENOUGH} characters"
    twins = {name for name, count in Counter(spelled(names)).items() if name and count > 1}
    return f"names {sorted(twins)[0]} twice" if twins else None


def named_set(text: str) -> tuple[str, ...]:
    """Names from one word: of a set (`sentinel2`), or with commas between (`blue,green,red,nir`)."""
    return SETS.get(text.strip().lower()) or spelled(text.split(","))


def agree(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether no band has one name in the one list and another in the other; lists that say nothing agree with all."""
    if not some or not others:
        return True
    return len(some) == len(others) and all(a == b or not a or not b for a, b in zip(some, others, strict=True))


def in_words(names: Sequence[str]) -> str:
    """`blue, green, red, unnamed`."""
    return ", ".join(name or "unnamed" for name in names)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", re.sub(r"\(.*\)", "", name).strip().lower())
