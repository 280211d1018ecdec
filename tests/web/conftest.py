"""Clients of the app: one that has the token, one without, and one of a library to change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.web.client import client_of


@pytest.fixture(scope="session")
def client(library: Path) -> Iterator[TestClient]:
    """A client of a library that is only read."""
    with client_of(library) as found:
        yield found


@pytest.fixture(scope="session")
def browser(library: Path) -> Iterator[TestClient]:
    """A client that has no token yet."""
    with client_of(library, token=None) as found:
        yield found


@pytest.fixture
def stranger(browser: TestClient) -> TestClient:
    """A client without the token, and without a cookie of an earlier test."""
    browser.cookies.clear()
    return browser


@pytest.fixture
def writer(own_library: Path) -> Iterator[TestClient]:
    """A client of a library that the test may change."""
    with client_of(own_library) as found:
        yield found
