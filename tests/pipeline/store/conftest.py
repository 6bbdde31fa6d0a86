"""Object stores on loopback."""

import pytest

from tests.support.object_stores import running


@pytest.fixture(scope="module", params=["gs", "s3"])
def store(request):
    """A store of each kind, in a process of its own."""
    for library in ("gcsfs", "s3fs", "moto"):
        pytest.importorskip(library)
    with running(request.param) as store:
        yield store
