"""What `utils.scaling` has to know of a training step, measured and counted on logical devices."""

import dataclasses
import statistics
import time

import numpy as np
import tensorflow as tf

from network.segsort.prototypes import l2_normalize
from seg_models.augmentation import AugmentationConfig
from seg_models.datasets import dataset_for
from seg_models.methods import METHODS
from seg_models.models import ModelConfig, build_model, variable_names
from seg_models.scene_batches import scene_batch
from utils import scaling
from utils.train_step import TrainStep
from utils.training import TrainingConfig

CLASSES = 8


class CountingReduction(tf.distribute.ReductionToOneDevice):
  """Adds on one device, and notes the bytes of every message while a step is traced."""

  def __init__(self):
    super().__init__()
    self.sizes = []
    self.prototypes = 0

  def batch_reduce_implementation(self, reduce_op, value_destination_pairs, options):
    """Values that are handed over together travel together."""
    values = [value.values[0] for value, _ in value_destination_pairs]
    self.sizes.append(sum(int(np.prod(value.shape)) * value.dtype.size for value in values))
    if len(values) == 1 and len(values[0].shape) == 3:  # [replicas, rows, dim]: vectors gathered
      self.prototypes = max(self.prototypes, int(values[0].shape[1]))
    return super().batch_reduce_implementation(reduce_op, value_destination_pairs, options)


@dataclasses.dataclass(frozen=True)
class Measured:
  """Of a number of logical devices.

  Attributes:
    replicas: how many.
    seconds: of a step, median.
    messages: bytes of each message of a step, in their order.
    prototypes: rows that each replica adds to those that all compare their pixels with.
    pixels: cells of the feature maps of one replica.
    dim: channels of the network's output.
  """
  replicas: int
  seconds: float
  messages: list
  prototypes: int
  pixels: int
  dim: int


def measure(replicas, method_name, model_config, input_size, batch_size, steps):
  """Times training steps on logical CPU devices (or GPUs).

  Args:
    replicas: how many; the devices must be there.
    method_name: one of `METHODS`, with its default options.
    model_config: `ModelConfig`; its `output_dim` is of the embedding, and ignored for others.
    input_size: height, width.
    batch_size: images of each replica.
    steps: how many are timed, after one that traces.

  Returns:
    `Measured`.

  Raises:
    ValueError: fewer devices than replicas.
  """
  kind = 'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'
  devices = [device.name for device in tf.config.list_logical_devices(kind)][:replicas]
  if len(devices) < replicas:
    raise ValueError(f'{replicas} replicas: only {len(devices)} {kind} device(s) here')
  counting = CountingReduction()
  strategy = tf.distribute.get_strategy() if replicas == 1 else tf.distribute.MirroredStrategy(
      devices, cross_device_ops=counting)
  method_class, dataset = METHODS[method_name], dataset_for(None, CLASSES)
  output_dim = method_class.output_dim(CLASSES, model_config.output_dim)
  joined = batch_size * replicas
  with strategy.scope():
    model = build_model(
        dataclasses.replace(model_config, output_dim=output_dim), synchronized=replicas > 1)
  variables = variable_names(model)
  method = method_class(model, dataset, method_class.Config(), joined, 0)
  step = TrainStep(
      method, variables, TrainingConfig(batch_size=joined, num_steps=steps + 1), strategy,
      dict.fromkeys(variables, 1.0))
  augmentation = AugmentationConfig(input_size=tuple(input_size))
  batches = [scene_batch(index, joined, augmentation, dataset) for index in range(2)]
  counting.sizes.clear()  # of building
  pixels = int(np.prod(model(batches[0]['image'][:1]).shape[1:3])) * batch_size
  times = []
  for index in range(steps + 1):
    begin = time.perf_counter()
    float(step([batches[index % 2]], index)['loss'])
    times.append(time.perf_counter() - begin)
  return Measured(replicas, statistics.median(times[1:]), counting.sizes, counting.prototypes,
                  pixels, output_dim)


def comparison_seconds(pixels, prototypes, dim, rounds=3):
  """Seconds to compare pixels with so many prototypes, forward and backward.

  That is what grows with the replicas in a step whose prototypes are gathered: float32 similarities
  [pixels, prototypes] of unit vectors, their logsumexp, and the gradients of both.
  """
  random = np.random.default_rng(0)
  vectors = [l2_normalize(tf.constant(random.normal(size=[rows, dim]), tf.float32))
             for rows in (pixels, prototypes)]

  @tf.function
  def compare(embedding, bank):
    with tf.GradientTape() as tape:
      tape.watch((embedding, bank))
      loss = tf.reduce_sum(
          tf.reduce_logsumexp(10.0 * tf.matmul(embedding, bank, transpose_b=True), 1))
    return tape.gradient(loss, (embedding, bank))

  times = []
  for _ in range(rounds + 1):
    begin = time.perf_counter()
    compare(*vectors)[0].numpy()
    times.append(time.perf_counter() - begin)
  return statistics.median(times[1:])


def step_of(alone, few, many, batch_size):
  """`utils.scaling.Step` from the `Measured` of one replica and of two larger numbers."""
  gradients, others = scaling.messages_from(
      (few.replicas, few.messages), (many.replicas, many.messages))
  more = comparison_seconds(few.pixels, few.prototypes, few.dim) if few.prototypes else 0.0
  return scaling.Step(batch_size, alone.seconds, more, gradients, others)


def model_config_of(model, width, blocks, head_dim, embedding_dim):
  """`ModelConfig` by the flags of the training scripts; None is the default."""
  given = {'name': model, 'width': width, 'blocks': blocks, 'head_dim': head_dim,
           'output_dim': embedding_dim}
  return ModelConfig(**{name: value for name, value in given.items() if value is not None})


def copy_bandwidth(megabytes=64):
  """Bytes a second at which this machine's memory is added up, which is what a message is here."""
  values = np.ones([megabytes << 18], np.float32)
  total = np.zeros_like(values)
  times = []
  for _ in range(5):
    begin = time.perf_counter()
    total += values
    times.append(time.perf_counter() - begin)
  return values.nbytes / statistics.median(times)
