"""A run on frozen features put together: images, trunk, features, neighbours, method and loop.

With several workers each reads the images and has a trunk of its own. Features, labels and
neighbours are made after the workers have met: the first one to come makes them, and who has the
same `--cache_dir`, and images, waits and reads them; where cache or images are a host's own, each
host makes its own. What was drawn or found among them before the first step is the chief's.
"""

import contextlib
import dataclasses
import os

import numpy as np
import tensorflow as tf
import tqdm

from seg_models.datasets import dataset_for
from seg_models.experiment import RunConfig, claim_devices, claim_folder
from seg_models.frozen.batches import check_counts, frozen_batches
from seg_models.frozen.geometry import CROPS, RESAMPLINGS, Geometry
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.neighbours import COUNT, find_neighbours
from seg_models.frozen.store import CacheConfig, FeatureStore
from seg_models.frozen.trunk import TrunkConfig, load_trunk, trunk_settings
from seg_models.frozen.views import find_entries, has_masks, views_of
from seg_models.pseudo_classes import pseudo_dataset
from utils import run_folder, training
from utils import workers as several
from utils.cached_rows import key_of
from utils.configuration import add_arguments, from_arguments, option
from utils.rendezvous import meet
from utils.train_step import TrainStep


@dataclasses.dataclass(frozen=True)
class ImagesConfig:
  """Which images, how they are shown to the trunk, and what labels mean if there are any."""
  images: str = option('', 'folder of images, without any label, in the place of --data_list')
  data_dir: str = option('', 'folder that the paths of --data_list are relative to')
  data_list: str = option('', 'text file with lines `image [mask]`')
  labels: bool = option(
      True, 'train the linear probe on the masks of --data_list, if it names them; clusters never '
      'depend on them')
  dataset: str | None = option(
      None, 'descriptor with names and palette (seg_models/datasets.py)')
  num_classes: int | None = option(
      None, "number of clusters, and of classes where there are labels; default: the descriptor's")
  ignore_label: int | None = option(None, 'label that is never counted; default: 255')
  crops: str = option(
      'one', 'train on whole images, or on five crops of each, of half its height and width',
      choices=CROPS)
  size: int = option(
      224, 'the shorter side of an image, or crop, in pixels; the middle square is cut out')
  resampling: str = option(
      'bilinear', 'how images are resized; the originals take the nearest pixel, which aliases',
      choices=RESAMPLINGS)

  def __post_init__(self):
    if self.crops not in CROPS:
      raise ValueError(f'--crops {self.crops}: one of {", ".join(CROPS)}')
    self.geometry()

  def geometry(self):
    return Geometry(self.size, 'centre', self.resampling)

  def descriptor(self):
    """The `Dataset`; without labels and a name, one of so many groups."""
    if self.dataset is None and self.num_classes is None:
      raise ValueError('--num_classes is missing: into how many clusters? Or name a --dataset')
    if self.dataset is None and self.images:
      return pseudo_dataset(self.num_classes)
    return dataset_for(self.dataset, self.num_classes, self.ignore_label)


CONFIGS = (ImagesConfig, TrunkConfig, CacheConfig, training.TrainingConfig, RunConfig)
# What a resumed run may change, and workers need not have in common: where things are, and what
# makes no difference.
_FREE_FIELDS = (*training.FREE_FIELDS, 'images', 'data_dir', 'data_list', 'restore_from',
                'cache_dir', 'cache_features', 'feature_batch_size')


def add_training_arguments(parser, method_name):
  """Adds the flags of a training script to an argparse parser."""
  method = FROZEN_METHODS[method_name]
  if method.PRESETS:
    parser.add_argument(
        '--preset', choices=method.PRESETS, help='settings of a published run, images resized to '
        'the nearest pixel among them; flags that are given besides go before them. Two things '
        'stay ours, which are flaws of the release and no settings: random partners, of whom '
        'it leaves out some (--faithful_pairing), and crops, which it compresses as JPEG')
  add_arguments(parser, *CONFIGS, method.Config, defaults=method.DEFAULTS)


