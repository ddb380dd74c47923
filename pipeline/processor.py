"""Features and name of the processor of this machine."""

import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Processor flags of which either means that bfloat16 products are computed natively."""


@cache
def processor_flags() -> frozenset[str]:
    """Return the instruction sets that Linux lists for the first core; nothing elsewhere."""
    return frozenset(_first_value("flags").split())


@cache
def processor_name() -> str:
    """Return the processor's model name, or what the system calls it."""
    return _first_value("model name") or platform.processor() or platform.machine()


def has_native_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16 natively; False if unknown."""
    return bool(processor_flags() & NATIVE_BFLOAT16)


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_value(key: str) -> str:
    if not _CPUINFO.exists():
        return ""
    for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
