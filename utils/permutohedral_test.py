import numpy as np
import pytest

from utils import permutohedral
from utils.permutohedral import PermutohedralLattice


def filtered(features, values):
  squares = ((features[:, None] - features) ** 2).sum(-1)
  return np.exp(-squares / 2) @ values


@pytest.mark.parametrize('dim, tolerance', [(1, 1e-5), (2, 0.01), (3, 0.07), (5, 0.05)])
def test_one_point_keeps_its_value(dim, tolerance):
  """Wherever it lies in its simplex, up to the blur lost beyond the neighbours."""
  rng = np.random.default_rng(dim)
  features = rng.normal(size=(300, dim)) + np.arange(300)[:, None] * (1000 * (np.arange(dim) == 0))
  values = rng.normal(size=(300, 2)).astype(np.float32)
  np.testing.assert_allclose(PermutohedralLattice(features)(values), values, rtol=tolerance)


def test_vertices_are_the_simplex_and_its_neighbours():
  """On a line: two ends and one more on either side; then four more that are far from these."""
  assert PermutohedralLattice(np.array([[0.3]])).num_vertices == 4
  assert PermutohedralLattice(np.array([[0.3], [50.0]])).num_vertices == 8
  assert PermutohedralLattice(np.array([[0.3], [0.31]])).num_vertices == 4


@pytest.mark.parametrize('dim, tolerance', [(1, 0.03), (2, 0.08), (5, 0.23)])
def test_the_kernel_falls_with_distance(dim, tolerance):
  """Averaged over places and directions, against exp(-r^2 / 2): too flat near 0 in many dimensions,
  right where most of the volume is."""
  rng = np.random.default_rng(0)
  count = 600
  # Pairs a thousand deviations apart do not see each other.
  start = rng.normal(size=(count, dim)) + np.arange(count)[:, None] * (1000 * (np.arange(dim) == 0))
  direction = rng.normal(size=(count, dim))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  values = np.repeat([[1.0], [0.0]], count, axis=0).astype(np.float32)
  for distance in (0.5, 1.0, 1.5, 2.0, 3.0):
    features = np.concatenate([start, start + distance * direction])
    received = PermutohedralLattice(features)(values)[count:]
    near = tolerance if distance < 1.7 else 0.025
    assert received.mean() == pytest.approx(np.exp(-distance ** 2 / 2), abs=near), distance


@pytest.mark.parametrize('dim', [2, 5])
def test_a_cloud_is_filtered_as_by_all_pairs(dim):
  rng = np.random.default_rng(1)
  features = rng.uniform(0, 6, (1500, dim))
  values = rng.random((1500, 3), np.float32)
  expected = filtered(features, values)
  assert expected.mean() > 3 * values.mean()  # mostly of other points
  error = np.abs(PermutohedralLattice(features)(values) - expected)
  assert error.mean() < 0.05 * expected.mean()
  assert error.max() < 0.15 * expected.max()


def test_few_values_are_held_at_a_time_and_give_the_same(monkeypatch):
  """A photograph has up to 6 vertices a pixel, and each would hold a value of every class."""
  rng = np.random.default_rng(3)
  lattice, values = PermutohedralLattice(rng.normal(size=(40, 5))), rng.random((40, 7), np.float32)
  whole, splat, widths = lattice(values), lattice._splat, []

  class Splat:
    def __matmul__(self, part):
      widths.append(part.shape[1])
      return splat @ part

  lattice._splat = Splat()
  for values_held, expected in ((3 * lattice.num_vertices, [3, 3, 1]), (1, [1] * 7)):
    monkeypatch.setattr(permutohedral, '_MOST_VALUES', values_held)
    widths.clear()
    np.testing.assert_array_equal(lattice(values), whole)
    assert widths == expected


def test_points_far_apart_do_not_meet():
  features = np.array([[0.0, 0, 0], [12.0, 0, 0], [0, 0, -12.0]])
  values = np.eye(3, dtype=np.float32)
  np.testing.assert_allclose(PermutohedralLattice(features)(values), values, atol=0.07)


def test_only_differences_of_features_count():
  """Up to where the points lie in their cells: a shift by whole cells of the lattice."""
  rng = np.random.default_rng(2)
  features = rng.normal(size=(50, 1))
  values = rng.random((50, 2), np.float32)
  cell = np.sqrt(2 / 3) * np.sqrt(2)  # one step along both axes of Z^2, in opposite directions
  shifted = PermutohedralLattice(features + 1000 / cell * 2)(values)
  np.testing.assert_allclose(PermutohedralLattice(features)(values), shifted, rtol=1e-4)


def test_features_that_cannot_be_numbered_are_refused():
  with pytest.raises(ValueError, match='larger standard deviations'):
    PermutohedralLattice(np.array([[0.0] * 5, [1e5] * 5]))
