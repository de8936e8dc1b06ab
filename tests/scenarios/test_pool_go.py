"""The pool core against Go's http.Transport itself: random lives of a pool, step by step, in which
both must dial, deliver, fail, abort and close the same, with the same connections marked as reused.

  CONNLEAK_SEED=12345 CONNLEAK_RUNS=5000     other lives than the few of `make test`, and more
"""

import os
import subprocess
import time

import pytest

from rig import subject as subjects

SCRIPT = os.path.join(subjects.ROOT, "build", "tests", "prop", "pool_script")
RUNS = os.environ.get("CONNLEAK_RUNS", "150")
SEED = os.environ.get("CONNLEAK_SEED", str(time.time_ns() % 10**12))


@pytest.mark.skipif(bool(subjects.go_available()), reason=str(subjects.go_available()))
def test_the_pool_does_what_go_does():
    script = subprocess.run([SCRIPT, SEED, RUNS], capture_output=True, text=True, check=True).stdout
    go = subprocess.run([subjects.build_go("gopool")], input=script, capture_output=True, text=True)
    assert go.returncode == 0, f"seed {SEED}, {RUNS} runs:\n{go.stdout[-8000:]}{go.stderr[-2000:]}"
    assert go.stdout.startswith(f"{RUNS} runs, "), go.stdout
