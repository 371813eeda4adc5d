import concurrent.futures
import time

import numpy as np
import pytest

from utils import benchmarking


def test_a_race_is_run_in_turns_after_a_first_call():
  calls = []
  result = benchmarking.race({'a': lambda: calls.append('a') or time.sleep(0.02),
                              'b': lambda: calls.append('b')}, seconds=0, least=3)
  assert ''.join(calls) == 'ab' * 4
  assert result['a'].seconds >= 0.02 > result['b'].seconds


def test_processor_time_counts_all_threads_and_no_waiting():
  def spin():
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
      pass

  def two_threads():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for done in [pool.submit(spin), pool.submit(spin)]:
        done.result()

  result = benchmarking.race({'busy': two_threads, 'asleep': lambda: time.sleep(0.05)}, 0, least=1)
  assert result['busy'].cpu_seconds >= 0.1
  assert result['asleep'].cpu_seconds < 0.02


def test_a_race_lasts_as_long_as_asked_for():
  begin = time.perf_counter()
  benchmarking.race({'a': lambda: None}, seconds=0.1)
  assert time.perf_counter() - begin >= 0.1


def test_peak_memory_counts_what_is_given_back_too():
  # Arrays of this size are mapped by themselves, whatever earlier tests have left.
  peak = benchmarking.peak_memory(lambda: np.ones(2 ** 24))  # 128 MB
  assert peak == pytest.approx(128, abs=20)
  assert benchmarking.peak_memory(lambda: None) < 20


def test_a_table_is_aligned():
  assert benchmarking.markdown(['row', 's'], [['a', '1.25'], ['long', '3']]) == [
      '| row  | s    |', '| ---- | ---- |', '| a    | 1.25 |', '| long | 3    |']
