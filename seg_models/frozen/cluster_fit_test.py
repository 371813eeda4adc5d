import numpy as np
import pytest

from seg_models.frozen.cluster_fit import fit_clusters, sample_codes


class Store:
  """Views of 4 x 5 cells in one of three directions each, of various lengths; some cells are 0."""

  def __init__(self, count=40):
    random = np.random.default_rng(0)
    self.maps = np.zeros([count, 4, 5, 3], np.float32)
    kinds = random.integers(0, 3, [count, 4, 5])
    np.put_along_axis(self.maps, kinds[..., None], 1.0, axis=-1)
    self.maps += random.normal(size=self.maps.shape, scale=0.05)
    self.maps *= random.uniform(0.1, 9, [count, 4, 5, 1])
    self.maps[:, 0, 0] = 0

  def __len__(self):
    return len(self.maps)

  def features(self, indices):
    return self.maps[indices]


def test_codes_are_sampled_from_every_view_and_have_unit_length():
  store = Store()
  codes = sample_codes(lambda features: features, store, 0)
  assert codes.shape == (40 * 19, 3)
  np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, rtol=1e-5)
  few = sample_codes(lambda features: features, store, 0, most=80)
  assert 60 <= len(few) <= 80
  np.testing.assert_array_equal(few, sample_codes(lambda features: features, store, 0, most=80))
  assert not np.array_equal(few[:5], sample_codes(lambda f: f, store, 1, most=80)[:5])


def test_of_many_views_some_are_looked_at():
  store, seen = Store(), []

  def codes_of(features):
    seen.append(len(features))
    return features
  assert len(sample_codes(codes_of, store, 0, most=30)) <= 30
  assert sum(seen) == 30


def test_directions_are_found_whatever_the_lengths():
  found = fit_clusters(lambda features: 2 * features, Store(), 3, restarts=3, seed=1)
  assert found.objective > 0.98
  np.testing.assert_allclose(sorted(found.centres.argmax(1)), [0, 1, 2])
  assert (np.diff(np.bincount(found.labels)) <= 0).all()


def test_more_clusters_than_codes_are_refused():
  with pytest.raises(ValueError, match='groups of'):
    fit_clusters(lambda features: features, Store(1), 30, restarts=1, seed=0)
