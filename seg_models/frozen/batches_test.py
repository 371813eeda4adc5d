import itertools

import numpy as np
import pytest

from seg_models.frozen.batches import frozen_batches


class Store:
  """View i has features and labels of i."""

  def __len__(self):
    return 7

  def features(self, indices):
    return np.broadcast_to(np.float32(indices)[:, None, None, None], [len(indices), 2, 2, 3])

  def labels(self, indices):
    return np.broadcast_to(np.int32(indices)[:, None, None], [len(indices), 4, 4])


NEIGHBOURS = np.array([[(i + 1) % 7, (i + 3) % 7, (i + 5) % 7] for i in range(7)])


def take(count, **options):
  batches = frozen_batches(Store(), 3, **{'seed': 5, **options})
  return [{name: value.numpy() for name, value in batch.items()}
          for batch in itertools.islice(batches, count)]


def test_a_resumed_run_gets_the_same_batches():
  options = {'neighbours': NEIGHBOURS, 'num_neighbors': 2}
  whole, rest = take(6, **options), take(3, first_step=3, **options)
  for expected, found in zip(whole[3:], rest, strict=True):
    for name in expected:
      np.testing.assert_array_equal(found[name], expected[name])


def test_an_epoch_has_no_view_twice_and_batches_never_cross_it():
  batches = take(4)
  for first, second in (batches[:2], batches[2:]):
    indices = [*first['index'], *second['index']]
    assert len(set(indices)) == 6
  assert not np.array_equal(batches[0]['index'], batches[2]['index'])
  assert not np.array_equal(batches[0]['index'], take(1, seed=6)[0]['index'])


def test_partners_are_among_the_nearest_and_features_are_their_views():
  ranks = set()
  for batch in take(20, neighbours=NEIGHBOURS, num_neighbors=2):
    assert batch['features'].shape == (3, 2, 2, 3) and batch['label'].shape == (3, 4, 4)
    np.testing.assert_array_equal(batch['features'][:, 0, 0, 0], batch['index'])
    np.testing.assert_array_equal(batch['label'][:, 0, 0], batch['index'])
    steps = (batch['partner_features'][:, 0, 0, 0].astype(int) - batch['index']) % 7
    ranks |= set(steps)
  assert ranks == {1, 3}


def test_ranks_of_partners_are_drawn_anew_in_every_step():
  """Where the original's workers draw the same ones again and again."""
  ranks = [tuple((batch['partner_features'][:, 0, 0, 0].astype(int) - batch['index']) % 7 // 2)
           for batch in take(40, neighbours=NEIGHBOURS, num_neighbors=3)]
  assert len(set(ranks)) > 15  # of 27
  np.testing.assert_allclose(np.bincount(np.ravel(ranks)) / 120, 1 / 3, atol=0.12)


def test_batches_hold_what_they_are_asked_for():
  assert sorted(take(1)[0]) == ['features', 'index', 'label']


def test_parts_are_of_the_batch_of_one_process():
  options = {'neighbours': NEIGHBOURS, 'num_neighbors': 3}
  asked = []

  class Asked(Store):
    def features(self, indices):
      asked.append(len(indices))
      return super().features(indices)

  for step, whole in enumerate(itertools.islice(frozen_batches(Store(), 6, 5, **options), 3)):
    parts = [next(frozen_batches(Asked(), 6, 5, step, share=(part, 3), **options))
             for part in range(3)]
    for name, values in whole.items():
      np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)
  assert set(asked) == {2}
  with pytest.raises(ValueError, match='--batch_size 3 cannot be divided into 2 parts'):
    take(1, share=(1, 2))


def test_images_are_there_where_they_are_asked_for():
  class Pictures(Store):
    def images(self, indices):
      return -np.float32(indices)

  batch = next(frozen_batches(Pictures(), 3, 0, with_images=True))
  np.testing.assert_array_equal(batch['image'], -np.float32(batch['index']))


def test_too_few_images_or_neighbours_are_named_before_the_first_batch():
  with pytest.raises(ValueError, match='--batch_size 8: there are only 7'):
    frozen_batches(Store(), 8, 0)
  with pytest.raises(ValueError, match='--num_neighbors 4: expected 1 to 3'):
    frozen_batches(Store(), 3, 0, neighbours=NEIGHBOURS, num_neighbors=4)
