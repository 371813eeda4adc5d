import numpy as np
import pytest

from network.segsort import pseudo_classes
from network.segsort.pseudo_classes import choose_seeds, cluster_prototypes, nearest_centres, refine


def unit(vectors):
  return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def planted(rng, sizes, dim=8, noise=0.1):
  """Prototypes around orthogonal directions, shuffled, and which of them each is around."""
  labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
  return unit(np.eye(dim)[labels] + noise * rng.standard_normal([len(labels), dim])), labels


def objective_of(prototypes, weights, labels):
  """In float64 and by loops: the weighted mean cosine to the mean direction of each group."""
  total = 0.0
  for label in set(labels.tolist()):
    members = [w * p.astype(np.float64) for p, w, mine in zip(
        prototypes, weights, labels, strict=True) if mine == label]
    total += np.linalg.norm(sum(members))
  return total / np.sum(weights)


def naive_refine(prototypes, weights, labels, num_classes, iterations):
  """Weighted spherical k-means in float64 by loops, for groups none of which becomes empty."""
  points = prototypes.astype(np.float64)
  for _ in range(iterations):
    centres = [sum(w * p for p, w, mine in zip(points, weights, labels, strict=True)
                   if mine == k) for k in range(num_classes)]
    centres = [centre / np.linalg.norm(centre) for centre in centres]
    labels = np.array([int(np.argmax([p @ centre for centre in centres])) for p in points])
  return labels


def as_partition(labels):
  return {frozenset(np.flatnonzero(labels == label)) for label in set(np.asarray(labels).tolist())}


@pytest.mark.parametrize('weighted', [False, True])
def test_refining_equals_weighted_kmeans_by_loops(weighted):
  rng = np.random.default_rng(0)
  prototypes = unit(rng.standard_normal([60, 5]))
  weights = rng.integers(1, 50, 60) if weighted else np.ones(60)
  labels = rng.integers(0, 4, 60)
  found = refine(prototypes, weights, labels, 4)
  expected = naive_refine(prototypes, weights, labels, 4, 100)
  assert as_partition(found.labels) == as_partition(expected)
  assert found.objective == pytest.approx(objective_of(prototypes, weights, expected), abs=1e-6)
  for k, centre in enumerate(found.centres):
    mine = found.labels == k
    np.testing.assert_allclose(
        centre, unit((weights[mine, None] * prototypes[mine]).sum(axis=0)), atol=1e-6)
  mass = np.bincount(found.labels, weights)
  assert (np.diff(mass) <= 0).all()  # the heaviest first


def test_weights_are_as_good_as_copies():
  rng = np.random.default_rng(1)
  prototypes, labels = unit(rng.standard_normal([30, 4])), rng.integers(0, 3, 30)
  weights = rng.integers(1, 6, 30)
  whole = refine(np.repeat(prototypes, weights, axis=0), np.ones(weights.sum()),
                 np.repeat(labels, weights), 3)
  found = refine(prototypes, weights, labels, 3)
  np.testing.assert_array_equal(np.repeat(found.labels, weights), whole.labels)
  np.testing.assert_allclose(found.centres, whole.centres, atol=1e-5)
  # And only their ratios count.
  np.testing.assert_array_equal(refine(prototypes, 1e-3 * weights, labels, 3).labels, found.labels)


def test_the_objective_never_falls():
  rng = np.random.default_rng(2)
  prototypes, weights = unit(rng.standard_normal([200, 6])), rng.uniform(1, 9, 200)
  labels = rng.integers(0, 7, 200)
  objectives = [objective_of(prototypes, weights, labels)]
  objectives += [refine(prototypes, weights, labels, 7, n).objective for n in range(1, 12)]
  assert (np.diff(objectives) > -1e-6).all() and objectives[-1] > objectives[0] + 0.05


def test_empty_groups_are_filled_and_that_raises_the_objective():
  rng = np.random.default_rng(3)
  prototypes, _ = planted(rng, [20, 20, 20, 20])
  labels = rng.integers(0, 2, 80)  # of 4 groups two are empty
  found = refine(prototypes, np.ones(80), labels, 4)
  assert set(found.labels) == {0, 1, 2, 3}
  assert found.objective > refine(prototypes, np.ones(80), labels, 2).objective


def test_groups_are_filled_by_light_prototypes_too():
  """Rounding, times the weight of copies, is more than what light prototypes differ by."""
  rng = np.random.default_rng(0)
  heavy, light = np.eye(8)[[0]], np.eye(8)[[1]]
  prototypes = unit(np.concatenate([
      heavy + 1e-4 * rng.standard_normal([20, 8]), light + 2e-2 * rng.standard_normal([6, 8])]))
  weights = np.repeat([1e6, 1.0], [20, 6])
  found = cluster_prototypes(prototypes, 7, [0], weights)
  assert len(set(found.labels[:20])) == 1 and len(set(found.labels)) == 7


