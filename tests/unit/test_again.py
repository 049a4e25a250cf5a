"""Browser tests that failed among others are run once more, alone; no others are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECOND = "from pathlib import Path\ndef test_it():\n    first = not Path('was').exists()\n    Path('was').touch()\n    assert not first\n"
NEVER = "def test_it():\n    assert False\n"
PASSES = "def test_it():\n    pass\n"


@pytest.mark.parametrize(
    ("files", "codes", "again"),
    [
        ({"tests/ui/test_a.py": SECOND}, (1, 0), True),
        ({"tests/ui/test_a.py": NEVER, "tests/unit/test_b.py": PASSES}, (1, 1), True),
        ({"tests/ui/test_a.py": SECOND, "tests/unit/test_b.py": NEVER}, (1, 1), False),
        ({f"tests/ui/test_{i}.py": NEVER for i in range(4)}, (1, 1), False),
        ({"tests/ui/test_a.py": PASSES}, (0, 0), False),
    ],
)
def test_only_the_browser_s_tests_are_run_again(tmp_path: Path, files: dict[str, str], codes: tuple[int, int], again: bool) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests"], cwd=tmp_path, env=env, capture_output=True).returncode
    second = subprocess.run(
        [sys.executable, "-m", "tests.support.again", str(first)], cwd=tmp_path, env=env, capture_output=True, text=True
    )  # fmt: skip
    assert (first, second.returncode) == codes
    assert ("Once more" in second.stdout) is again
