"""The model that made a library's vectors, opened no more than a search needs."""

from contextlib import suppress
from threading import RLock

from mkt_search.errors import CheckpointMismatch, StoreError
from mkt_search.models.build import Model
from mkt_search.models.record import RecordedModel, model_stamp, open_recorded, record_of
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store


class LibraryModel:
    """Finds the model of an encoding and remembers it; threads may share it.

    Args:
        store: the library.
        name: a checkpoint folder or open_clip name to use instead of the recorded one.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        self._store = store
        self._name = name
        self._model: Model | None = None
        self._lock = RLock()

    def of(self, stored: StoredEncoding) -> Model:
        """Return the model of an encoding.

        If the model's files are those that the library recorded, the model is not opened before an
        encoder is needed. A model that had to be opened is recorded, if the library can be written
        now.

        Raises:
            CheckpointMismatch: the model is another one than that of the vectors.
            ModelError: there is no such model, or it cannot be used.
        """
        with self._lock:
            if self._model is None or self._model.fingerprint != stored.encoding.checkpoint:
                self._model = self._find(stored)
            return self._model

    def _find(self, stored: StoredEncoding) -> Model:
        name = self._name or stored.model
        stamp = model_stamp(name)
        model = open_recorded(name, stored.encoding, stored.record)
        if model.fingerprint != stored.encoding.checkpoint:
            raise CheckpointMismatch(
                f"This library was made with checkpoint {stored.encoding.checkpoint} "
                f"({stored.model}), but {name} is {model.fingerprint}. Name the first with "
                "--model, or run `mkt index --rebuild` to encode every photo with the second."
            )
        if not isinstance(model, RecordedModel) and name == stored.model:
            record = record_of(model, stamp=stamp)
            with suppress(StoreError):  # a library that cannot be written is searched all the same
                self._store.record_model(name, model.fingerprint, record, wait=False)
        return model
