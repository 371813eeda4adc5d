"""Inference without any label: segments and pictures of a list's images, and pseudo-classes."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from network.segsort.pseudo_classes import nearest_centres
from network.segsort.visualization import color_basis
from seg_models import inference
from seg_models.embedding import Embedder, centre
from seg_models.image_reader import iterate_examples
from seg_models.inference_setup import load_entries, load_network, require, segment_settings
from seg_models.prediction_folder import PredictionFolder, sources_of
from seg_models.pseudo_class_sheet import pseudo_class_sheet
from seg_models.pseudo_classes import (
  FILE,
  MOST,
  WEIGHTS,
  check_network,
  embedding_of,
  find_pseudo_classes,
  load_pseudo_classes,
  pseudo_dataset,
  save_pseudo_classes,
)
from seg_models.segment_folder import SegmentFolder
from seg_models.share_config import left_message
from utils import images
from utils.configuration import option

SHEET = 'clusters.png'
_BASIS_IMAGES = 16
_BASIS_PIXELS = 1000  # of each at most, in equal steps


@dataclasses.dataclass(frozen=True)
class LabelFreeConfig:
  """Inference without any label, in the place of --prototype_dir."""
  no_bank: bool = option(
      False, 'write the segments of every image, their borders over it, and its embedding as '
      'colours')
  cluster_classes: int | None = option(
      None, 'also group the segments of all images into so many pseudo-classes; implies --no_bank')
  cluster_centres: str = option(
      '', f'label by the pseudo-classes in this {FILE}, which --cluster_classes has written for '
      'other images; implies --no_bank')
  cluster_weights: str = option(
      'pixels', 'what counts equally in the grouping; by pixels it does not depend on how finely '
      'an image is cut', choices=WEIGHTS)
  cluster_restarts: int = option(10, 'attempts of the grouping, of which the best is taken')
  seed: int = option(0, 'of the grouping')

  @property
  def clusters(self):
    """Whether there are pseudo-classes."""
    return self.cluster_classes is not None or bool(self.cluster_centres)

  @property
  def wanted(self):
    """Whether inference is without labels."""
    return self.no_bank or self.clusters


SEGSORT = (*inference.SEGSORT, LabelFreeConfig)


def predict_segsort(data, network_config, output, segments, retrieval, scales, label_free):
  """`seg_models.inference.predict_segsort`, or `predict_label_free` where that is asked for."""
  configs = data, network_config, output, segments
  if not label_free.wanted:
    if not retrieval.prototype_dir:
      raise ValueError('--prototype_dir missing: segments are named by a bank of prototypes '
                       '(extract_prototypes.py), or, without any label, cut by --no_bank and '
                       'grouped by --cluster_classes')
    return inference.predict_segsort(*configs, retrieval, scales)
  return predict_label_free(*configs, retrieval, scales, label_free)


def check_flags(retrieval, scales, label_free):
  """Raises a ValueError that names the flags that contradict each other or are out of range."""
  if retrieval.prototype_dir:
    raise ValueError('--prototype_dir names segments by a bank of labelled ones; --no_bank, '
                     '--cluster_classes and --cluster_centres do without: leave one of them out')
  if retrieval.save_neighbours:
    raise ValueError('--save_neighbours shows neighbours in a bank, and without one there are none')
  if scales.several:
    raise ValueError('without a bank an image has one set of segments: take a single scale '
                     '(inference_segsort.py without --flip_aug and --scale_aug)')
  if retrieval.window_clusters:
    raise ValueError('--window_clusters needs a bank, in which the segments of windows meet; '
                     'without one --windows alone embeds in windows')
  if label_free.cluster_centres and label_free.cluster_classes is not None:
    raise ValueError('--cluster_classes finds pseudo-classes, --cluster_centres takes those of '
                     'another run: give one of them')
  count = label_free.cluster_classes
  if count is not None and not 1 <= count <= MOST:
    raise ValueError(f'--cluster_classes {count}: expected 1 to {MOST}')
  if label_free.cluster_restarts < 1 or label_free.seed < 0:
    raise ValueError(f'--cluster_restarts {label_free.cluster_restarts}, --seed {label_free.seed}: '
                     'expected at least 1 and 0')


def predict_label_free(data, network_config, output, segments, retrieval, scales, label_free):
  """Cuts a list's images into segments, which may be grouped to pseudo-classes; returns 0.

  Raises:
    ValueError, OSError: a flag or file is wrong; what is written so far is kept.
    FloatingPointError: the network gives NaN or infinity.
  """
  check_flags(retrieval, scales, label_free)
  require(save_dir=output.save_dir)
  given = load_pseudo_classes(label_free.cluster_centres) if label_free.cluster_centres else None
  entries = load_entries(data, False, segments)
  palette, palette_settings = inference.palette_of(output)
  network = load_network(data, network_config, 'segsort', segments.embedding)
  segments = segment_settings(segments, network)
  if given is not None:
    check_network(given, network, label_free.cluster_centres)
  settings = {**network.settings, **segments.settings()}
  for name in ('dataset', 'num_classes'):  # which mean nothing here
    del settings[name]
  labels = None
  # Claimed before the long work, and labels first: where they are of an unfinished run, that needs
  # the segments, which the other claim might remove.
  if label_free.clusters:
    dataset = pseudo_dataset(label_free.cluster_classes if given is None else len(given))
    palette = dataset.palette if palette is None else palette
    labels = PredictionFolder(
        output.save_dir, entries, dataset,
        {**settings, **_grouping(label_free, given, entries), **palette_settings}, palette,
        overwrite=output.overwrite)
  folder = SegmentFolder(
      output.save_dir, entries, data.data_dir, settings, output.overwrite, output.share)
  if not folder.left() and (labels is None or _has_all(labels, output)):
    folder.finish()
    if labels is not None:
      labels.finish()
    print(f'{output.save_dir} holds all results of {len(entries)} images: nothing to do.')
    return 0
  _write_segments(folder, network, network_config, segments, output)
  if folder.left():
    print(left_message(folder, output))
    return 0
  folder.finish()
  if labels is not None:
    _write_pseudo_classes(folder, labels, label_free, given, network, output, palette)
  return 0


def _grouping(label_free, given, entries):
  """What pseudo-classes depend on beside segments and prototypes: dict of JSON values."""
  if given is not None:
    return {'cluster_centres': given.fingerprint()}
  digest = hashlib.sha256(json.dumps(sources_of(entries)).encode()).hexdigest()[:16]
  return {'cluster_classes': label_free.cluster_classes,
          'cluster_weights': label_free.cluster_weights,
          'cluster_restarts': label_free.cluster_restarts, 'seed': label_free.seed,
          'images': digest}


def _write_segments(folder, network, network_config, segments, output):
  """Fills a `SegmentFolder`."""
  missing, entries = folder.missing(), folder.entries
  if missing:
    inference.announce(network_config, network)
    embedder = Embedder(network.dense)
    segmenter = segments.segmenter()
    basis = folder.basis(lambda: _basis(embedder, entries, network.dataset))
    for done, pictures, _, regions in inference.batches(
        missing, len(folder.mine), network.dataset, False, segments.regions_read,
        output.batch_size):
      embedding = embedder(centre(pictures), [entry.image for entry in done])
      found = segmenter(embedding, regions=regions)
      for values in zip(done, pictures, embedding, found, strict=True):
        folder.write(*values, basis)
  print(f'{len(folder.mine)} images in {output.save_dir}: segments/ (ids), outlines/ (their '
        'borders), pca/ (the embedding as colours, the same for all images), parts/ (prototypes)')


def _basis(embedder, entries, dataset):
  """The principal components of pixels of some images, which are spread over the list."""
  places = np.unique(np.linspace(0, len(entries) - 1, _BASIS_IMAGES).round().astype(int))
  examples = iterate_examples([entries[place] for place in places], dataset, need_mask=False)
  pixels = []
  for example in tqdm.tqdm(examples, total=len(places), desc='colours', unit='image'):
    embedding = embedder(centre(example.image[None]), [example.entry.image])
    embedding = tf.reshape(embedding, [-1, embedding.shape[-1]]).numpy()
    pixels.append(embedding[::-(-len(embedding) // _BASIS_PIXELS)])
  return color_basis(np.concatenate(pixels))


def _has_all(labels, output):
  """Whether nothing that `_write_pseudo_classes` writes is missing."""
  save_dir = pathlib.Path(output.save_dir)
  return all((save_dir / name).exists() for name in (FILE, SHEET)) and not labels.missing()


def _write_pseudo_classes(folder, labels, label_free, given, network, output, palette):
  """Writes `clusters.npz`, `clusters.png`, and a `PredictionFolder` of groups."""
  save_dir, entries = pathlib.Path(output.save_dir), folder.entries
  bank, counts = folder.bank()
  if given is None:
    classes = find_pseudo_classes(
        bank, label_free.cluster_classes, network.settings['checkpoint'], save_dir / FILE,
        embedding=embedding_of(network),
        weights=label_free.cluster_weights, restarts=label_free.cluster_restarts,
        seed=label_free.seed)
  else:
    classes = given
    save_pseudo_classes(classes, save_dir / FILE)
  found, similarity = nearest_centres(bank.features, classes.centres)
  images.write_png(save_dir / SHEET, pseudo_class_sheet(
      bank, np.repeat(np.arange(len(entries)), counts), entries, folder.segments, classes,
      palette))
  of_images = dict(zip(
      (entry.id for entry in entries), np.split(found, np.cumsum(counts)[:-1]), strict=True))
  for entry in tqdm.tqdm(labels.missing(), desc='labels', unit='image'):
    labels.write(entry, of_images[entry.id][folder.segments(entry)])
  labels.finish()
  print(f'{len(classes)} pseudo-classes of {len(bank)} segments in {save_dir}: gray/ (their ids), '
        f'color/ (pictures), {FILE} (centres), {SHEET} (the segments nearest to each); the '
        f'mean cosine of a pixel\'s segment and its centre is '
        f'{np.average(similarity, weights=bank.pixels):.3f}')
