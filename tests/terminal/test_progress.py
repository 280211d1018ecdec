"""The progress of a job as a person sees it, and what Ctrl-C does."""

import io
import logging
import re
import signal
import sys
import threading

import pytest

from mkt_search.progress import Progress
from mkt_search.terminal.output import StderrHandler, say
from mkt_search.terminal.progress import EXIT_INTERRUPTED, STOPPING, show_progress


class Terminal(io.StringIO):
    """A stderr that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal of 200 columns; not a fixture, as pytest sets stderr before a test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


def test_a_line_has_count_rate_time_left_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show_progress(clock=clock) as progress:
        progress(Progress("encoding photos", 0, 1_000))
        clock.now += 1
        progress(Progress("encoding photos", 32, 1_000))
        assert capsys.readouterr().err == ""  # only every few seconds
        clock.now += 9
        progress(Progress("encoding photos", 100, 1_000, failed=2))
    said = capsys.readouterr().err
    assert said == "encoding photos: 100 of 1,000, 10.0/s, 1 min 30 s left, 2 failed\n"


def test_the_rate_counts_from_where_a_step_began(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show_progress(clock=clock) as progress:
        progress(Progress("reading", 50, 50))
        clock.now += 100
        progress(Progress("encoding", 5_000, 6_000))  # resumed: 5,000 were done before
        clock.now += 2
        progress(Progress("encoding", 5_400, 6_000))
        clock.now += 4
        progress(Progress("encoding", 5_600, 6_000))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "encoding: 5,000 of 6,000",
        "encoding: 5,600 of 6,000, 100/s, 4 s left",
    ]


def test_an_unknown_total_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show_progress(clock=clock) as progress:
        clock.now += 9
        progress(Progress("scanning", 40))
    assert capsys.readouterr().err == "scanning: 40\n"


def test_messages_are_printed_at_once_and_safely(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        progress(Progress("", message="a\x1b[2Jb.jpg: truncated"))
    assert capsys.readouterr().err == "a\\x1b[2Jb.jpg: truncated\n"


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stderr = Clock(), terminal(monkeypatch)
    with show_progress("opening the model", clock=clock) as progress:
        progress(Progress("tagging [photos]", 0, 30))
        clock.now += 1
        progress(Progress("tagging [photos]", 20, 30, failed=1))
        progress(Progress("", message="a sentence above the bar"))
    shown = stderr.getvalue()
    assert "opening the model" in shown
    assert "a sentence above the bar\n" in shown
    assert "tagging [photos]" in shown
    assert "20 of 30, 20.0/s, 0.5 s left, 1 failed" in shown


def test_sentences_and_log_messages_are_printed_above_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = terminal(monkeypatch)
    logger = logging.getLogger("above the bar")
    logger.addHandler(StderrHandler())
    with show_progress("scoring [photos]"):
        say("a [sentence]")
        logger.warning("a warning")
    lines = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", stderr.getvalue()).splitlines()
    assert "a [sentence]" in [line.split("\r")[-1] for line in lines]
    assert "a warning" in [line.split("\r")[-1] for line in lines]


def test_the_bar_of_a_finished_step_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch)
    with show_progress() as progress:
        progress(Progress("encoding", 12, 12))
        progress(Progress("clustering", 3))
    last = stderr.getvalue().rpartition("clustering")[2]
    assert "3" in last and "12" not in last


def test_stdout_stays_data_while_a_bar_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch)
    with show_progress("scoring"):
        print("a.jpg")
    assert capsys.readouterr().out == "a.jpg\n"


def test_ctrl_c_stops_at_the_next_count(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), show_progress() as progress:
        progress(Progress("encoding", 32, 96))
        signal.raise_signal(signal.SIGINT)
        steps.append("the batch ends")
        progress(Progress("", message="a remark"))
        steps.append("a remark stops nothing")
        progress(Progress("encoding", 64, 96))
        steps.append("never reached")
    assert steps == ["the batch ends", "a remark stops nothing"]
    assert capsys.readouterr().err == f"{STOPPING}\na remark\n"


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), show_progress() as progress:
        progress(Progress("encoding", 32, 96))
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")


def test_ctrl_c_before_the_first_count_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), show_progress("opening", on_stop=str):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")
    assert capsys.readouterr().err == ""


def test_a_stop_can_say_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    def on_stop(last: Progress) -> str:
        return f"stopped after {last.done} photos; run the same command to continue"

    with pytest.raises(SystemExit) as stopped, show_progress(on_stop=on_stop) as progress:
        progress(Progress("encoding", 32, 96))
        signal.raise_signal(signal.SIGINT)
        progress(Progress("encoding", 64, 96))
    assert stopped.value.code == EXIT_INTERRUPTED
    assert capsys.readouterr().err.splitlines() == [
        STOPPING,
        "stopped after 64 photos; run the same command to continue",
    ]


def test_ctrl_c_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with show_progress():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_progress_can_be_shown_from_another_thread(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with show_progress() as progress:
            progress(Progress("", message="done"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "done\n"
