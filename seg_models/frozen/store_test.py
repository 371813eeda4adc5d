import numpy as np
import pytest
import tensorflow as tf

from network.common.preprocessing import MEAN_RGB
from seg_models.datasets import dataset_for
from seg_models.frozen.geometry import Geometry
from seg_models.frozen.neighbours import find_neighbours
from seg_models.frozen.store import CacheConfig, FeatureStore
from seg_models.frozen.views import load_view, views_of
from seg_models.image_reader import Entry
from utils import images

GEOMETRY = Geometry(16)
DATASET = dataset_for(None, 3)


class Trunk:
  """Means of 4 x 4 pixels; counts the images that it has seen."""

  def __init__(self, weights='a', scale=1.0):
    self.settings = {'weights': weights}
    self.scale = scale
    self.seen = 0

  def __call__(self, pictures):
    self.seen += len(pictures)
    return self.scale * tf.nn.avg_pool2d(tf.constant(pictures, tf.float32), 4, 4, 'VALID')


@pytest.fixture
def entries(tmp_path):
  random = np.random.default_rng(0)
  made = []
  for index in range(5):
    paths = [str(tmp_path / f'{name}{index}.png') for name in ('image', 'mask')]
    images.write_png(paths[0], random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    images.write_png(paths[1], random.integers(0, 3, (30, 40), dtype=np.uint8))
    made.append(Entry(*paths, None, f'image{index}'))
  return made


def store_of(entries, tmp_path, trunk=None, crops='one', dataset=None, geometry=GEOMETRY, **cache):
  cache = CacheConfig(str(tmp_path / 'cache'), feature_batch_size=2, **cache)
  return FeatureStore(trunk or Trunk(), views_of(entries, crops), geometry, cache, dataset)


@pytest.mark.parametrize('crops, cached', [('one', True), ('five', True), ('five', False)])
def test_features_and_labels_are_those_of_each_view(entries, tmp_path, crops, cached):
  store = store_of(entries, tmp_path, crops=crops, dataset=DATASET, cache_features=cached,
                   feature_dtype='float32')
  assert len(store) == (5 if crops == 'one' else 25) and store.has_labels
  indices = np.array([4, 0, 3])
  features, labels = store.features(indices), store.labels(indices)
  assert features.dtype == np.float32 and labels.dtype == np.int32
  for index, feature, label in zip(indices, features, labels, strict=True):
    image, expected = load_view(store.views[index], GEOMETRY, DATASET)
    np.testing.assert_array_equal(label, expected)
    np.testing.assert_allclose(store.images([index])[0] + np.float32(MEAN_RGB), image, atol=1e-4)
    np.testing.assert_allclose(feature, Trunk()(image[None])[0], rtol=1e-6)
    np.testing.assert_allclose(store.means[index], feature.mean((0, 1)), rtol=1e-5)


def test_the_trunk_runs_once_and_only_for_what_changes(entries, tmp_path):
  trunk = Trunk()
  first = store_of(entries, tmp_path, trunk)
  store_of(entries, tmp_path, trunk)
  assert trunk.seen == 5
  for change in ({'trunk': Trunk('b')}, {'crops': 'five'}, {'feature_dtype': 'float32'},
                 {'entries': entries[1:]}, {'geometry': Geometry(20)},
                 {'geometry': Geometry(16, resampling='nearest')}):
    other = store_of(**{'entries': entries, 'tmp_path': tmp_path, **change})
    assert other._trunk.seen == len(other)
    assert other.manifest != first.manifest
  labelled = store_of(entries, tmp_path, trunk, dataset=DATASET)
  assert trunk.seen == 5 and labelled.manifest == first.manifest
  images.write_png(entries[0].image, np.zeros((30, 40, 3), np.uint8))
  store_of(entries, tmp_path, trunk)
  assert trunk.seen == 10


def test_half_precision_is_exact_enough_and_never_infinite(entries, tmp_path):
  rounded = store_of(entries, tmp_path).features(np.arange(5))
  exact = store_of(entries, tmp_path, feature_dtype='float32').features(np.arange(5))
  np.testing.assert_allclose(rounded, exact, rtol=1e-3)
  with pytest.raises(FloatingPointError, match='--feature_dtype float16'):
    store_of(entries, tmp_path, Trunk('c', 1e4))


def test_without_labels_all_are_unknown(entries, tmp_path):
  bare = [Entry(entry.image, None, None, entry.id) for entry in entries]
  store = store_of(bare, tmp_path)
  assert not store.has_labels
  np.testing.assert_array_equal(store.labels([1, 2]), np.full((2, 16, 16), -1))


def test_whole_images_make_no_batch(entries, tmp_path):
  with pytest.raises(ValueError, match='--middle none'):
    FeatureStore(Trunk(), views_of(entries), Geometry(16, 'none'), CacheConfig())


def test_neighbours_are_kept_by_all_that_they_depend_on(entries, tmp_path):
  folder = str(tmp_path / 'cache')
  found = find_neighbours(store_of(entries, tmp_path), folder)
  assert found.shape == (5, 4)
  for index, row in enumerate(found):
    assert sorted([index, *row]) == list(range(5))
  assert find_neighbours(store_of(entries, tmp_path), folder, 2).shape == (5, 2)
  other = find_neighbours(store_of(entries, tmp_path, Trunk('b'), 'five'), folder)
  assert other.shape == (25, 24)
  # Of as many images: the original's file name knows neither weights nor a size but 224.
  for change in ({'trunk': Trunk('c')}, {'geometry': Geometry(20)}):
    before = len(list((tmp_path / 'cache').glob('neighbours-*')))
    assert find_neighbours(store_of(entries, tmp_path, **change), folder).shape == (5, 4)
    assert len(list((tmp_path / 'cache').glob('neighbours-*'))) == before + 1
  with pytest.raises(ValueError, match='a single image'):
    find_neighbours(store_of(entries[:1], tmp_path), folder)
