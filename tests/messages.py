"""A progress callback that keeps the messages of what it receives."""

from mkt_search.progress import Progress


class Messages(list[str]):
    """The messages of all events so far, in order; pass it as `progress`."""

    def __call__(self, event: Progress) -> None:
        if event.message:
            self.append(event.message)
