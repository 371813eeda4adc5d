import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from network.common.preprocessing import MEAN_RGB
from seg_models import bank as banks
from seg_models.bank_test import make_bank
from seg_models.embedding import DenseNetwork, Embedder, Segmenter, centre
from seg_models.extraction import Extractor
from seg_models.multi_scale import SCALES, multi_scale
from seg_models.prediction import (
  MultiScalePredictor,
  SegSortPredictor,
  SoftmaxPredictor,
  check_bank,
  neighbours_of,
)
from seg_models.windows import Windows

EMBEDDER = Embedder(tf.identity)  # the colour minus the mean is the embedding
NAMES = ['a', 'b']


def random_images(height, width, seed=0):
  return np.random.default_rng(seed).integers(0, 256, [2, height, width, 3]).astype(np.uint8)


def predictor_of(bank, k=3, mode='count', clusters=2):
  return SegSortPredictor(EMBEDDER, Segmenter(clusters, 4), bank, 4, k, mode)


def two_colours():
  """Red left, blue right, and a bank that calls red 1 and blue 3."""
  image = np.zeros([2, 8, 12, 3], np.uint8)
  image[:, :, :7, 0] = image[:, :, 7:, 2] = 255
  truth = np.ones([2, 8, 12], np.int32)
  truth[:, :, 7:] = 3
  colours = np.float32([[255, 0, 0], [0, 0, 255]]) - MEAN_RGB
  features = np.repeat(colours / np.linalg.norm(colours, axis=1, keepdims=True), 3, axis=0)
  return image, truth, banks.Bank(features, np.int32([1, 1, 1, 3, 3, 3]))


@pytest.mark.parametrize('mode', ['count', 'nearest', 'similarity'])
def test_labels_are_those_of_naive_voting(mode):
  images, bank = random_images(7, 9), make_bank(20)
  predictor = predictor_of(bank, 5, mode)
  labels, retrieval = predictor(images, NAMES)
  embedding = EMBEDDER(centre(images), NAMES).numpy()
  segments = Segmenter(2, 4)(embedding).numpy()
  np.testing.assert_array_equal(retrieval.segments, segments)
  for image in range(2):
    for segment in np.unique(segments[image]):
      inside = segments[image] == segment
      prototype = embedding[image][inside].sum(0)
      similarity = bank.features @ (prototype / np.linalg.norm(prototype))
      order = np.argsort(-similarity, kind='stable')[:5]
      np.testing.assert_array_equal(retrieval.index[image, segment], order)
      np.testing.assert_allclose(
          retrieval.similarity[image, segment], similarity[order], atol=1e-5)
      weights = np.exp(10 * (similarity[order] - 1)) if mode == 'similarity' else np.ones(5)
      counts = np.bincount(bank.labels[order], weights, minlength=4)
      winners = np.flatnonzero(counts == counts.max())
      expected = winners[0] if mode != 'nearest' else next(
          label for label in bank.labels[order] if label in winners)
      assert (labels[image][inside] == expected).all()


def test_colours_find_their_prototypes_in_any_size():
  image, truth, bank = two_colours()
  predictor = predictor_of(bank)
  np.testing.assert_array_equal(predictor(image, NAMES)[0], truth)
  np.testing.assert_array_equal(predictor(image[:, :5, :9], NAMES)[0], truth[:, :5, :9])


def test_what_was_extracted_is_found_again():
  """Extraction and inference cut the same segments: each finds itself in the bank."""
  images = random_images(9, 11)
  segmenter = Segmenter(3, 5)
  labels = segmenter(EMBEDDER(centre(images), NAMES)).numpy() % 4
  bank = banks.join_banks(Extractor(EMBEDDER, segmenter)(images, labels, NAMES))
  predictor = SegSortPredictor(EMBEDDER, segmenter, bank, 4, 1)
  found, retrieval = predictor(images, NAMES)
  np.testing.assert_array_equal(found, labels)
  for image, name in enumerate(NAMES):
    for segment in np.unique(retrieval.segments[image]):
      place = int(retrieval.index[image, segment, 0])
      assert (bank.image[place], bank.cluster[place]) == (name, segment)


def test_the_greatest_vote_is_the_label():
  """One scale by averaged votes and by naming segments: ties go to the smallest class in both."""
  images, bank = random_images(7, 9), make_bank(20)
  for mode in ('count', 'similarity'):
    predictor = predictor_of(bank, 6, mode, clusters=3)
    votes = predictor.votes(centre(images), NAMES)
    assert votes.shape == (2, 7, 9, 4)
    np.testing.assert_array_equal(np.argmax(votes, -1), predictor(images, NAMES)[0])
    one_scale = MultiScalePredictor(predictor, (1.0,), False)
    np.testing.assert_array_equal(one_scale(images, NAMES), predictor(images, NAMES)[0])
  np.testing.assert_array_equal(
      predictor_of(bank, 6).votes(centre(images), NAMES).numpy().sum(-1), 6)


