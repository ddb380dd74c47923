"""Fits on a Dask cluster: joblib gives them to its workers instead of to processes of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib

from pipeline.errors import ConfigError

_SECONDS_TO_ANSWER = 10


@contextmanager
def fits_on(address: str | None) -> Iterator[None]:
    """Give all parallel work of the block to the cluster whose scheduler has this address; without one, to this machine.

    The workers need this package, and the same paths to bags and results.

    Raises:
        ConfigError: the extra is not installed, no scheduler answers, or its workers cannot be used.
    """
    if address is None:
        yield
        return
    with _client(address) as client:
        _check_workers(client, address)
        with joblib.parallel_config(backend="dask", client=client):
            yield


def _client(address: str) -> Any:  # noqa: ANN401 - the extra ships no types
    try:
        # An extra: most runs need no cluster.
        from distributed import Client  # noqa: PLC0415
        from distributed.comm import resolve_address  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f'--dask {address}: needs the extra dask: pip install ".[dask]"') from error
    try:
        resolve_address(address)  # a client with an address that is none would hang when it is closed
        return Client(address, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--dask {address}: no scheduler answers there ({type(error).__name__}); start one with `dask scheduler`, or "
            "correct the address, such as tcp://host:8786"
        ) from error


def _check_workers(client: Any, address: str) -> None:  # noqa: ANN401
    """Refuse a cluster without workers, or with workers that train several models in one process."""
    threads = client.nthreads()
    advice = f"start some with `dask worker {address} --nworkers N --nthreads 1`"
    if not threads:
        raise ConfigError(f"--dask {address}: the scheduler has no workers; {advice}")
    for worker, n_threads in threads.items():
        if n_threads != 1:
            raise ConfigError(
                f"--dask {address}: worker {worker} has {n_threads} threads, but the random numbers of networks need one model "
                f"a process; {advice}"
            )
