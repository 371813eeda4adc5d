"""Times, memory and tables of benchmarks."""

import pathlib
import statistics
import time
from typing import NamedTuple

_STATUS = pathlib.Path('/proc/self/status')
_CLEAR = pathlib.Path('/proc/self/clear_refs')


class Times(NamedTuple):
  """Medians of a function's turns.

  seconds: by the clock.
  cpu_seconds: of the processors, all threads together. What else the machine does hardly changes
    them, where it may double the seconds.
  """
  seconds: float
  cpu_seconds: float


def race(functions, seconds, least=5):
  """Times functions in turns, so that whatever else the machine does meets all of them alike.

  Args:
    functions: name -> function without arguments; called once each before the clock runs.
    seconds: how long the race goes on at least.
    least: rounds at least.

  Returns:
    name -> `Times` of a call.
  """
  for function in functions.values():
    function()
  turns = {name: [] for name in functions}
  begin = time.perf_counter()
  while time.perf_counter() - begin < seconds or min(map(len, turns.values())) < least:
    for name, function in functions.items():
      start, cpu_start = time.perf_counter(), time.process_time()
      function()
      turns[name].append((time.perf_counter() - start, time.process_time() - cpu_start))
  return {name: Times(*map(statistics.median, zip(*values, strict=True)))
          for name, values in turns.items()}


def peak_memory(function):
  """How many MB (2^20 bytes) the process grows by at most while a function runs.

  What an earlier call has left in the process's own store is used again and not counted: measure
  the first call of a fresh process.

  Raises:
    OSError: the system is not Linux.
  """
  _CLEAR.write_text('5')  # the high-water mark falls to what is there now
  before = _status('VmRSS')
  function()
  return max(_status('VmHWM') - before, 0.0)


def _status(name):
  """A size of /proc/self/status in MB."""
  for line in _STATUS.read_text().splitlines():
    if line.startswith(f'{name}:'):
      return int(line.split()[1]) / 1024
  raise OSError(f'{_STATUS} has no {name}')


def markdown(header, rows):
  """The lines of a Markdown table whose columns are as wide as what they hold; all are strings."""
  widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
  lines = [header, ['-' * width for width in widths], *rows]
  return ['| ' + ' | '.join(
      cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + ' |' for line in lines]