def test_votes_of_scales_and_mirror_images_are_averaged():
  images, bank = random_images(8, 9), make_bank(20)
  predictor = predictor_of(bank, 5)
  votes = MultiScalePredictor(predictor, SCALES, True).votes(centre(images), NAMES)
  np.testing.assert_allclose(votes.numpy().sum(-1), 5, rtol=1e-5)
  mirrored = [predictor.votes(part, NAMES) for part in (
      centre(images), centre(images[:, :, ::-1]))]
  np.testing.assert_allclose(
      MultiScalePredictor(predictor, (1.0,), True).votes(centre(images), NAMES),
      (mirrored[0] + mirrored[1][:, :, ::-1]) / 2, rtol=1e-6)


def test_scales_of_a_clear_image_agree_inside_its_halves():
  image, truth, bank = two_colours()
  labels = MultiScalePredictor(predictor_of(bank), SCALES, True)(image, NAMES)
  np.testing.assert_array_equal(labels[:, :, :6], truth[:, :, :6])
  np.testing.assert_array_equal(labels[:, :, 9:], truth[:, :, 9:])


def test_windows_vote_alone_and_share_their_overlap():
  """The second window overlaps the first by half: votes there are the mean, not the sum."""
  images, bank = random_images(6, 9), make_bank(20)
  predictor = predictor_of(bank, 5)
  votes = MultiScalePredictor(predictor, (1.0,), False, Windows((6, 6), (6, 3))).votes(
      centre(images), NAMES).numpy()
  left = predictor.votes(centre(images[:, :, :6]), NAMES).numpy()
  right = predictor.votes(centre(images[:, :, 3:]), NAMES).numpy()
  np.testing.assert_array_equal(votes[:, :, :3], left[:, :, :3])
  np.testing.assert_array_equal(votes[:, :, 3:6], (left[:, :, 3:] + right[:, :, :3]) / 2)
  np.testing.assert_array_equal(votes[:, :, 6:], right[:, :, 3:])


