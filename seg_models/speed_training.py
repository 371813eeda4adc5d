"""The row of `pyscripts/benchmark/benchmark_speed.py` that is a whole training step."""

import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from network.common.layers import resize_nearest_legacy
from network.segsort import plain
from seg_models import speed
from seg_models.augmentation import AugmentationConfig
from seg_models.datasets import dataset_for
from seg_models.image_reader import read_list, training_batches
from seg_models.methods.segsort import SegSort, SegSortConfig
from seg_models.models import ModelConfig, build_model, is_head, variable_names
from utils import images, scenes
from utils.benchmarking import race
from utils.train_step import StepOutput, TrainStep
from utils.training import TrainingConfig

BATCH, SIDE = 2, 336


class FullMemory(SegSort):
  """The supervised method with a memory that is full from the start, as it is later in a run."""

  def initial_state(self):
    state = super().initial_state()
    banks, capacity, dim = state['memory_prototypes'].shape
    prototypes, labels = speed.drawn_bank(np.random.default_rng(9), banks * capacity)
    return {'memory_prototypes': prototypes.reshape([banks, capacity, dim]),
            'memory_labels': labels.reshape([banks, capacity]),
            'memory_valid': np.ones([banks, capacity], bool)}


class PlainSegSort(FullMemory):
  """The same with the plain loss; its memory stays as it is."""

  def loss(self, batch, state, step, draw):
    embedding, size, location, initial, _ = self._inputs(batch, training=True)
    memory = state['memory_prototypes'], state['memory_labels']
    loss = plain.supervised_loss(
        embedding, resize_nearest_legacy(batch['label'], size), initial, location,
        tuple(tf.reshape(x, [-1, *x.shape[2:]]) for x in memory),
        num_clusters=self.config.num_clusters ** 2, iterations=self.config.kmeans_iterations,
        concentration=self.config.concentration, ignore_label=self.dataset.ignore_label)
    return StepOutput(loss, {}, state)


class NetworkAlone(FullMemory):
  """A stand-in for the loss that costs nothing: what is left of a step is network and update."""

  def loss(self, batch, state, step, draw):
    return StepOutput(tf.reduce_mean(self.model(batch['image'], training=True)), {}, state)


def images_per_second(seconds, count=24, height=375, width=500):
  """Images a second that the input pipeline gives by itself, of drawn scenes of VOC's size."""
  with tempfile.TemporaryDirectory() as folder:
    folder, lines = pathlib.Path(folder), []
    for number in range(count):
      image, label = scenes.draw_scene(np.random.default_rng(number), height, width)
      Image.fromarray(image).save(folder / f'{number}.jpg', quality=92)
      images.write_png(folder / f'{number}.png', label)
      lines.append(f'{number}.jpg {number}.png\n')
    (folder / 'list.txt').write_text(''.join(lines))
    batches = training_batches(
        read_list(str(folder / 'list.txt'), str(folder)), dataset_for(),
        AugmentationConfig((SIDE, SIDE), random_scale=True, random_mirror=True, random_crop=True),
        BATCH, seed=0)
    for _ in range(6):  # those that were made while nobody waited
      next(batches)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds or done < 2:
      next(batches)
      done += 1
    rate = done * BATCH / (time.perf_counter() - begin)
    batches.close()
  return rate


def drawn_batch(count, side):
  """A batch of `count` images as `training_batches` gives them."""
  rng = np.random.default_rng(7)
  _, labels, _ = speed.embedding_maps(rng, count, side, side)
  labels[:, :4] = 255
  return {
      'image': tf.constant(rng.normal(0, 60, [count, side, side, 3]), tf.float32),
      'label': tf.constant(labels), 'valid': tf.ones([count, side, side], tf.bool),
      'location': tf.constant(speed.grids(count, side, side)[1]),
      'size': tf.constant([[side, side]] * count, tf.int32),
      'index': tf.range(count, dtype=tf.int64)}


def step_of(method, model, batch, learning_rate=1e-6):
  """A function that does a whole training step and waits for its metrics: name -> float."""
  variables = variable_names(model)
  step = TrainStep(
      method, variables,
      TrainingConfig(batch_size=batch['image'].shape[0], learning_rate=learning_rate),
      tf.distribute.get_strategy(),
      {name: 10.0 if is_head(name) else 1.0 for name in variables})
  return lambda: {name: float(value) for name, value in step([batch], 0).items()}


def own_part(batch, cells):
  """SegSort's part of a step, given the network's embedding: loss, gradient, and memory."""
  embedding = tf.constant(speed.embedding_maps(np.random.default_rng(8), BATCH, cells, cells)[0])

  def network(images, training):
    del images, training
    return network.embedding
  network.output_shape = embedding.shape
  method = FullMemory(network, dataset_for(), SegSortConfig(), BATCH, seed=0)
  state = {name: tf.constant(value) for name, value in method.initial_state().items()}

  @tf.function
  def run(embedding):
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      network.embedding = embedding
      output = method.loss(batch, state, 0, 0)
    return tape.gradient(output.loss, embedding), output.state
  return lambda: run(embedding)


def train_step(scale):
  """A whole step, PSPNet-ResNet-101, batch 2, 336x336."""
  side = max(int(SIDE * scale) // 48, 1) * 48
  config = ModelConfig() if scale == 1 else ModelConfig(width=0.125, blocks=(1, 1, 1, 1))
  batch = drawn_batch(BATCH, side)
  rate = images_per_second(10 * min(scale, 1))

  def step_with(method_class):
    model = build_model(config, seed=0)
    run = step_of(method_class(model, dataset_for(), SegSortConfig(), BATCH, seed=0), model, batch)
    return lambda: run()['loss']

  own = own_part(batch, side // 8)
  return speed.Work(
      step_with(FullMemory), step_with(PlainSegSort), step_with(NetworkAlone),
      lambda times: {
          'network_and_update_seconds': times['bare'].seconds,
          'own_seconds': (alone := race({'own': own}, 3.0)['own']).seconds,
          'own_share': alone.cpu_seconds / times['fast'].cpu_seconds,
          'pipeline_images_per_second': rate,
          'step_images_per_second': BATCH / times['fast'].seconds})
