"""The errors that a user can act on, as one tree.

MktError                      a sentence with a way out; the CLI prints it and exits 1
├── ConfigError               mkt.toml, an environment variable or a flag
├── PhotoError                one photo cannot be read; it is recorded and the run continues
├── XmpError                  keywords in a sidecar, or in a photo, that cannot be read or written
├── ModelError                a checkpoint, weights or label encoder that cannot be used
│   ├── CheckpointMismatch    vectors of another checkpoint
│   └── UnknownLabel          a label that is not in the label table
├── StoreError                the library on disk
│   ├── LibraryNotFound       no library here
│   ├── LibraryLocked         another process is writing
│   ├── LibraryDamaged        a segment is missing or its bytes changed
│   └── SchemaOutdated        the database needs `mkt migrate`
├── QueryError                a search or a filter that cannot be understood
│   └── PhotoNotFound         a photo that is not in the library
├── CalibrationError          a calibrator that is missing, damaged or of another model
├── DatasetError              labeled photos, or the files that describe them
├── EvaluationError           models and labeled photos that cannot be evaluated together
├── PlanError                 a plan to encode photos in shards, or one of its shards
└── TrainingError             a training run
"""


class MktError(Exception):
    """A problem that the user can solve; the text says what is wrong, where, and the way out."""


class ConfigError(MktError):
    """A setting is unknown, misspelled or out of range."""


class PhotoError(MktError):
    """A photo cannot be decoded; the database keeps the text as the reason."""


class XmpError(MktError):
    """A packet of XMP cannot be read or written."""


class ModelError(MktError):
    """A checkpoint, a weights file or a label encoder cannot be used."""


class CheckpointMismatch(ModelError):
    """Vectors of different checkpoints or settings cannot be compared."""


class UnknownLabel(ModelError):
    """A label is not in the label table; the text names the nearest known ones.

    `labels` are all that are not.
    """

    def __init__(self, message: str, labels: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.labels = labels


class StoreError(MktError):
    """The library on disk cannot be used as asked."""


class LibraryNotFound(StoreError):
    """There is no library in this folder or above it."""


class LibraryLocked(StoreError):
    """Another process is writing to the library; the text names it."""


class LibraryDamaged(StoreError):
    """A segment is missing, or its bytes have changed."""


class MapError(StoreError):
    """The map of a library is damaged, or cannot be made."""


class SchemaOutdated(StoreError):
    """The database has the schema of another version of the program."""


class QueryError(MktError):
    """A query or a filter cannot be understood."""


class PhotoNotFound(QueryError):
    """A photo is not in the library."""


class CalibrationError(MktError):
    """A calibrator cannot be made, read or used with these scores."""


class DatasetError(MktError):
    """The files of a dataset are missing, malformed or inconsistent."""


class EvaluationError(MktError):
    """Models, labels and photos cannot be evaluated together, or the results cannot be shown."""


class PlanError(MktError):
    """A plan to encode photos in shards, or one of its shards, is missing or damaged."""


class TrainingError(MktError):
    """A training run cannot start or continue."""