def regions_of(height, width):
  """Two regions, whose border is no border of the grid."""
  regions = np.zeros([2, height, width], np.int32)
  regions[:, height // 3:, width // 3:] = 1
  return regions


def aligned_predictor(bank, k=3, share=0.0, initial='grid'):
  return SegSortPredictor(
      EMBEDDER, Segmenter(2, 4, 1.0, initial, True, share), bank, 4, k)


@pytest.mark.parametrize('initial', ['grid', 'oversegmentation'])
def test_aligned_segments_are_named_and_told_one_by_one(initial):
  """Images of a batch have different numbers of them."""
  images, bank, regions = random_images(7, 9), make_bank(20), regions_of(7, 9)
  regions[1] = 0
  predictor = aligned_predictor(bank, initial=initial)
  labels, retrieval = predictor(images, NAMES, regions)
  segments = retrieval.segments.numpy()
  counts = segments.max((1, 2)) + 1
  assert counts[0] != counts[1] and retrieval.index.shape == (2, max(counts), 3)
  winners = predictor.segment_labels(retrieval).numpy()
  for image in range(2):
    alone, found = predictor(images[image:image + 1], NAMES[:1], regions[image:image + 1])
    np.testing.assert_array_equal(alone[0], labels[image])
    np.testing.assert_array_equal(found.index[0], retrieval.index[image, :counts[image]])
    records = neighbours_of([value[image] for value in retrieval], winners[image], bank)
    assert [record['segment'] for record in records] == list(range(counts[image]))
  votes = predictor.votes(centre(images), NAMES, regions).numpy()
  np.testing.assert_array_equal(votes.argmax(-1), labels)


def test_images_of_any_size_and_number_are_named_by_one_trace():
  predictor = aligned_predictor(make_bank(20))
  for batch, height, width in ((1, 6, 9), (2, 7, 9), (1, 8, 5)):
    images, regions = random_images(height, width)[:batch], regions_of(height, width)[:batch]
    predictor(images, NAMES[:batch], regions)
    predictor.votes(centre(images), NAMES[:batch], regions)
  for function in (predictor._search, predictor._elect, predictor._count):
    assert function.experimental_get_tracing_count() == 1


def test_regions_follow_scales_mirror_images_and_windows():
  images, bank, regions = random_images(6, 9), make_bank(20), regions_of(6, 9)
  predictor = aligned_predictor(bank, share=0.3)

  def votes(where, scales=(1.0,), mirror=False, windows=None):
    return MultiScalePredictor(predictor, scales, mirror, windows).votes(
        centre(images[:, :, where]), NAMES, regions[:, :, where]).numpy()

  plain, mirrored = votes(slice(None)), votes(slice(None, None, -1))
  np.testing.assert_array_equal(plain, predictor.votes(centre(images), NAMES, regions))
  np.testing.assert_allclose(
      votes(slice(None), mirror=True), (plain + mirrored[:, :, ::-1]) / 2, rtol=1e-6)
  windows = votes(slice(None), windows=Windows((6, 6), (6, 3)))
  np.testing.assert_array_equal(windows[:, :, :3], votes(slice(6))[:, :, :3])
  np.testing.assert_array_equal(windows[:, :, 6:], votes(slice(3, None))[:, :, 3:])
  np.testing.assert_allclose(votes(slice(None), SCALES, True).sum(-1), 3, rtol=1e-5)


def test_ties_of_averaged_votes_have_no_nearest():
  with pytest.raises(ValueError, match='--vote nearest.*choose count or similarity'):
    MultiScalePredictor(predictor_of(make_bank(), mode='nearest'), (1.0,), False)
  with pytest.raises(ValueError, match='--vote median: expected one of count'):
    predictor_of(make_bank(), mode='median')


class Classifier:
  """Logits at stride 2: minus the distance of the colour to each of three."""

  def __call__(self, images, training):
    del training
    colours = tf.constant(np.float32([[255, 0, 0], [0, 255, 0], [0, 0, 255]]) - MEAN_RGB)
    return -tf.norm(images[:, ::2, ::2, None] - colours, axis=-1)


@pytest.mark.parametrize('windows', [None, Windows((4, 6), (2, 3)), Windows((20, 20), (20, 20))])
def test_a_classifier_labels_every_pixel(windows):
  image, truth, _ = two_colours()
  predictor = SoftmaxPredictor(DenseNetwork(Classifier(), 2, windows))
  labels = predictor(image, NAMES)
  assert labels.shape == truth.shape and labels.dtype == np.int32
  # Away from the border, which the stride blurs.
  np.testing.assert_array_equal(labels[:, :, :6], 0)
  np.testing.assert_array_equal(labels[:, :, 8:], 2)


def test_logits_are_averaged_over_scales_and_mirror_images():
  images = random_images(8, 10)
  dense = DenseNetwork(Classifier(), 2)
  predictor = SoftmaxPredictor(dense, SCALES, True)
  np.testing.assert_allclose(
      predictor.logits(centre(images), NAMES), multi_scale(dense, centre(images), SCALES, True))
  np.testing.assert_array_equal(
      predictor(images, NAMES), np.argmax(predictor.logits(centre(images), NAMES), -1))


def test_a_classifier_that_gives_nan_is_reported():
  predictor = SoftmaxPredictor(lambda images: images / 0.0)
  with pytest.raises(FloatingPointError, match='NaN or infinity for a, b'):
    predictor(random_images(3, 3), NAMES)


@pytest.mark.parametrize('arguments, message', [
    ((32, 4, 3), 'prototypes of 3 dimensions, the network embeddings of 32.*--restore_from'),
    ((3, 2, 3), 'has the label [23], but there are 2 classes.*--num_classes'),
    ((3, 4, 6), '--k_in_nearest_neighbors 6: the bank has 5 prototypes, choose from 1 to 5'),
    ((3, 4, 0), '--k_in_nearest_neighbors 0'),
])
def test_a_bank_that_does_not_fit_is_refused(arguments, message):
  check_bank(make_bank(5, 3), 3, 4, 5)
  with pytest.raises(ValueError, match=message):
    check_bank(make_bank(5, 3), *arguments)


def test_neighbours_are_told_for_each_segment_with_pixels():
  images, bank = random_images(6, 8), make_bank(9)
  predictor = predictor_of(bank, 2)
  labels, retrieval = predictor(images, NAMES)
  winners = predictor.segment_labels(retrieval).numpy()
  records = neighbours_of([value[1] for value in retrieval], winners[1], bank)
  segments = retrieval.segments[1].numpy()
  assert [record['segment'] for record in records] == np.unique(segments).tolist()
  assert sum(record['pixels'] for record in records) == 48
  for record in records:
    inside = segments == record['segment']
    place = np.argwhere(inside)
    assert record['box'] == [*place.min(0), *(place.max(0) + 1)]
    assert record['pixels'] == inside.sum()
    assert (labels[1][inside] == record['class']).all()
    for rank, neighbour in enumerate(record['neighbours']):
      index = int(retrieval.index[1, record['segment'], rank])
      assert neighbour == {
          'prototype': index, 'class': bank.labels[index], 'image': bank.image[index],
          'box': bank.box[index].tolist(),
          'similarity': pytest.approx(float(retrieval.similarity[1, record['segment'], rank]),
                                      abs=1e-6)}
  json.dumps(records)


def test_neighbours_in_a_bank_of_the_originals_have_no_place():
  bank = dataclasses.replace(make_bank(9), image=None, box=None)
  predictor = predictor_of(bank, 2)
  _, retrieval = predictor(random_images(6, 8), NAMES)
  record = neighbours_of([value[0] for value in retrieval], np.zeros(4, int), bank)[0]
  assert set(record['neighbours'][0]) == {'prototype', 'class', 'similarity'}
