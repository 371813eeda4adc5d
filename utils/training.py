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
from utils.pending_steps import PendingSteps
from utils.workers import Workers


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long and with what a run trains; names and defaults are the original's where it had any."""
  batch_size: int = option(1, 'images a batch, over all replicas')
  num_steps: int = option(20000, 'updates; the learning rate ends at 0 there')
  iter_size: int = option(1, 'batches whose gradients are averaged for one update')
  optimizer: str = option('momentum', 'what moves the weights', choices=('momentum', 'adam'))
  learning_rate: float = option(1e-3, 'base learning rate; the head learns 10 times faster')
  power: float = option(0.9, 'exponent of the polynomial decay of the learning rate; 0 for none')
  momentum: float = option(0.9, 'of --optimizer momentum')
  weight_decay: float = option(5e-4, 'weight of the L2 penalty on kernels')
  seed: int = option(1234, 'of weights, order, augmentation and memory', flags=('random_seed',))
  precision: str = option(
      'float32', 'of convolutions; embeddings and losses are always float32',
      choices=('float32', 'mixed_bfloat16', 'mixed_float16'))
  jit_compile: bool | None = option(
      None, 'compile the step with XLA; default: on one GPU, not on CPUs, where it is slower, nor '
      'for several replicas, where it cannot be')
  save_pred_every: int = option(10000, 'steps between checkpoints; the last step is always saved')
  update_tb_every: int = option(20, 'steps between points in metrics.jsonl and TensorBoard')
  pictures_every: int = option(500, 'steps between pictures or histograms in TensorBoard; 0: none')
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


