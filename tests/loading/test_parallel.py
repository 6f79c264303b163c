import subprocess
import sys
from itertools import islice

import pytest

from genmatter.errors import DataError
from genmatter.loading import parallel
from genmatter.loading.parallel import spread

MODULES = ("descriptors", "grammar", "murcko", "reorder", "standard")


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    """Processes find this file, as they would a user's."""
    monkeypatch.setattr(sys, "path", [*sys.path, __file__.rpartition("/")[0]])
    for function in (squares, exits, refuses, chatters):
        monkeypatch.setattr(function, "__module__", "test_parallel")
    monkeypatch.setattr(parallel, "PART", 3)


@pytest.fixture
def started(monkeypatch):
    """The processes that are started."""
    found, real = [], subprocess.Popen

    def popen(*args, **kwargs):
        found.append(real(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return found


def squares(told, things):
    return [told["times"] * k**2 for k in things]


def exits(told, things):
    """Ends its process."""
    raise SystemExit(3)


def refuses(told, things):
    raise ValueError(f"{things} are refused")


def chatters(told, things):
    print("a library that writes")  # noqa: T201
    return things


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 3, 50])
def test_results_are_in_order_however_many_compute(processes, n, started):
    found = spread(squares, {"times": 2}, range(n), processes=processes)
    assert list(found) == [2 * k**2 for k in range(n)]
    assert len(started) == (processes if processes > 1 else 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_list_without_end_is_gone_through_as_asked(processes):
    found = spread(squares, {"times": 1}, range(10**9), processes=processes, part=1)
    assert [*islice(found, 30)] == [k**2 for k in range(30)]
    found.close()


def test_numbers_come_back_bit_for_bit():
    odd = [0.1 + 0.2, 1e-310, float("inf"), -0.0, float("nan")]
    found = list(spread(squares, {"times": 1}, [2.0**0.5, *odd], processes=2))
    assert list(map(repr, found)) == list(map(repr, squares({"times": 1}, [2.0**0.5, *odd])))


@pytest.mark.parametrize("lacking", ["/nowhere/python", "false", ""])
def test_where_no_process_can_be_started_the_work_is_done_here(lacking, monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", lacking)
    assert list(spread(squares, {"times": 1}, range(9), processes=2)) == [k**2 for k in range(9)]
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_function_is_raised_as_it_is(capfd):
    for processes in (1, 2):
        with pytest.raises(ValueError, match=r"\[0, 1, 2\] are refused"):
            list(spread(refuses, {}, range(9), processes=processes))
    assert capfd.readouterr() == ("", "")


def test_what_a_function_writes_is_no_answer():
    assert list(spread(chatters, {}, ["a", "b"], processes=2)) == ["a", "b"]


def test_a_process_that_dies_is_an_error_and_not_a_wait(started):
    with pytest.raises(DataError, match=r"ended early \(status 3\)"):
        list(spread(exits, {}, ["C"] * 10, processes=2))
    assert all(p.returncode is not None for p in started)


def test_who_stops_asking_leaves_no_process(started):
    found = spread(squares, {"times": 1}, range(100), processes=2)
    assert next(found) == 0
    found.close()
    assert len(started) == 2
    assert all(p.returncode is not None for p in started)


def test_processes_that_compute_need_no_torch():
    names = ", ".join(f"genmatter.domains.molecule.{name}" for name in MODULES)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
