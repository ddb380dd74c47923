"""Fits on a Dask cluster: the same results, and one line where it cannot be used."""

import sys

import pytest

from pipeline.errors import ConfigError
from tests.aggregate.conftest import command

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster():
    """Return a function that starts a cluster in this process; no port but that of the scheduler is opened."""
    started = []

    def start(**settings):
        started.append(
            distributed.LocalCluster(processes=False, dashboard_address=None, protocol="tcp", **settings)
        )
        return started[-1].scheduler_address

    yield start
    for one in started:
        one.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_run_on_a_cluster_equals_one_on_this_machine(toml, out, cluster):
    command("run", toml)
    before = {
        name: (out / name).read_bytes() for name in ("tables/predictions.csv", "tables/performance.csv")
    }
    command("cache", out, "--remove-all")
    command("run", toml, "--dask", cluster(n_workers=1, threads_per_worker=1))
    assert {name: (out / name).read_bytes() for name in before} == before


def test_an_address_where_nobody_answers_is_one_line(toml, monkeypatch):
    monkeypatch.setattr("aggregate.cluster._SECONDS_TO_ANSWER", 1)
    with pytest.raises(
        ConfigError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers there .* start one"
    ):
        command("run", toml, "--dask", "tcp://127.0.0.1:9")


def test_no_address_at_all_is_one_line(toml):
    with pytest.raises(
        ConfigError, match=r"--dask nowhere:port: no scheduler answers there .* correct the address"
    ):
        command("run", toml, "--dask", "nowhere:port")


def test_a_cluster_without_workers_is_one_line(toml, cluster):
    with pytest.raises(ConfigError, match="the scheduler has no workers; start some with `dask worker"):
        command("run", toml, "--dask", cluster(n_workers=0))


def test_workers_of_several_threads_are_refused(toml, cluster):
    with pytest.raises(ConfigError, match="has 2 threads, but the random numbers of networks need one model"):
        command("run", toml, "--dask", cluster(n_workers=1, threads_per_worker=2))


def test_without_the_extra_it_is_named(toml, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r'needs the extra dask: pip install "\.\[dask\]"'):
        command("study", toml, "--dask", "tcp://127.0.0.1:8786")
