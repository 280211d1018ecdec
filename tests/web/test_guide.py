"""The commands for programs that docs/web.md shows work as written, one after another."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line import mkt
from tests.web.client import TOKEN, running

GUIDE = Path(__file__).parents[2] / "docs" / "web.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl, bash")
def test_the_commands_of_the_guide_work(own_library: Path, tmp_path: Path) -> None:
    blocks = [block for block in BLOCK.findall(GUIDE.read_text("utf-8")) if "mkt_get" in block]
    script = "set -e -o pipefail\n" + "\n".join(blocks).replace("red ball + sea - tree", "red")
    (tmp_path / ".mkt-token").write_text(TOKEN)
    mkt("map", "--library", own_library)
    with running(own_library) as (host, port):
        done = subprocess.run(
            ["bash", "-c", script.replace("127.0.0.1:8765", f"{host}:{port}")],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    assert '"hits":[{' in done.stdout
    assert '{"changed":2}' in done.stdout
    assert (tmp_path / "photo.webp").read_bytes()[8:12] == b"WEBP"
