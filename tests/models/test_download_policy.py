"""The policy of downloads: that of the block around, in this thread alone."""

from threading import Thread

from mkt_search.models.download_policy import DownloadPolicy, download_policy, downloads
from mkt_search.progress import no_progress


def test_a_policy_holds_in_its_block_and_in_its_thread() -> None:
    default, elsewhere = DownloadPolicy(), list[DownloadPolicy]()
    with downloads(offline=True, progress=no_progress):
        assert download_policy() == DownloadPolicy(offline=True, progress=no_progress)
        with downloads(offline=False, progress=no_progress):
            assert not download_policy().offline
        assert download_policy().offline
        thread = Thread(target=lambda: elsewhere.append(download_policy()))
        thread.start()
        thread.join()
    assert [download_policy(), *elsewhere] == [default, default]
