"""The training loop of every method: progress, logs, checkpoints, interruption and resumption."""

import collections
import contextlib
import dataclasses
import pathlib
import sys
import time

import numpy as np
import tensorflow as tf
import tqdm

from utils import checkpoints
from utils.configuration import option
from utils.interruption import Interruption


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long and with what a run trains; names and defaults are the original's where it had any."""
  batch_size: int = option(1, 'images a batch, over all replicas')
  num_steps: int = option(20000, 'updates; the learning rate ends at 0 there')
  iter_size: int = option(1, 'batches whose gradients are averaged for one update')
  learning_rate: float = option(1e-3, 'base learning rate; the head learns 10 times faster')
  power: float = option(0.9, 'exponent of the polynomial decay of the learning rate')
  momentum: float = option(0.9, 'momentum of SGD')
  weight_decay: float = option(5e-4, 'weight of the L2 penalty on kernels')
  seed: int = option(1234, 'of weights, order, augmentation and memory', flags=('random_seed',))
  precision: str = option(
      'float32', 'of convolutions; embeddings and losses are always float32',
      choices=('float32', 'mixed_bfloat16', 'mixed_float16'))
  jit_compile: bool | None = option(
      None, 'compile the step with XLA; default: on one GPU, where it is faster, not on CPUs, '
      'where it is slower, nor for several replicas, where it cannot be')
  save_pred_every: int = option(10000, 'steps between checkpoints; the last step is always saved')
  update_tb_every: int = option(20, 'steps between points in metrics.jsonl and TensorBoard')
  pictures_every: int = option(500, 'steps between pictures in TensorBoard; 0 for none')
  keep_checkpoints: int = option(10, 'the newest checkpoints that are kept')

  def __post_init__(self):
    for name in ('batch_size', 'num_steps', 'iter_size', 'save_pred_every', 'update_tb_every',
                 'keep_checkpoints'):
      if getattr(self, name) < 1:
        raise ValueError(f'--{name} {getattr(self, name)}: must be at least 1')
    if not 0 <= self.seed < 2 ** 31:
      raise ValueError(f'--seed {self.seed}: must be from 0 to {2 ** 31 - 1}')
    if not self.learning_rate > 0:
      raise ValueError(f'--learning_rate {self.learning_rate}: must be above 0')


# What a resumed run may change without becoming another run. Compiled or not, a step computes the
# same but for rounding, like the same step on another machine.
FREE_FIELDS = (
    'save_pred_every', 'update_tb_every', 'pictures_every', 'keep_checkpoints', 'jit_compile')


class NonFiniteError(ArithmeticError):
  """The loss or a gradient became infinite or NaN."""


def fetch(metrics):
  """Name -> float of name -> float32 scalar tensor, brought from the device in one piece."""
  return dict(zip(metrics, tf.stack(list(metrics.values())).numpy().tolist(), strict=True))