def train_from_arguments(method_name, namespace):
  """Trains with what `add_training_arguments` parsed; returns the exit status."""
  method = FROZEN_METHODS[method_name]
  preset = getattr(namespace, 'preset', None)
  defaults = {**method.DEFAULTS, **(method.PRESETS[preset] if preset else {})}
  if preset:
    print(preset_text(preset, defaults, vars(namespace)))
  return train_frozen(method_name, *(
      from_arguments(cls, namespace, defaults) for cls in (*CONFIGS, method.Config)))


def preset_text(preset, settings, given):
  """What a preset sets, and which flags go before it, name -> value each: a text."""
  def flags(values):
    return ' '.join(f'--{name} {value}' for name, value in sorted(values.items()))

  kept = {name: value for name, value in settings.items() if name not in given}
  instead = {name: given[name] for name in settings if name in given}
  text = f'--preset {preset} is {flags(kept)}'
  return f'{text}; given in its place: {flags(instead)}' if instead else text


class _WatchedFolder(run_folder.RunFolder):
  """Says once what a method finds alarming in its metrics."""

  def __init__(self, directory, first_step, warning):
    super().__init__(directory, first_step)
    self._warning = warning
    self._said = set()

  def scalars(self, step, values):
    super().scalars(step, values)
    message = self._warning({name: float(value) for name, value in values.items()})
    if message and message not in self._said:
      self._said.add(message)
      tqdm.tqdm.write(f'step {step}: {message}')


def warn_of_histograms(loop, count, least):
  """Says so where a chief of `count` workers has too small a part of the batch for histograms."""
  share = loop.batch_size // count
  if loop.pictures_every and share < least:
    print(f'No histograms are drawn: the chief has {share} of --batch_size {loop.batch_size} '
          f'images, and they compare {least} or more')


def train_frozen(method_name, images, trunk_config, cache, loop, run, method_config):
  """Trains one of `FROZEN_METHODS`; what comes before training is done first, once, and kept.

  The checkpoint to use is the last: none is chosen, for that would take labels.

  Args:
    method_name: key of `FROZEN_METHODS`.
    images, trunk_config, cache, loop, run: instances of `CONFIGS`.
    method_config: of the method's `Config`.

  Returns:
    0 when the last step is done, 130 when Ctrl-C or SIGTERM, here or on another worker, stopped the
    run after saving it.

  Raises:
    ValueError, FileNotFoundError: something is wrong with flags, lists, images or weights; before
      anything long.
    TimeoutError: other workers did not come.
    utils.workers.WorkerLost: another worker died; says how to go on.
    utils.pending_steps.NonFiniteError: the loss or a gradient became infinite or NaN.
  """
  method_class = FROZEN_METHODS[method_name]
  cluster, replicas, loop = claim_devices(run, loop)
  if not run.snapshot_dir:
    raise ValueError('--snapshot_dir is missing: name the folder for checkpoints and logs')
  least = getattr(method_class, 'least_batch', 1)
  if loop.batch_size < least:
    raise ValueError(f'--batch_size {loop.batch_size}: {method_name} compares images with each '
                     f'other, which takes at least {least}')
  dataset = images.descriptor()
  entries = find_entries(images.images, images.data_list, images.data_dir)
  labelled = images.labels and has_masks(entries)
  if method_class.needs_labels and not labelled:
    raise ValueError(f'{method_name} is trained on masks: give a --data_list with lines `image '
                     'mask`')
  views = views_of(entries, images.crops)
  settings = {'trunk': trunk_settings(trunk_config, loop.precision)}
  check_counts(len(views), loop.batch_size, getattr(method_config, 'num_neighbors', None))
  lock = run_folder.lock(run.snapshot_dir) if cluster.is_chief else contextlib.nullcontext()
  with lock:
    configs = images, trunk_config, cache, loop, method_config
    settings.update(
        method=method_name, replicas=cluster.count * replicas, labelled=labelled,
        image_ids=key_of({'ids': [view.id for view in views]}))
    defaults = {}
    for config in configs:
      settings.update(dataclasses.asdict(config))
      defaults.update(dataclasses.asdict(type(config)()))

    def begin():
      newest = claim_folder(run, settings, defaults, _FREE_FIELDS)
      return newest and str(newest)

    same = {name: value for name, value in settings.items() if name not in _FREE_FIELDS}
    newest = meet(cluster, {**same, 'tensorflow': tf.__version__}, begin, run.worker_timeout)
    strategy = (training.make_strategy(replicas) if cluster.count == 1 else
                several.make_strategy(cluster, replicas, run.worker_timeout))
    trunk = load_trunk(trunk_config, loop.precision, settings['trunk'])
    store = FeatureStore(trunk, views, images.geometry(), cache, dataset if labelled else None)
    return _train(method_class, dataset, store, trunk, newest, several.Workers(strategy, cluster),
                  images, trunk_config, cache, loop, run, method_config)


def _train(method_class, dataset, store, trunk, newest, workers, images, trunk_config, cache, loop,
           run, method_config):
  """`train_frozen` once the features are there."""
  cluster, strategy = workers.cluster, workers.strategy
  needs = {'with_images': hasattr(method_class, 'needs_images')
           and method_class.needs_images(method_config)}
  if hasattr(method_config, 'num_neighbors'):
    needs.update(num_neighbors=method_config.num_neighbors, neighbours=find_neighbours(
        store, cache.cache_dir, max(COUNT, method_config.num_neighbors)))

  def batches(first):
    return frozen_batches(
        store, loop.batch_size, loop.seed, first, share=(cluster.index, cluster.count),
        device=training.batch_device(strategy.num_replicas_in_sync), **needs)

  with workers.watched(lambda: 'Start the same command on every worker again'):
    with strategy.scope():
      model = method_class.build_head(trunk.channels, method_config, loop.seed)
      method = method_class(model, dataset, method_config, loop.batch_size, loop.seed)
    train_step = TrainStep(method, method.variables(), loop, strategy, method.rate_multipliers())
  if newest is None and hasattr(method, 'prepare'):
    # All do, at the same time: a chief who did it alone might have the others wait too long.
    method.prepare(store)
  least = getattr(method_class, 'least_batch', 1)
  if cluster.is_chief:
    warn_of_histograms(loop, cluster.count, least)

  def histograms(batch):
    """Of this worker's share, if that is enough to compare images."""
    if len(batch['index']) < least:
      return {}
    state = {name: tf.convert_to_tensor(value) for name, value in train_step.state.items()}
    return method.histograms(batch, state, tf.constant(0))

  trainer = training.Trainer(
      train_step, loop, run.snapshot_dir,
      metadata={
          'method': method_class.name, 'method_config': dataclasses.asdict(method_config),
          'head': {'channels': trunk.channels, 'seed': loop.seed},
          'trunk': {**trunk.settings, 'config': dataclasses.asdict(trunk_config),
                    'path': trunk_config.restore_from and os.path.abspath(
                        trunk_config.restore_from)},
          'geometry': dataclasses.asdict(images.geometry()), 'crops': images.crops,
          'dataset': {'name': images.dataset, 'num_classes': dataset.num_classes,
                      'ignore_label': dataset.ignore_label, 'labelled': store.has_labels}},
      describe=lambda batch: [store.views[index].id for index in np.asarray(batch['index'])],
      pictures=histograms, workers=workers)
  first_step = trainer.resume()
  if first_step >= loop.num_steps:
    print(f'{newest} is the last step already: nothing to do.')
    return 0
  if first_step:
    print(f'Going on after {newest} with step {first_step}.')
  count = sum(int(np.prod(variable.shape)) for variable in train_step.trainable.values())
  print(f'{method_class.name} on {trunk.model.name}: codes of {model.output_shape[-1]} channels, '
        f'{count / 1e6:.2f} million trainable parameters, {len(store)} images or crops'
        f'{"" if store.has_labels else ", no labels"}, '
        f'{loop.num_steps} steps of {loop.iter_size} x {loop.batch_size}')
  folder = (_WatchedFolder(run.snapshot_dir, first_step, method.warning) if cluster.is_chief else
            None)
  saved, signal = trainer.run(batches, folder, first_step)
  if signal:
    after = f'after saving {saved}' if saved else 'before the first step was done'
    print(f'{signal}: stopped {after}; the same command goes on from there.')
    return 130
  print(f'Done: {saved}')
  return 0
