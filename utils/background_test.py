import itertools
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


def test_what_a_process_raises_arrives():
  with pytest.raises(TypeError, match='bad operand'):
    list(map_processes(abs, [1, 'a', 2], workers=1))