class Trainer:
  """Runs a `TrainStep` over batches and keeps its folder.

  Args:
    train_step: `utils.train_step.TrainStep`.
    config: `TrainingConfig`.
    directory: folder of checkpoints.
    metadata: JSON-able dict stored in every checkpoint (the model's configuration among it).
    describe: function of a batch that names its images, for error messages.
    pictures: function of a batch that returns name -> uint8 [N, H, W, 3], or None.
  """

  def __init__(self, train_step, config, directory, *, metadata, describe, pictures=None):
    self.train_step = train_step
    self.config = config
    self.directory = pathlib.Path(directory)
    self.metadata = metadata
    self.describe = describe
    self.pictures = pictures

  def resume(self):
    """Restores the newest checkpoint of the folder; returns the step that comes next, 0 if none.

    Raises:
      ValueError: the checkpoint does not hold exactly what this run needs.
    """
    prefix = checkpoints.latest(self.directory)
    if prefix is None:
      return 0
    archive = checkpoints.open_archive(prefix)
    variables = self.train_step.saved_variables()
    there, wanted = set(archive.names()), set(variables)
    if there != wanted or 'next_step' not in archive.metadata:
      raise ValueError(
          f'{prefix}: {archive.describe()}, not a checkpoint of this run (missing '
          f'{sorted(wanted - there)[:5]}, unknown {sorted(there - wanted)[:5]}): name another '
          '--snapshot_dir for a new run')
    for name, variable in variables.items():
      variable.assign(archive.read(name))
    return archive.metadata['next_step']

  def save(self, step):
    """Writes `model.ckpt-<step>`, the weights after the update of the 0-based step."""
    arrays = {name: value.numpy() for name, value in self.train_step.saved_variables().items()}
    prefix = self.directory / f'model.ckpt-{step}'
    checkpoints.save(prefix, arrays, {**self.metadata, 'step': step, 'next_step': step + 1})
    checkpoints.update_state(self.directory, prefix, keep=self.config.keep_checkpoints)
    return prefix

  def run(self, make_batches, folder, first_step=0):
    """Trains from `first_step` to the end.

    Args:
      make_batches: function of the index of the first batch (a step takes `iter_size` of them) that
        returns an endless iterable of batches, the same ones whatever the index it starts from.
      folder: `utils.run_folder.RunFolder` for metrics and pictures.
      first_step: as returned by `resume`.

    Returns:
      The prefix of the last checkpoint, and None or the name of the signal that stopped the run.

    Raises:
      NonFiniteError: names the step and the images; the newest checkpoint is from before it.
    """
    config = self.config
    batches = iter(make_batches(first_step * config.iter_size))
    window = collections.defaultdict(float)
    pending = collections.deque()  # steps that were begun and not yet looked at
    saved = None
    progress = tqdm.tqdm(
        total=config.num_steps, initial=first_step, unit='step', dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 15.0)
    with Interruption() as interruption, progress, contextlib.closing(folder):
      for step in range(first_step, config.num_steps):
        begin = time.perf_counter()
        try:
          group = [next(batches) for _ in range(config.iter_size)]
        except Exception:
          # A faulty file ends the run, but not what was learned before it was met.
          if step > first_step:
            self._collect(pending)
            progress.write(f'saved {self.save(step - 1)} before the error')
          raise
        waited = time.perf_counter() - begin
        pending.append((step, group, self.train_step(group, step)))
        last = step == config.num_steps - 1
        stopping = interruption.requested
        logs = step % config.update_tb_every == 0 or last
        draws = bool(self.pictures and config.pictures_every) and (
            step % config.pictures_every == 0 or last)
        saves = last or stopping or (step > 0 and step % config.save_pred_every == 0)
        # A GPU works on this step while the numbers of the one before are looked at: it is waited
        # for only where something is shown or written.
        metrics = self._collect(pending, ahead=0 if logs or draws or saves else 1)
        window['seconds'] += time.perf_counter() - begin
        window['waited'] += waited
        window['steps'] += 1
        progress.update()
        rates = {
            'images_per_second':
                window['steps'] * config.batch_size * config.iter_size / window['seconds'],
            'data_wait_share': window['waited'] / window['seconds']}
        if metrics:
          progress.set_postfix_str(
              f'loss {metrics["loss"]:.4f}, lr {metrics["learning_rate"]:.2g}, '
              f'{rates["images_per_second"]:.1f} images/s, '
              f'waiting for data {100 * rates["data_wait_share"]:.0f}%', refresh=False)
        if logs:
          folder.scalars(step, {**metrics, **rates, 'parameter_norm': self._parameter_norm()})
          window.clear()
        if draws:
          folder.images(step, self.pictures(group[-1]))
        if saves:
          saved = self.save(step)
          folder.flush()
        if stopping and not last:
          return saved, stopping
    return saved, None

  def _parameter_norm(self):
    weights = [variable.numpy().ravel() for variable in self.train_step.trainable.values()]
    return float(np.sqrt(sum(np.dot(values, values) for values in weights)))

  def _collect(self, pending, ahead=0):
    """Takes steps off the queue but for the last `ahead` ones; returns the last one's metrics.

    Raises:
      NonFiniteError: see `run`.
    """
    metrics = {}
    while len(pending) > ahead:
      step, group, tensors = pending.popleft()
      metrics = fetch(tensors)
      self._check_finite(metrics, step, group)
    return metrics

  def _check_finite(self, metrics, step, group):
    # A float16 gradient may overflow: the loss scale then skips the step, and only a loss that is
    # not finite, or a scale that has sunk to nothing, is a failure.
    scale = metrics.get('loss_scale')
    names = ['loss', 'gradient_norm'] if scale is None else ['loss']
    wrong = [name for name in names if not np.isfinite(metrics[name])]
    if scale is not None and scale < 2.0 ** -14:
      wrong.append('gradient_norm (at any loss scale)')
    if wrong:
      images = ', '.join(name for batch in group for name in self.describe(batch))
      newest = checkpoints.latest(self.directory)
      raise NonFiniteError(
          f'step {step}: {" and ".join(wrong)} not finite. Images of the batch: {images}. The '
          f'newest checkpoint is {newest or "none yet"}. Lower --learning_rate, or look at the '
          'images and masks.')


def usable_replicas(num_gpu, batch_size):
  """The greatest number of replicas up to `num_gpu` that divides the batch; says so if it is less.

  The original's recipe has 5 GPUs for batches of 16: 4 for the network, one for the loss.
  """
  if num_gpu < 1:
    raise ValueError(f'--num_gpu {num_gpu}: must be at least 1')
  replicas = max(count for count in range(1, num_gpu + 1) if batch_size % count == 0)
  if replicas < num_gpu:
    print(f'{replicas} of {num_gpu} GPUs are used, for --batch_size {batch_size} cannot be divided '
          f'among {num_gpu}')
  return replicas


def make_strategy(num_replicas):
  """One device, or MirroredStrategy over `num_replicas` GPUs (or logical CPU devices without GPUs).

  Raises:
    ValueError: fewer devices than replicas.
  """
  if num_replicas == 1:
    return tf.distribute.get_strategy()
  kind = 'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'
  devices = [device.name for device in tf.config.list_logical_devices(kind)]
  if len(devices) < num_replicas:
    raise ValueError(f'--num_gpu {num_replicas}: only {len(devices)} {kind} device(s) here')
  # On the CPU, which only tests and trials do: two strategies of a process number their collective
  # operations alike and abort each other's. Summing on one device needs no numbers.
  return tf.distribute.MirroredStrategy(
      devices[:num_replicas],
      cross_device_ops=None if kind == 'GPU' else tf.distribute.ReductionToOneDevice())


def batch_device(num_replicas):
  """Where batches are put as they are made: on the one GPU, or in the memory of the host.

  The copy to the GPU is thus made by the thread that makes the batch, while earlier steps run.
  TensorFlow leaves integers of 32 bits in the host's memory, where its programs expect them.
  """
  on_gpu = num_replicas == 1 and tf.config.list_physical_devices('GPU')
  return 'GPU:0' if on_gpu else 'CPU:0'


def use_devices(num_replicas):
  """Before any tensor exists: GPU memory grows as needed; without GPUs the CPU is cut up.

  Several logical CPU devices compute what several GPUs would; that is for trying a recipe out.
  """
  gpus = tf.config.list_physical_devices('GPU')
  for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
  cpu = tf.config.list_physical_devices('CPU')[0]
  if not gpus and num_replicas > 1 and not tf.config.get_logical_device_configuration(cpu):
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * num_replicas)
