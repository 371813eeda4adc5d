"""Extraction and inference by several processes of one machine, each on a GPU of its own."""

import dataclasses
import multiprocessing
import signal

import tensorflow as tf

from seg_models.share_config import ShareConfig
from utils import command_line


def on_devices(function, configs):
  """Calls `function(*configs)`, here or in --num_gpu processes with a part of the list each.

  A process a device, not a thread: results are those of one process to the bit, reading and
  writing images are spread too, and one that fails leaves the others their work.

  Args:
    function: of a module; returns an exit status.
    configs: instances of dataclasses, a `ShareConfig` among them.

  Returns:
    The exit status; of several processes the largest, 128 + n for one that signal n has killed.
  """
  output = next(config for config in configs if isinstance(config, ShareConfig))
  if output.num_gpu == 1:
    return function(*configs)
  index, count = output.share
  # A forked child of a process with TensorFlow's threads may hang; a spawned one starts afresh.
  context = multiprocessing.get_context('spawn')
  processes = []
  for device in range(output.num_gpu):
    part = dataclasses.replace(
        output, num_gpu=1, workers='', task=None,
        shard=f'{index * output.num_gpu + device}/{count * output.num_gpu}')
    processes.append(context.Process(target=_run, daemon=True, args=(
        function, [part if config is output else config for config in configs], device)))
    processes[-1].start()
  for process in processes:
    process.join()
  for device, process in enumerate(processes):
    if process.exitcode < 0:
      print(f'process {device} of --num_gpu {output.num_gpu} was killed by '
            f'{signal.Signals(-process.exitcode).name}; the same command goes on')
  return max(code if code >= 0 else 128 - code for code in (
      process.exitcode for process in processes))


def _run(function, configs, device):
  """What each process does: one GPU is its whole world."""
  command_line.run(lambda: (use_device(device), function(*configs))[1])


def use_device(device):
  """Lets this process see the GPU of this number alone; where there are none, the CPU.

  Raises:
    ValueError: there are GPUs, but not so many.
  """
  gpus = tf.config.list_physical_devices('GPU')
  if not gpus:
    return
  if device >= len(gpus):
    raise ValueError(f'--num_gpu {device + 1}: only {len(gpus)} GPU(s) here')
  tf.config.set_visible_devices(gpus[device:device + 1], 'GPU')
