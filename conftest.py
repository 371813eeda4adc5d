"""What every test shares: two logical CPU devices, on which replicas are tested, and an order."""

import gc
import os

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# Tracing makes objects by the million, and few of them are garbage: looking for it as often as
# Python does by default (every 700 objects) takes a tenth of the time of tests, for nothing.
gc.set_threshold(50_000, 20, 20)


def pytest_configure(config):
  """Sets the devices, but in the process that only hands out tests to others."""
  if hasattr(config, 'workerinput') or not config.getoption('numprocesses', 0):
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.hookimpl(trylast=True)  # once tests are deselected
def pytest_collection_modifyitems(config, items):
  """Each of several processes begins with the modules that have slow tests.

  pytest-xdist's `worksteal` hands out an equal number of tests in their order and balances by what
  is at the ends: where these are quick, all processes end together.
  """
  workers = getattr(config, 'workerinput', {}).get('workercount', 1)
  modules = {}
  for item in items:
    modules.setdefault(item.path, []).append(item)
  slow = [tests for tests in modules.values()
          if any(test.get_closest_marker('slow') for test in tests)]
  quick = [test for tests in modules.values() if tests not in slow for test in tests]
  if workers > 1 and slow:
    sizes = [(len(items) + worker) // workers for worker in range(workers)]
    items.clear()
    for worker, size in enumerate(sizes):
      share = [test for tests in slow[worker::workers] for test in tests]
      count = max(size - len(share), 0)
      items += share + quick[:count]
      del quick[:count]
    items += quick
