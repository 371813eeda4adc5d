"""Work done ahead of its use by background threads."""

import collections
import concurrent.futures
import os


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
