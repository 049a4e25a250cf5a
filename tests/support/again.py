"""Run the browser's tests that failed once more, alone on the machine: ``python -m tests.support.again CODE`` after pytest ended with CODE.

What they wait for comes by the clock of a machine on which three processes and their browsers share two cores. A test of anything else is
not run again, nor are many: then it is no matter of time. What is run again is named, and fails where it fails again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
BROWSER = "tests/ui/"
MOST = 3


def main(code: int) -> int:
    """The exit code: `code` where nothing is run again, else that of the second run."""
    if code != 1 or not FAILED.exists():
        return code
    failed = list(json.loads(FAILED.read_text()))
    if not failed or len(failed) > MOST or not all(name.startswith(BROWSER) for name in failed):
        return code
    print(f"\nOnce more, alone on the machine: {', '.join(failed)}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *failed]).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
