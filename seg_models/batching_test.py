import numpy as np
import pytest

from seg_models.batching import batches_of_equal_size, stack
from seg_models.image_reader import Entry, Example


def examples_of(sizes):
  entries = [Entry(f'{i}.jpg', None, None, str(i)) for i in range(len(sizes))]
  return [Example(entries[i], np.full([*size, 3], i, np.uint8), None, None)
          for i, size in enumerate(sizes)]


def ids(batches):
  return [''.join(example.entry.id for example in batch) for batch in batches]


A, B, C = (2, 3), (3, 2), (1, 1)


@pytest.mark.parametrize('sizes, batch_size, expected', [
    ([A, B, A, C], 1, ['0', '1', '2', '3']),
    ([A, B, A, A, B, A], 2, ['02', '14', '35']),
    ([A, B, A, B, A], 3, ['024', '13']),
    ([A, A, A], 2, ['01', '2']),
    ([], 2, []),
])
def test_equal_sizes_come_together(sizes, batch_size, expected):
  assert ids(batches_of_equal_size(examples_of(sizes), batch_size)) == expected


def test_the_longest_waiting_group_comes_when_too_many_wait():
  sizes = [A, A, B, B, C, A, B]
  assert ids(batches_of_equal_size(examples_of(sizes), 3, most_waiting=4)) == [
      '01', '236', '4', '5']


def test_every_example_comes_once():
  sizes = [[A, B, C][i] for i in np.random.default_rng(0).integers(0, 3, 40)]
  batches = list(batches_of_equal_size(examples_of(sizes), 4, most_waiting=5))
  assert sorted(int(example.entry.id) for batch in batches for example in batch) == list(range(40))
  assert all(len({example.image.shape for example in batch}) == 1 for batch in batches)
  assert all(0 < len(batch) <= 4 for batch in batches)


def test_a_batch_is_stacked():
  batch = examples_of([A, A])
  images, labels, regions = stack(batch)
  assert images.shape == (2, 2, 3, 3) and images.dtype == np.uint8
  assert labels is None and regions is None
  known = [Example(e.entry, e.image, np.full(A, i, np.int32), np.full(A, i + 5, np.int32))
           for i, e in enumerate(batch)]
  _, labels, regions = stack(known)
  np.testing.assert_array_equal(labels[:, 0, 0], [0, 1])
  np.testing.assert_array_equal(regions[:, 0, 0], [5, 6])


def test_a_batch_of_nothing_is_refused():
  with pytest.raises(ValueError, match='--batch_size 0'):
    list(batches_of_equal_size([], 0))
