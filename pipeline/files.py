"""Files that are whole or absent."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a uniquely named sibling to write to; put it under `path` only when the block succeeds.

    The sibling ends in `.partial`, is flushed to the disk before the rename, and is removed when the block
    raises; a killed process leaves at most a `.partial` file, never a half-written `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sibling = path.with_name(f"{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        yield sibling
        _flush_to_disk(sibling)
        sibling.replace(path)
        _flush_to_disk(path.parent)
    finally:
        sibling.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
