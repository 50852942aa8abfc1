"""What the collector's libraries keep of memory, in a process of their own."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

PROGRAM = """
import json, re
from pathlib import Path
from collector.allocation import give_back
import numpy, pyarrow

def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = resident("RssFile")
give_back()
after = resident("RssFile")
total = int(numpy.dot(numpy.arange(4.0), numpy.ones(4))) + pyarrow.array([4, 5])[1].as_py()
threads = len(list(Path("/proc/self/task").iterdir()))
print(json.dumps([before, after, total, pyarrow.default_memory_pool().backend_name, threads]))
"""


def test_code_that_only_the_start_ran_goes_and_comes_back_where_it_runs_again() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    before, after, total, pool, threads = json.loads(output)
    assert after < before * 3 / 4
    assert total == 11
    assert pool == "system"
    assert threads <= 2, "one of them is jemalloc's, which Arrow brings"