class Trainer:
  """Runs a `TrainStep` over batches and keeps its folder.

  Of several workers only the chief reads and writes the folder.

  Args:
    train_step: `utils.train_step.TrainStep`.
    config: `TrainingConfig`.
    directory: folder of checkpoints.
    metadata: JSON-able dict stored in every checkpoint (the model's configuration among it).
    describe: function of a batch that names its images, for error messages.
    pictures: function of a batch that returns what `RunFolder.images` takes, or None.
    workers: `utils.workers.Workers`, or None for a process by itself.
  """

  def __init__(self, train_step, config, directory, *, metadata, describe, pictures=None,
               workers=None):
    self.train_step = train_step
    self.config = config
    self.directory = pathlib.Path(directory)
    self.metadata = metadata
    self.describe = describe
    self.pictures = pictures
    self.workers = workers or Workers(train_step.strategy)
    self._saved = None

  def resume(self):
    """Restores the newest checkpoint of the folder; returns the step that comes next, 0 if none.

    The chief does, and tells the other workers, whose weights are the chief's in any case.

    Raises:
      ValueError: the checkpoint does not hold exactly what this run needs.
      utils.workers.WorkerLost: a worker was lost.
    """
    step = self._restore() if self.workers.is_chief else 0
    with self.workers.watched(self._how_to_go_on):
      self.workers.copy_from_chief(self.train_step.saved_variables().values())
      step = int(self.workers.total(step))
    self._saved = self.directory / f'model.ckpt-{step - 1}' if step else None
    return step

  def _restore(self):
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
    """Writes `model.ckpt-<step>`, the weights after the update of the 0-based step; its prefix."""
    prefix = self.directory / f'model.ckpt-{step}'
    if self.workers.is_chief and prefix != self._saved:
      arrays = {name: value.numpy() for name, value in self.train_step.saved_variables().items()}
      checkpoints.save(prefix, arrays, {**self.metadata, 'step': step, 'next_step': step + 1})
      checkpoints.update_state(self.directory, prefix, keep=self.config.keep_checkpoints)
    self._saved = prefix
    return prefix

  def run(self, make_batches, folder, first_step=0):
    """Trains from `first_step` to the end.

    Args:
      make_batches: function of the index of the first batch (a step takes `iter_size` of them) that
        returns an endless iterable of batches, the same ones whatever the index it starts from; of
        several workers, each has its own share of them.
      folder: `utils.run_folder.RunFolder` for metrics and pictures; None on workers but the chief.
      first_step: as returned by `resume`.

    Returns:
      The prefix of the newest checkpoint (None without any), and None or who stopped the run: the
      name of a signal here, or another worker.

    Raises:
      utils.pending_steps.NonFiniteError: names the step and the images; the newest checkpoint is
        from before it.
      utils.workers.WorkerLost: a worker was lost; says how to go on.
      What `make_batches` raises, after saving what was learned before.
    """
    config = self.config
    batches = iter(make_batches(first_step * config.iter_size))
    window = collections.defaultdict(float)
    pending = PendingSteps(self._where)
    progress = tqdm.tqdm(
        total=config.num_steps, initial=first_step, unit='step', dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 15.0, disable=folder is None)
    closing = contextlib.closing(folder) if folder else contextlib.nullcontext()
    with Interruption() as interruption, progress, closing:
      for step in range(first_step, config.num_steps):
        begin = time.perf_counter()
        group, error = self._fetch(batches)
        waited = time.perf_counter() - begin
        error, stopped = self._agree(error, interruption.requested)
        if error or stopped:
          if step > first_step:
            pending.collect()
            self.save(step - 1)
            if error:
              progress.write(f'saved {self._saved} before the error')
          if error:
            raise error
          return self._saved, stopped
        last = step == config.num_steps - 1
        logs = step % config.update_tb_every == 0 or last
        draws = bool(folder and self.pictures and config.pictures_every) and (
            step % config.pictures_every == 0 or last)
        saves = last or step > 0 and step % config.save_pred_every == 0
        with self.workers.watched(self._how_to_go_on):
          pending.add(step, group, self.train_step(group, step))
          # A GPU works on this step while the numbers of the one before are looked at: it is waited
          # for only where something is shown or written.
          metrics = pending.collect(ahead=0 if logs or draws or saves else 1)
        window['seconds'] += time.perf_counter() - begin
        window['waited'] += waited
        window['steps'] += 1
        progress.update()
        done = window['steps'] * config.batch_size * config.iter_size
        rates = {'images_per_second': done / window['seconds'],
                 'data_wait_share': window['waited'] / window['seconds']}
        if metrics:
          progress.set_postfix_str(
              f'loss {metrics["loss"]:.4f}, lr {metrics["learning_rate"]:.2g}, '
              f'{rates["images_per_second"]:.1f} images/s, '
              f'waiting for data {100 * rates["data_wait_share"]:.0f}%', refresh=False)
        if logs:
          if folder:
            folder.scalars(step, {**metrics, **rates, 'parameter_norm': self._parameter_norm()})
          window.clear()
        if draws:
          folder.images(step, self.pictures(group[-1]))
        if saves:
          self.save(step)
          if folder:
            folder.flush()
      with self.workers.watched(self._how_to_go_on):
        self.workers.total(0)  # nobody leaves before the chief has saved
    return self._saved, None

  def _fetch(self, batches):
    """The batches of a step and None, or None and what reading them raised."""
    try:
      return [next(batches) for _ in range(self.config.iter_size)], None
    except Exception as error:  # raised again once what was learned is saved
      return None, error

  def _agree(self, error, requested):
    """The error and the request to stop of whichever worker has one, which all then follow."""
    cluster = self.workers.cluster
    flags = np.zeros([2, cluster.count], np.int64)
    flags[:, cluster.index] = error is not None, requested is not None
    with self.workers.watched(self._how_to_go_on):
      failed, stopping = (
          ', '.join(cluster.name(index) for index in np.flatnonzero(row))
          for row in self.workers.total(flags))
    if failed and error is None:
      error = ValueError(f'{failed} could not read a batch: its own output says why')
    return error, requested or stopping

  def _how_to_go_on(self):
    there = f'goes on after {self._saved}' if self._saved else (
        f'begins anew, for no checkpoint is there yet (--save_pred_every '
        f'{self.config.save_pred_every})')
    return f'Start the same command on every worker again: training {there}'

  def _parameter_norm(self):
    weights = [variable.numpy().ravel() for variable in self.train_step.trainable.values()]
    return float(np.sqrt(sum(np.dot(values, values) for values in weights)))

  def _where(self, group):
    """For messages: the images of a step's batches, and the newest checkpoint."""
    images = ', '.join(name for batch in group for name in self.describe(batch))
    share = '' if self.workers.cluster.count == 1 else " (this worker's share)"
    return (f'Images of the batch{share}: {images}. The newest checkpoint is '
            f'{self._saved or "none yet"}.')


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
