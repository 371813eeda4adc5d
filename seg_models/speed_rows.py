"""The rows of `pyscripts/benchmark/benchmark_speed.py`: what is measured, what is to be reached."""

import dataclasses
import os
import time
from collections.abc import Callable

import tensorflow as tf

from seg_models import speed, speed_contrast, speed_frozen, speed_inference, speed_training
from utils.benchmarking import peak_memory, race

# What a search may hold beside the bank: similarities of 25 queries to a chunk of it, and copies.
KNN_MB = 64


@dataclasses.dataclass(frozen=True)
class Row:
  """One row of the table.

  Attributes:
    build: function of a scale in (0, 1] that returns the `seg_models.speed.Work`.
    target: what the row is to reach, in words; None for none.
    met: function of the row's results that says whether it does.
  """
  build: Callable
  target: str | None = None
  met: Callable = lambda result: None


def _ratio(build, ratio):
  return Row(build, f'{ratio}x', lambda result: result['ratio'] >= ratio)


def _neighbours(size):
  return Row(speed.neighbours(size), f'{KNN_MB} MB beside the bank',
             lambda result: result['peak_mb'] <= KNN_MB)


ROWS = {
    'supervised_loss': _ratio(speed.supervised_loss, 5),
    'unsupervised_loss': Row(speed.unsupervised_loss),
    'clustering': Row(
        speed.clusters_of_image, '4x, 1.5 times its products',
        lambda result: result['ratio'] >= 4 and result['notes']['times_of_its_products'] <= 1.5),
    'knn_1k': _neighbours(1_000),
    'knn_260k': _neighbours(260_000),
    'knn_3m': _neighbours(3_000_000),
    'inference_head': _ratio(speed_inference.inference_head, 5),
    'msc_votes': Row(speed_inference.msc_votes, '20x of the votes',
                     lambda result: result['notes']['votes_ratio'] >= 20),
    'train_step': Row(speed_training.train_step, 'own share below 1 %',
                      lambda result: result['notes']['own_share'] < 0.01),
    'contrast_step': Row(speed_contrast.contrast_step, 'at most 1.10 times without',
                         lambda result: result['cpu_ratio'] >= 1 / 1.10),
    **{f'{name}_step_{count}': Row(speed_frozen.frozen_step(name, count))
       for name in ('stego', 'smooseg') for count in (16, 32)},
}


def measure(name, scale=1.0, seconds=20.0):
  """Measures a row, in a process that has done nothing else for the sake of the memory's peak.

  Args:
    name: one of `ROWS`.
    scale: factor of sides and banks.
    seconds: that fast, plain and bare are run in turns.

  Returns:
    JSON-able dict: name; seconds, plain_seconds (medians) and their ratio; limit, the ratio of the
    bare work, None without one; cpu_ratio and cpu_limit, the same of processor time, which is what
    can be read where others use the machine; peak_mb, by how much the first call makes the process
    grow; target, met; notes (name -> number); load (processes that want the machine's processors,
    mean of a minute).
  """
  row = ROWS[name]
  work = row.build(scale)
  peak = peak_memory(work.fast)
  ways = {'fast': work.fast, 'plain': work.plain}
  if work.bare is not None:
    ways['bare'] = work.bare
  times = race(ways, seconds, work.rounds)
  plainly = times['plain']

  def ratios(way):
    """How many times faster than the plain way it is, by the clock and in processor time."""
    if way not in times:
      return None, None
    return (plainly.seconds / times[way].seconds,
            plainly.cpu_seconds / max(times[way].cpu_seconds, 1e-9))

  (ratio, cpu_ratio), (limit, cpu_limit) = ratios('fast'), ratios('bare')
  result = {
      'name': name, 'seconds': times['fast'].seconds, 'plain_seconds': plainly.seconds,
      'ratio': ratio, 'limit': limit, 'cpu_ratio': cpu_ratio, 'cpu_limit': cpu_limit,
      'peak_mb': peak, 'target': row.target, 'notes': work.notes(times),
      'load': os.getloadavg()[0]}
  return {**result, 'met': row.met(result)}


def plain_peak(name, scale=1.0):
  """The plain way's `peak_mb` of a row, in a process that has done nothing else."""
  return {'plain_peak_mb': peak_memory(ROWS[name].build(scale).plain)}


def machine_rates():
  """What the machine gives in this process: GFLOP/s of a large product, GB/s of an addition."""
  square = tf.random.normal([2048, 2048])
  long = tf.random.normal([2 ** 26])

  def best(function):
    function()
    times = []
    for _ in range(7):
      begin = time.perf_counter()
      function()
      times.append(time.perf_counter() - begin)
    return min(times)

  return {'gflops': 2 * 2048 ** 3 / best(lambda: tf.matmul(square, square)) / 1e9,
          'gb_per_second': 8 * 2 ** 26 / best(lambda: long + 1.0) / 1e9}
