"""Download files of the Hugging Face hub into its cache, and continue a download that was cut.

The hub's own library begins again in a new process. Here the part that came stays in the cache,
beside the complete files, and the next download asks for the rest.
"""

import contextlib
import logging
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import HfFileMetadata, http_get, repo_folder_name

from mkt_search.errors import ModelError
from mkt_search.locks import hold
from mkt_search.models.checkpoint import hash_file
from mkt_search.models.download_policy import DownloadPolicy, download_policy
from mkt_search.paths import bare_name
from mkt_search.progress import Progress, ProgressCallback

MEGABYTE = 10**6

log = logging.getLogger(__name__)


class DownloadForbidden(ModelError):
    """A file is not on this machine, and downloads are not allowed now."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository of the hub, under the first of several names that it has there."""

    repository: str
    names: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where a person finds the file."""
        return f"{huggingface_hub.constants.ENDPOINT}/{self.repository}"

    @property
    def cached(self) -> Path | None:
        """The file in the cache of this machine, found without the network; None without it."""
        for name in self.names:
            path = huggingface_hub.try_to_load_from_cache(self.repository, name)
            if isinstance(path, str):
                return Path(path)
        return None

    def download(self, what: str, *, remark: str = "") -> Path:
        """Return the file in the cache; download what is missing of it.

        Args:
            what: what the file is, for messages.
            remark: what to add to the announcement, which says the size and the address.

        Raises:
            DownloadForbidden: the policy forbids it.
            ModelError: what came is not the file.
            Exception: the hub, a proxy, the network or the disk fails in a way of its own.
        """
        if download_policy().offline:
            raise DownloadForbidden(what)
        _resolve_now()
        with _quiet():
            name, facts = self._facts()
            self._complete(facts, what, remark)
            return Path(huggingface_hub.hf_hub_download(self.repository, name))

    def _complete(self, facts: HfFileMetadata, what: str, remark: str) -> None:
        """Download what is missing of the bytes, unless another process is doing it."""
        policy, etag = download_policy(), bare_name(facts.etag)
        cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
        folder = repo_folder_name(repo_id=self.repository, repo_type="model")
        blob = cache / folder / "blobs" / etag  # where the hub's library looks for it
        lock = cache / ".locks" / folder / f"{etag}.lock"  # which it holds, too
        lock.parent.mkdir(parents=True, exist_ok=True)
        with hold(lock, f"download of {what}", wait=True):
            if not blob.is_file():
                blob.parent.mkdir(parents=True, exist_ok=True)
                size = f"{facts.size / MEGABYTE:,.0f} MB from " if facts.size else ""
                _announce(policy, f"{what}: {size}{self.address}{remark}")
                _fetch(facts, blob, what=what, progress=policy.progress)

    def _facts(self) -> tuple[str, HfFileMetadata]:
        """Return the name of the file and what the hub says of it."""
        for name in self.names[:-1]:
            with contextlib.suppress(EntryNotFoundError):
                return name, self._facts_of(name)
        return self.names[-1], self._facts_of(self.names[-1])

    def _facts_of(self, name: str) -> HfFileMetadata:
        return huggingface_hub.get_hf_file_metadata(
            huggingface_hub.hf_hub_url(self.repository, name)
        )


def _fetch(
    facts: HfFileMetadata, blob: Path, *, what: str, progress: ProgressCallback | None
) -> None:
    """Download the rest of a file into its part, check it and make it the blob."""
    part = blob.with_name(f"{blob.name}.part")
    with open(part, "ab") as file:
        if facts.size and file.tell() > facts.size:  # something else wrote to it
            file.seek(0)
            file.truncate()
        http_get(
            facts.location,
            file,
            resume_size=file.tell(),
            expected_size=facts.size,
            displayed_filename=what,
            tqdm_class=_bar(progress, what) if progress else None,
        )
    is_hash = re.fullmatch("[0-9a-f]{64}", blob.name)  # of the content; that of small files is not
    if is_hash and hash_file(part) != blob.name:
        part.unlink()
        raise ModelError(f"the download of {what} was damaged; run it again")
    part.replace(blob)


def _bar(progress: ProgressCallback, what: str) -> type[Any]:
    """Return a class that takes the place of tqdm's bar and passes megabytes to a callback."""

    class Bar(contextlib.nullcontext["Bar"]):
        def __init__(self, *, total: int | None = None, initial: int = 0, **_style: Any) -> None:
            super().__init__(self)
            self._done, self._total = initial, total or 0

        def update(self, count: int) -> None:
            self._done += count
            done, total = self._done // MEGABYTE, self._total // MEGABYTE
            progress(Progress(f"downloading {what}, MB", done, total))

    return Bar


def _announce(policy: DownloadPolicy, text: str) -> None:
    message = f"downloading {text}"
    if policy.progress is None:
        log.warning(message)
    else:
        policy.progress(Progress("downloading", message=message))


def _resolve_now() -> None:
    """Fail now if the hub's name does not resolve, not after a minute of retries."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, None)


_downloading = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the hub's logger; one download at a time, since the level belongs to the process."""
    logger = logging.getLogger("huggingface_hub")
    with _downloading:
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
