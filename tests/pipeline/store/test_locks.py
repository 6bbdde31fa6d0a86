"""Locks: of several builds in one place one runs, on a disk and in an object store."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import InputError, JobError, StorageError
from pipeline.job import build
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import layout, locks
from pipeline.store.objects import ChangedError
from pipeline.store.workspace import open_workspace
from pipeline.write import writer
from tests.support.sources import config_for


@pytest.fixture
def place(store, request):
    """A folder of the store for one test."""
    return store.root / request.node.name.partition("[")[0]


def dead_process():
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    return int(done.stdout)


def held_by(lock, host, pid):
    lock.write_bytes(json.dumps({"host": host, "pid": pid}).encode())


def test_a_conditional_write_needs_the_version_that_is_there(place):
    path = place / "x"
    first = path.write_if(b"one", None)
    assert path.version() == first
    with pytest.raises(ChangedError):
        path.write_if(b"two", None)
    second = path.write_if(b"two", first)
    with pytest.raises(ChangedError):
        path.write_if(b"three", first)
    assert (path.read_bytes(), path.version()) == (b"two", second)
    path.unlink()
    with pytest.raises(ChangedError):
        path.write_if(b"three", second)


def test_a_second_build_is_refused_while_the_first_holds_the_lock(place, source):
    target = layout.dataset_dir(place, HPA_KAGGLE_2018, 16)
    lock = target.with_name(".1.1.0.lock")
    with open_workspace(target).lock() as check:
        check()
        with pytest.raises(
            InputError, match=r"another build is running there \(process \d+ on .*, last active \d+ s ago"
        ):
            build(config_for(source, place))
    assert not lock.exists()


def test_a_recent_lock_of_another_machine_is_respected_whatever_its_clock(place):
    lock = place / "lock"
    held_by(lock, "elsewhere", 1)
    with (
        pytest.raises(InputError, match="process 1 on elsewhere.*its lock expires 90 s after its last renewal"),
        locks.store_lock(lock),
    ):
        pass
    assert json.loads(lock.read_text())["host"] == "elsewhere"


def test_the_lock_of_a_dead_process_on_this_machine_is_taken_over(place):
    lock = place / "lock"
    held_by(lock, socket.gethostname(), dead_process())
    with locks.store_lock(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_the_lock_of_another_machine_is_taken_over_after_its_lease(place, monkeypatch):
    lock = place / "lock"
    held_by(lock, "elsewhere", 1)
    monkeypatch.setattr(locks._Lease, "_age", lambda lease: locks.LEASE_SECONDS + 1)
    with locks.store_lock(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_a_disk_without_locks_is_one_line(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match=r"lock: cannot be locked \(No locks available\); choose a data directory on a"),
        locks.disk_lock(tmp_path / "lock"),
    ):
        pass


def test_of_many_that_find_a_dead_lock_one_takes_it(place):
    lock, num = place / "lock", 8
    held_by(lock, socket.gethostname(), dead_process())
    outcomes, together = [], threading.Barrier(num)
    refuse = locks._Lease._refuse_if_alive

    def wait_and_refuse(lease, holder):
        refuse(lease, holder)
        together.wait()  # every taker has found the holder dead before the first one writes

    def take():
        lease = locks._Lease(lock)
        lease._refuse_if_alive = lambda holder: wait_and_refuse(lease, holder)
        try:
            lease.take()
            outcomes.append("taken")
        except InputError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("taken") == 1
    assert sum("it took the lock just now" in outcome for outcome in outcomes) == num - 1


LEASES = []


def lose_lock(task, *, workspace, **settings):
    """Lets another machine take the lock, as if this one had been asleep for longer than its lease."""
    held_by(workspace._lock, "elsewhere", 1)
    LEASES[-1].renew()
    return writer.write_shard(task, workspace=workspace, **settings)


def test_a_build_that_lost_its_lock_publishes_nothing(place, source, monkeypatch):
    take = locks._Lease.take
    monkeypatch.setattr(locks._Lease, "take", lambda lease: (LEASES.append(lease), take(lease)))
    with pytest.raises(
        JobError, match="this build lost its lock there, so nothing was published; run the same command"
    ):
        build(config_for(source, place, write=lose_lock))
    target = layout.dataset_dir(place, HPA_KAGGLE_2018, 16)
    assert not (target / layout.INFO).exists()
    assert json.loads(target.with_name(".1.1.0.lock").read_text())["host"] == "elsewhere"  # left to its new holder


def test_a_lock_that_could_not_be_renewed_for_its_lease_counts_as_lost(place, monkeypatch):
    with locks.store_lock(place / "lock") as check:
        check()
        now = locks._now()
        monkeypatch.setattr(locks, "_now", lambda: now + locks.LEASE_SECONDS + 1)
        with pytest.raises(JobError, match="lost its lock"):
            check()
        monkeypatch.undo()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"host": 1}', b'{"host": "x", "pid": "y"}']
)
def test_a_damaged_lock_counts_as_that_of_another_machine(place, monkeypatch, content):
    lock = place / "lock"
    lock.write_bytes(content)
    with pytest.raises(InputError, match="another build is running there.*its lock expires"), locks.store_lock(lock):
        pass
    monkeypatch.setattr(locks._Lease, "_age", lambda lease: locks.LEASE_SECONDS + 1)
    with locks.store_lock(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_a_lock_that_nobody_renews_is_taken_over_even_if_its_process_seems_alive(place, monkeypatch):
    """After a restart, another process may have the number of the holder: here, this one."""
    lock = place / "lock"
    held_by(lock, socket.gethostname(), os.getpid())
    with pytest.raises(InputError, match="another build is running there.*its lock expires"), locks.store_lock(lock):
        pass
    monkeypatch.setattr(locks._Lease, "_age", lambda lease: locks.LEASE_SECONDS + 1)
    with locks.store_lock(lock):
        assert "lease" in json.loads(lock.read_text())


def test_a_write_that_is_repeated_because_its_answer_was_lost_keeps_the_lock(place, monkeypatch):
    write_if = type(place).write_if

    def repeated(path, data, version):
        write_if(path, data, version)
        return write_if(path, data, version)

    lease = locks._Lease(place / "lock")
    monkeypatch.setattr(type(place), "write_if", repeated)
    lease.take()
    lease.renew()
    lease.check_held()
    monkeypatch.undo()
    lease.renew()
    lease.check_held()
    lease.release()
    assert not (place / "lock").exists()


@pytest.mark.parametrize("pid", [2**31, 2**70, -(2**70)])
def test_process_ids_that_cannot_be_are_dead(place, pid):
    held_by(place / "lock", socket.gethostname(), pid)
    with locks.store_lock(place / "lock"):
        pass


def test_a_holder_that_lost_its_lock_is_stopped_at_its_work(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.3)
    lock, began = place / "lock", time.monotonic()
    with pytest.raises(JobError, match="this build lost its lock there"), locks.store_lock(lock):
        held_by(lock, "elsewhere", 1)
        time.sleep(30)
    assert time.monotonic() - began < 20
    assert json.loads(lock.read_text())["host"] == "elsewhere"


def test_a_holder_that_cannot_renew_its_lock_is_stopped_when_its_lease_ends(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.3)

    def fail(*_):
        raise StorageError("the store does not answer")

    began = time.monotonic()
    with pytest.raises(JobError, match="this build lost its lock there"), locks.store_lock(place / "lock"):
        monkeypatch.setattr(type(place), "write_if", fail)
        time.sleep(30)
    assert time.monotonic() - began < 20


def test_ctrl_c_stays_ctrl_c_while_the_lock_is_held(place):
    with pytest.raises(KeyboardInterrupt), locks.store_lock(place / "lock"):
        raise KeyboardInterrupt
    with locks.store_lock(place / "lock"):
        pass
