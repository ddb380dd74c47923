"""Settings of a configuration in words: {"size_px": 112} is "size: 112 px"."""

from collections.abc import Iterator, Mapping, Sequence

UNITS = {"mm": "mm", "mm2": "mm²", "px": "px", "hu": "HU"}
"""End of a key -> unit."""
_SETTINGS = {"windows": "windows (level, width in HU)"}


def described(value: object) -> str:
    """Say a setting in words: {"size_px": 112, "margin": None} is "size: 112 px"; what is not set is left out."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {text}" for name, text in settings_in_words(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"({described(of)})" if isinstance(of, list) else described(of) for of in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_in_words(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what is set, the unit at the end of a key moved behind the number."""
    for key, value in values.items():
        name, _, unit = key.rpartition("_")
        has_unit = unit in UNITS
        if has_unit and isinstance(value, Mapping):  # such as scales_mm = {tight = 70.0}
            told = ", ".join(f"{of} {described(n)}" for of, n in value.items())
        else:
            told = "" if value is None else described(value)
        if told:
            yield (words(name), f"{told} {UNITS[unit]}") if has_unit else (words(key), told)


def words(key: str) -> str:
    """Return the name of a setting in words."""
    return _SETTINGS.get(key, key.replace("_", " "))
