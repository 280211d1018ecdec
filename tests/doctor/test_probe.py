"""The process that imports modules: a line before and after each, whatever they print."""

import json
import subprocess
import sys


def test_what_a_module_prints_is_no_answer() -> None:
    command = [sys.executable, "-m", "mkt_search.doctor.probe", "this", "none_such"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"module": "this"},
        {"module": "this", "error": ""},
        {"module": "none_such"},
        {"module": "none_such", "error": "absent"},
    ]
    assert "Beautiful is better than ugly" in done.stderr and done.returncode == 0
