"""The folder of odd photos, made once."""

from collections.abc import Iterator

import pytest

from tests.odd_photos import OddPhoto, make_odd_photos


@pytest.fixture(scope="session")
def odd_photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OddPhoto]]:
    """More than a hundred odd files in one folder; only read them."""
    folder = tmp_path_factory.mktemp("odd")
    yield make_odd_photos(folder)
    (folder / "large.jpg").unlink()
