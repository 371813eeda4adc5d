"""Work done by background threads ahead of its use, and by processes on all cores."""

import collections
import concurrent.futures
import multiprocessing
import os

from tqdm import tqdm

from utils.opencv import cv2


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


def map_processes(function, items, workers=0):
  """Yields `function(item)` for each item in order, worked out by processes, with a progress bar.

  Args:
    function: picklable: of a module, or a `functools.partial` of one.
    items: a list of what can be pickled.
    workers: processes; 0 for one a core.

  Yields:
    The results in the order of `items`.

  Raises:
    What `function` raises, at the place of the result.
    BrokenProcessPool: a process was killed, for want of memory perhaps.
  """
  if not items:
    return
  workers = min(workers if workers > 0 else len(os.sched_getaffinity(0)), len(items))
  # A forked child of a process with threads may hang; a spawned one starts afresh.
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
      workers, context, cv2.setNumThreads, (1,)) as pool:  # the processes are the parallelism
    try:
      yield from tqdm(pool.map(function, items), total=len(items))
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise
