"""Extraction and inference over a list of images: what the scripts of pyscripts/inference do."""

import dataclasses
import os
import sys

import tqdm

from network.segsort.compression import STORAGES
from seg_models import bank as banks
from seg_models.bank_index import load_index
from seg_models.batching import batches_of_equal_size, stack
from seg_models.embedding import Embedder
from seg_models.extraction import MODES, BankFolder, Extractor
from seg_models.image_reader import iterate_examples
from seg_models.inference_setup import (
  DataConfig,
  NetworkConfig,
  OutputConfig,
  SegmentConfig,
  load_entries,
  load_network,
  require,
  segment_settings,
)
from seg_models.multi_scale import SCALES
from seg_models.on_devices import on_devices
from seg_models.prediction import (
  SEARCHES,
  VOTES,
  MultiScalePredictor,
  SegSortPredictor,
  SoftmaxPredictor,
  check_bank,
  neighbours_of,
)
from seg_models.prediction_folder import PredictionFolder
from seg_models.share_config import left_message
from utils import colors, resuming
from utils.configuration import add_arguments, from_arguments, option


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
  """Which prototypes are kept."""
  prototype_mode: str = option(
      'majority', 'one prototype a segment, of its most frequent class, or one for each class in '
      'each segment (piece)', choices=MODES)
  bank_storage: str = option(
      'float32', "type of the bank's features, on disk and in memory; float32 is the original's, "
      'int8 takes a quarter of it and finds slightly different neighbours', choices=STORAGES)

  def settings(self):
    """What the bank depends on beside its segments: dict of JSON values."""
    values = dataclasses.asdict(self)
    if self.bank_storage == 'float32':
      del values['bank_storage']  # as records of older banks have none
    return values


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
  """How segments are named."""
  prototype_dir: str = option('', 'folder of prototype_features.npy and prototype_labels.npy')
  search: str = option(
      'exact', 'the whole bank, or the cells of its index (ivf) that convert_bank.py --index has '
      'made, for banks of millions', choices=SEARCHES)
  k_in_nearest_neighbors: int = option(15, 'nearest prototypes that vote for a class')
  vote: str = option(
      'count', 'equal counts go to the smallest class id (count) or to the nearest neighbour '
      '(nearest); or neighbours vote by their similarity', choices=VOTES)
  save_neighbours: bool = option(
      False, "write every segment's nearest prototypes as neighbours/<id>.json")
  window_clusters: bool | None = option(
      None, 'with --windows: cluster and vote in every window, and not once in each image that is '
      'put together from them; default: with several scales or mirror images')


@dataclasses.dataclass(frozen=True)
class ScaleConfig:
  """Test-time augmentation."""
  flip_aug: bool = option(False, 'also take every image mirrored', flags=('flip-aug',))
  scale_aug: bool = option(
      False, f'take every image at the scales {", ".join(map(str, SCALES))}', flags=('scale-aug',))

  @property
  def scales(self):
    """Factors of the image's size."""
    return SCALES if self.scale_aug else (1.0,)

  @property
  def several(self):
    """Whether an image is taken more than once."""
    return self.flip_aug or self.scale_aug


COMMON = (DataConfig, NetworkConfig, OutputConfig)
EXTRACTION = (*COMMON, SegmentConfig, ExtractionConfig)
SEGSORT = (*COMMON, SegmentConfig, RetrievalConfig, ScaleConfig)
SOFTMAX = (*COMMON, ScaleConfig)


def run_from_arguments(function, parser, classes, arguments=None, defaults=None):
  """Parses a command line into `classes` and calls `function` with one instance of each.

  With --num_gpu several processes do, each with its part of the list.

  Args:
    function: returns an exit status; of a module, so that other processes find it.
    parser: an `argparse.ArgumentParser`.
    classes: dataclasses, a `ShareConfig` among them.
    arguments: list of str, or None for the command line.
    defaults: see `utils.configuration.add_arguments`.
  """
  add_arguments(parser, *classes, defaults=defaults)
  namespace = parser.parse_args(arguments)
  configs = [from_arguments(cls, namespace, defaults) for cls in classes]
  return on_devices(function, configs)


def batches(missing, total, dataset, need_mask, max_regions, batch_size):
  """Yields (entries, images, labels, regions) of the missing entries and shows the progress."""
  examples = iterate_examples(missing, dataset, need_mask, max_regions)
  with tqdm.tqdm(
      total=total, initial=total - len(missing), unit='image', dynamic_ncols=True,
      mininterval=0.5 if sys.stderr.isatty() else 15.0) as progress:
    for batch in batches_of_equal_size(examples, batch_size):
      yield [example.entry for example in batch], *stack(batch)
      progress.update(len(batch))


def announce(network_config, network):
  """Prints what was restored, and which flags have no use."""
  print(network.report)
  if network_config.unused():
    print(network_config.unused())


def extract(data, network_config, output, segments, extraction):
  """Extracts the bank of a list's images into `<save_dir>/prototypes/`; returns 0.

  Raises:
    ValueError, OSError: a flag, file or label is wrong; what is extracted so far is kept.
    FloatingPointError: the network gives NaN or infinity.
  """
  require(save_dir=output.save_dir)
  entries = load_entries(data, True, segments)
  network = load_network(data, network_config, 'segsort', segments.embedding)
  segments = segment_settings(segments, network)
  dataset = network.dataset
  folder = BankFolder(
      output.save_dir, entries, data.data_dir,
      {**network.settings, **segments.settings(), **extraction.settings(),
       'ignore_label': dataset.ignore_label}, output.overwrite, output.share)
  if folder.is_complete:
    print(f'{folder.folder} is complete: nothing to do.')
    return 0
  announce(network_config, network)
  extractor = Extractor(
      Embedder(network.dense), segments.segmenter(), dataset.ignore_label,
      extraction.prototype_mode)
  for done, images, labels, regions in batches(
      folder.missing(), len(folder.mine), dataset, True, segments.regions_read, output.batch_size):
    found = extractor(images, labels, [folder.name_of(entry) for entry in done], regions)
    for entry, bank in zip(done, found, strict=True):
      folder.write(entry, bank)
  if folder.left():
    print(left_message(folder, output))
    return 0
  bank, without = folder.finish(extraction.bank_storage)
  skipped = '' if not without else (
      f'; {len(without)} images without a labelled pixel gave none ({", ".join(without[:5])}'
      f'{", ..." if len(without) > 5 else ""})')
  print(f'{len(bank)} prototypes of {len(entries)} images in {folder.folder}{skipped}')
  return 0


def clustered_windows(network_config, retrieval, scales):
  """The `Windows` that are clustered one by one, or None; a ValueError where there are none."""
  if retrieval.window_clusters and not network_config.windows:
    raise ValueError('--window_clusters needs --windows: without it each image is taken whole')
  wanted = scales.several if retrieval.window_clusters is None else retrieval.window_clusters
  return network_config.sliding_windows() if wanted else None


def predict_segsort(data, network_config, output, segments, retrieval, scales):
  """Labels a list's images by their nearest prototypes; returns 0.

  Raises:
    ValueError, OSError: a flag or file is wrong; what is labelled so far is kept.
    FloatingPointError: the network gives NaN or infinity.
  """
  require(save_dir=output.save_dir, prototype_dir=retrieval.prototype_dir)
  entries = load_entries(data, False, segments)
  bank = banks.load_bank(retrieval.prototype_dir, info=retrieval.save_neighbours)
  fingerprint = bank.fingerprint()
  index = None
  if retrieval.search == 'ivf':
    index = load_index(retrieval.prototype_dir, fingerprint, retrieval.k_in_nearest_neighbors)
  palette, palette_settings = palette_of(output)
  windows = clustered_windows(network_config, retrieval, scales)
  several = scales.several or windows is not None
  if several and retrieval.save_neighbours:
    raise ValueError('--save_neighbours shows the segments of an image, but with several scales, '
                     'mirror images or windows there are many: leave these out')
  embedding_config = network_config if windows is None else dataclasses.replace(
      network_config, windows=False)
  network = load_network(data, embedding_config, 'segsort', segments.embedding)
  segments = segment_settings(segments, network)
  k, num_classes = retrieval.k_in_nearest_neighbors, network.dataset.num_classes
  check_bank(bank, network.dim, num_classes, k)
  predictor = single = SegSortPredictor(
      Embedder(network.dense), segments.segmenter(), bank, num_classes, k, retrieval.vote,
      index)
  if several:
    predictor = MultiScalePredictor(single, scales.scales, scales.flip_aug, windows)
  settings = {
      **network.settings, **segments.settings(), 'bank': fingerprint, 'k': k,
      'vote': retrieval.vote, 'scales': scales.scales, 'flip': scales.flip_aug,
      'clustered_windows': windows and dataclasses.asdict(windows), **palette_settings}
  if index is not None:
    settings['index'] = index.settings()

  def predict(images, names, regions):
    if several:
      return zip(predictor(images, names, regions), strict=True)
    labels, found = predictor(images, names, regions)
    if not retrieval.save_neighbours:
      return zip(labels, strict=True)
    winners = single.segment_labels(found).numpy()
    return [(labels[i], neighbours_of([value[i] for value in found], winners[i], bank))
            for i in range(len(labels))]

  return _predict(predict, entries, network_config, network, output, settings,
                  palette, retrieval.save_neighbours, segments.regions_read)


def predict_softmax(data, network_config, output, scales):
  """Labels a list's images by a classifier; returns 0; raises as `predict_segsort`."""
  require(save_dir=output.save_dir)
  entries = load_entries(data, False)
  palette, palette_settings = palette_of(output)
  network = load_network(data, network_config, 'softmax')
  predictor = SoftmaxPredictor(network.dense, scales.scales, scales.flip_aug)
  settings = {**network.settings, 'scales': scales.scales, 'flip': scales.flip_aug,
              **palette_settings}
  return _predict(lambda images, names, _: zip(predictor(images, names), strict=True), entries,
                  network_config, network, output, settings, palette)


def palette_of(output):
  """The colours of --colormap, None for the data set's, and what they add to the settings."""
  if not output.colormap:
    return None, {}
  if not os.path.exists(output.colormap):
    print(f"--colormap {output.colormap} does not exist: pictures get the data set's own colours")
    return None, {}
  return colors.load_colormap(output.colormap), {
      'colormap': resuming.fingerprint(output.colormap)}


def _predict(predict, entries, network_config, network, output, settings, palette,
             with_neighbours=False, max_regions=None):
  """Writes `predict(images, names, regions)`: for each image (labels,) or (labels, neighbours)."""
  folder = PredictionFolder(
      output.save_dir, entries, network.dataset, settings, palette, with_neighbours,
      output.overwrite, output.share)
  if not folder.left():
    folder.finish()
    print(f'{output.save_dir} holds all {len(entries)} predictions: nothing to do.')
    return 0
  announce(network_config, network)
  for done, images, _, regions in batches(
      folder.missing(), len(folder.mine), network.dataset, False, max_regions, output.batch_size):
    results = predict(images, [entry.image for entry in done], regions)
    for entry, result in zip(done, results, strict=True):
      folder.write(entry, *result)
  if folder.left():
    print(left_message(folder, output))
    return 0
  folder.finish()
  print(f'{len(entries)} predictions in {output.save_dir}: gray/ (class ids), color/ (pictures)'
        f'{", neighbours/ (what each segment was found to be like)" if with_neighbours else ""}')
  return 0
