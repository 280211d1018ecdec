"""A pytest plugin that reports processor time: `scripts/check --times`.

Wall time on a busy machine says little. Counted are a worker and the processes it waited for.
"""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

SHOWN = 30


def processor_seconds() -> float:
    """Return the processor seconds of this process and of its finished children."""
    return sum(os.times()[:4])


class Times:
    """Measures every phase of every test where it runs; adds them up where results are shown."""

    def __init__(self) -> None:
        self._last = processor_seconds()
        self._of_tests: Counter[str] = Counter()
        self._of_processes: list[float] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, bool, bool]:
        self._last = processor_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        report = yield
        now = processor_seconds()
        report.processor_seconds, self._last = now - self._last, now  # workers send it along
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._of_tests[report.nodeid] += report.processor_seconds

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["processor_seconds"] = processor_seconds()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._of_processes.append(getattr(node, "workeroutput", {}).get("processor_seconds", 0.0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: Counter[str] = Counter()
        for test, seconds in self._of_tests.items():
            files[test.split("::")[0]] += seconds
        in_tests = files.total()
        whole = sum(self._of_processes) or processor_seconds()
        write = terminalreporter.write_line
        terminalreporter.section("processor seconds")
        write(f"{whole:8.1f}  in all; imports and collection {whole - in_tests:.1f}")
        for name, seconds in files.most_common():
            write(f"{seconds:8.1f}  {name}")
        terminalreporter.section(f"the {SHOWN} costliest tests")
        for name, seconds in self._of_tests.most_common(SHOWN):
            write(f"{seconds:8.2f}  {name}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Times())
