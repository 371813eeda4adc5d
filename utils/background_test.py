import itertools
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from utils.background import map_ahead, map_processes


def test_results_keep_the_order_of_the_items():
  def slow_first(item):
    time.sleep(0.02 if item == 0 else 0)
    return item * item
  assert list(map_ahead(slow_first, range(20), ahead=6)) == [item * item for item in range(20)]
  assert list(map_ahead(slow_first, [], ahead=6)) == []
  assert list(map_ahead(slow_first, range(5), ahead=0)) == [0, 1, 4, 9, 16]


def test_at_most_ahead_results_are_waiting_and_the_rest_is_dropped():
  begun = []
  results = map_ahead(begun.append, itertools.count(), ahead=3)
  next(results)
  time.sleep(0.05)
  assert sorted(begun) == [0, 1, 2, 3]
  results.close()
  time.sleep(0.05)
  assert len(begun) == 4
  assert not [thread for thread in threading.enumerate() if 'map_ahead' in thread.name]


def test_exceptions_arrive_at_their_place_as_they_were():
  def fail(item):
    if item == 2:
      raise ValueError('item 2')
    return item
  results = map_ahead(fail, itertools.count())
  assert [next(results), next(results)] == [0, 1]
  with pytest.raises(ValueError, match='^item 2$'):
    next(results)


@pytest.mark.parametrize('ending', ['pass', 'raise RuntimeError("x")', 'raise SystemExit(3)'])
def test_a_process_ends_although_an_endless_iterator_lives(ending):
  code = ('import itertools\n'
          'from utils.background import map_ahead\n'
          'results = map_ahead(lambda item: sum(range(100000)), itertools.count())\n'
          f'next(results)\n{ending}')
  subprocess.run([sys.executable, '-c', code], timeout=20, stderr=subprocess.DEVNULL, check=False)


def test_processes_keep_the_order():
  assert list(map_processes(abs, [-3, 2, -1], workers=2)) == [3, 2, 1]
  assert list(map_processes(abs, [])) == []


def test_items_are_made_only_as_processes_want_them():
  made = []

  def items():
    for item in range(100):
      made.append(item)
      yield -item
  results = map_processes(abs, items(), workers=1, total=100)
  assert next(results) == 0 and len(made) <= 5
  results.close()
  assert len(made) <= 5
  assert list(map_processes(abs, iter([-1, -2]), workers=1, total=2)) == [1, 2]


def test_what_a_process_raises_arrives():
  with pytest.raises(TypeError, match='bad operand'):
    list(map_processes(abs, [1, 'a', 2], workers=1))


def test_processes_leave_parallelism_to_each_other(monkeypatch):
  monkeypatch.setenv('OMP_NUM_THREADS', '7')
  monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
  names = ['OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS']
  assert list(map_processes(os.getenv, names, workers=1)) == ['1', '1']
  assert [os.getenv(name) for name in names] == ['7', None]


def test_a_killed_process_is_named_as_the_cause():
  with pytest.raises(ChildProcessError, match='want of memory.*--workers'):
    list(map_processes(os._exit, [3], workers=1))


def test_processes_do_not_outlive_a_killed_parent(tmp_path):
  code = ('import os, pathlib, sys, time\n'
          'from utils.background import map_processes\n'
          'def items():\n'
          '  yield sys.argv[1]\n'
          '  time.sleep(60)\n'
          'if __name__ == "__main__":\n'
          '  list(map_processes(os.mkdir, items(), workers=1, total=2))')
  made = tmp_path / 'made'
  parent = subprocess.Popen([sys.executable, '-c', code, str(made)], stderr=subprocess.DEVNULL)
  try:
    await_that(made.exists)
    children = pathlib.Path(f'/proc/{parent.pid}/task/{parent.pid}/children').read_text().split()
    assert children
  finally:
    parent.kill()
    parent.wait()
  await_that(lambda: not any(running(child) for child in children))


def running(process):
  try:
    return pathlib.Path(f'/proc/{process}/stat').read_text().split(') ')[1][0] != 'Z'
  except FileNotFoundError:
    return False


def await_that(condition):
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.02)
