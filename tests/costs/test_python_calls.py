"""No count rises unnoticed. Each count of a call has one test that compares it with the committed figure:

```text
D1 round trips, rows read and written, object calls   docs/costs.md          tests/costs/test_cost_table.py, in the real runtime
waits for the network, one after the other            the test's numbers     tests/turns/test_waits.py, tests/homes/test_turn_calls.py
modules and bytes that an import loads                the test's numbers     tests/package/test_import_cost.py
Python functions that a call enters                   `MOST` below           this file
```

A number may rise when a promise needs it; then the commit says why. Times are compared in pairs with another version, and never tested:
`make bench ARGS="--part versions --against REF"`.
"""

import pytest

from bench.python_calls import CALL_JOBS, calls_of

MOST = {
    "save, 1 new message": 100,
    "save, 20 new messages": 100,
    "load 200 messages of 1 KB": 53,
    "page of 50, the first": 34,
    "stream: a flush of 50 chunks": 540,
    "stream: replay 1,000 chunks": 1_085,
    "lock: acquire + release": 158,
    "100 usage entries with totals": 3_239,
    "a turn of 20 chunks": 1_557,
    "home: store and save, 1 new message": 259,
    "home: store and save, 20 new messages": 259,
    "home: store and load, 200 messages of 1 KB": 196,
    "home: store and page of 50, the first": 177,
    "home: store and first save of a new session": 377,
    "home: store and turn without a stream": 1_055,
}


def test_every_job_has_its_figure() -> None:
    """A job that is added is limited too."""
    assert MOST.keys() == CALL_JOBS.keys()


@pytest.mark.parametrize("name", MOST)
def test_a_call_enters_no_more_functions(name: str) -> None:
    """When it fails, `python -m bench.python_calls WORDS` lists the functions; compare them with those of the commit before."""
    found = calls_of(name)

    assert found.total() <= MOST[name], found.most_common(30)


def test_the_count_sees_one_more_call() -> None:
    """A save of twice as many flushes enters more functions: the counter counts."""
    flush, save = calls_of("stream: a flush of 50 chunks"), calls_of("save, 1 new message")

    assert flush["streams/writer.py:DurableObjectStreamWriter.write"] >= 50
    assert save["state/sessions.py:SessionCalls.save_state"] >= 1
    assert not [name for name in save if name.startswith(("testing/", "database/sqlite"))]