@pytest.mark.parametrize('sizes, noise', [([40, 30, 20, 10], 0.1), ([300, 3, 2, 1], 0.02)])
def test_planted_groups_are_found_whatever_their_sizes_and_order(sizes, noise):
  rng = np.random.default_rng(4)
  prototypes, labels = planted(rng, sizes, noise=noise)
  found = cluster_prototypes(prototypes, 4, range(10))
  np.testing.assert_array_equal(found.labels, labels)  # the largest first
  order = rng.permutation(len(labels))
  again = cluster_prototypes(prototypes[order], 4, range(10))
  np.testing.assert_array_equal(again.labels, labels[order])
  np.testing.assert_allclose(again.centres, found.centres, atol=1e-5)


def test_the_groups_turn_with_the_prototypes():
  rng = np.random.default_rng(5)
  prototypes, _ = planted(rng, [30, 20, 10], dim=5, noise=0.2)
  rotation, _ = np.linalg.qr(rng.standard_normal([5, 5]))
  found = cluster_prototypes(prototypes, 3, [7])
  turned = cluster_prototypes(unit(prototypes @ rotation), 3, [7])
  np.testing.assert_array_equal(turned.labels, found.labels)
  np.testing.assert_allclose(turned.centres, found.centres @ rotation, atol=1e-5)
  assert turned.objective == pytest.approx(found.objective, abs=1e-6)


def test_equal_seeds_give_equal_groups_and_the_best_of_several_is_kept():
  prototypes = unit(np.random.default_rng(6).standard_normal([150, 6]))
  each = [cluster_prototypes(prototypes, 12, [seed]).objective for seed in range(6)]
  assert len(set(each)) > 1
  best = cluster_prototypes(prototypes, 12, range(6))
  assert best.objective == max(each)
  again = cluster_prototypes(prototypes, 12, range(6))
  np.testing.assert_array_equal(again.centres, best.centres)
  np.testing.assert_array_equal(again.labels, best.labels)


def test_seeds_are_drawn_by_weight_and_distance():
  """The frequencies of the second seed, given the first, against the formula."""
  prototypes = unit(np.array([[1, 0], [1, 0.5], [0, 1], [-1, 0.2]]))
  weights = np.array([1.0, 2.0, 3.0, 0.5])
  pairs = np.array([choose_seeds(prototypes, weights, 2, np.random.default_rng(seed))
                    for seed in range(4000)])
  first = np.bincount(pairs[:, 0], minlength=4) / len(pairs)
  np.testing.assert_allclose(first, weights / weights.sum(), atol=0.03)
  second = np.bincount(pairs[pairs[:, 0] == 2, 1], minlength=4)
  mass = weights * (1 - prototypes @ prototypes[2]) * (np.arange(4) != 2)
  np.testing.assert_allclose(second / second.sum(), mass / mass.sum(), atol=0.04)


def test_copies_are_drawn_last_and_no_prototype_twice():
  prototypes = unit(np.array([[1, 0]] * 20 + [[0, 1]]))
  for seed in range(20):
    chosen = choose_seeds(prototypes, np.ones(21), 5, np.random.default_rng(seed))
    assert len(set(chosen)) == 5 and 20 in chosen[:2]


def test_as_many_groups_as_prototypes():
  prototypes = unit(np.random.default_rng(8).standard_normal([9, 4]))
  found = cluster_prototypes(prototypes, 9, [0])
  assert len(set(found.labels)) == 9 and found.objective == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('num_classes', [0, 6])
def test_too_few_prototypes_are_refused(num_classes):
  prototypes = unit(np.random.default_rng(9).standard_normal([5, 3]))
  with pytest.raises(ValueError, match=f'{num_classes} groups of 5 prototypes'):
    cluster_prototypes(prototypes, num_classes, [0])


def test_too_few_different_prototypes_are_refused():
  prototypes = unit(np.array([[1, 0], [0, 1]] * 4))
  assert cluster_prototypes(prototypes, 2, [0]).objective == pytest.approx(1)
  with pytest.raises(ValueError, match='only 2 of 8 prototypes can be told apart.* 3 groups'):
    cluster_prototypes(prototypes, 3, [0])


def test_the_nearest_centre_is_the_lower_of_two_equal_ones(monkeypatch):
  rng = np.random.default_rng(10)
  prototypes, centres = unit(rng.standard_normal([50, 4])), unit(rng.standard_normal([6, 4]))
  centres[4] = centres[1]
  cosines = prototypes @ centres.T
  for at_once in (50, 7):
    monkeypatch.setattr(pseudo_classes, '_AT_ONCE', at_once)
    labels, similarity = nearest_centres(prototypes, centres)
    np.testing.assert_array_equal(labels, cosines.argmax(axis=1))
    np.testing.assert_allclose(similarity, cosines.max(axis=1), atol=1e-6)
    assert 1 in labels and 4 not in labels
