"""Photos of a dataset, encoded and pooled batch by batch."""

from pathlib import Path

import numpy as np

from mkt_search.datasets.read import read_published
from mkt_search.evaluation.pooled import pooled_batches
from mkt_search.evaluation.score_dataset import Loading
from mkt_search.pooling.pool import pool
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig
from mkt_search.types import Encoding
from tests.labeled import colour_model, labeled_photos


def test_photos_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    home = labeled_photos(tmp_path)
    (home / "photos" / "03.png").write_bytes(b"no photo")
    data = DataConfig(photos=str(home / "photos"), labels=str(home / "labels.json"))
    dataset = read_published(data).dataset
    model = colour_model(home / "student")
    encoding = Encoding(model.fingerprint, model.dim, model.grid, "cover", 3, model.top_k, "int8")
    said: list[Progress] = []
    found = list(
        pooled_batches(
            model.photo_encoder(device="cpu"),
            dataset,
            np.arange(len(dataset)),
            lambda encoded, views: pool(encoded, encoding, views=views),
            Loading(batch_size=5, workers=1),
            step="encoding photos",
            progress=said.append,
        )
    )
    assert [row for rows, _ in found for row in rows] == [0, 1, 2, *range(4, 12)]
    assert all(len(photos.local_vectors) == len(rows) for rows, photos in found)
    assert said[-1] == Progress("encoding photos", 12, 12, failed=1)
