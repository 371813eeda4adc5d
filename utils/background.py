"""Work done by background threads ahead of its use, and by processes on all cores."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from utils.opencv import cv2

# The processes are the parallelism. NumPy's libraries read this when they are loaded, and their
# threads wait for each other by spinning: with as many processes as cores, half the time.
_ONE_THREAD = dict.fromkeys(('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'), '1')


def map_ahead(function, items, ahead=4):
  """Yields `function(item)` for each item in order, while threads work on the next ones.

  tf.data would do this for TensorFlow's operations; for Python functions it wraps what they raise,
  and a process that ends while one of its threads is in Python never ends.

  Args:
    function: called from several threads at once.
    items: an iterable, which may be endless.
    ahead: how many results at most are waiting or in the making.

  Yields:
    The results in the order of `items`, whatever the number of threads.

  Raises:
    What `function` or `items` raise, at the place of the result.
  """
  workers = min(max(ahead, 1), os.cpu_count() or 1)
  pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix='map_ahead')
  waiting = collections.deque()
  try:
    for item in items:
      waiting.append(pool.submit(function, item))
      if len(waiting) > ahead:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def map_processes(function, items, workers=0, total=None):
  """Yields `function(item)` for each item in order, worked out by processes, with a progress bar.

  Args:
    function: picklable: of a module, or a `functools.partial` of one.
    items: an iterable of what can be pickled. Only so many are taken from it as keep the processes
      busy, in this process, so that it may be a generator with work and memory of its own.
    workers: processes; 0 for one a core.
    total: how many items there are, where they have no length.

  Yields:
    The results in the order of `items`.

  Raises:
    What `function` or `items` raise, at the place of the result.
    ChildProcessError: a process was killed, for want of memory perhaps.
  """
  total = len(items) if total is None else total
  if not total:
    return
  workers = min(workers if workers > 0 else len(os.sched_getaffinity(0)), total)
  # A forked child of a process with threads may hang; a spawned one starts afresh.
  context = multiprocessing.get_context('spawn')
  with _inherited(_ONE_THREAD), concurrent.futures.ProcessPoolExecutor(
      workers, context, _begin) as pool:
    try:
      yield from tqdm(_in_order(pool, function, items, 2 * workers), total=total)
    except BrokenProcessPool as error:
      raise ChildProcessError(
          'a worker process was killed, for want of memory perhaps, which large images and many '
          'processes take (--workers); what is written is kept') from error
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise


@contextlib.contextmanager
def _inherited(variables):
  """Context in which new processes find `variables` in their environment."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def _in_order(pool, function, items, ahead):
  """Results of at most `ahead` items in the pool; each as soon as it and those before are there."""
  waiting = collections.deque()
  for item in items:
    waiting.append(pool.submit(function, item))
    while waiting and (len(waiting) > ahead or waiting[0].done()):
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


def _begin():
  """What a worker process starts with."""
  cv2.setNumThreads(1)
  # Ctrl-C reaches all processes of a terminal; the one that has started them is to handle it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  # Waiting for the next item, a worker would not notice that there is nobody left to send one.
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  multiprocessing.parent_process().join()
  os._exit(1)
