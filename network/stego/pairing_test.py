import numpy as np
import pytest
import tensorflow as tf

from network.stego.pairing import derangement, faithful_pairing, pairings
from utils.shared_data import shared


@pytest.mark.parametrize('images', [2, 3, 5, 16])
def test_a_derangement_moves_every_image_and_repeats_none(images):
  draws = np.array([derangement([1, step], images) for step in range(30)])
  assert (np.sort(draws) == np.arange(images)).all()
  assert (draws != np.arange(images)).all()
  assert images == 2 or len(np.unique(draws, axis=0)) > 1


def test_every_other_image_is_equally_likely():
  function = tf.function(lambda seed: derangement(seed, 4))
  counts = np.zeros([4, 4])
  for step in range(300):
    counts[np.arange(4), function(tf.constant([7, step]))] += 1
  others = counts[~np.eye(4, dtype=bool)]
  assert counts.trace() == 0 and abs(others - 100).max() < 30  # standard deviation 8


def test_one_image_has_no_other():
  for faithful in (False, True):
    with pytest.raises(ValueError, match='a batch of 1: .*raise --batch_size'):
      pairings([0, 0], 1, 2, faithful)


def test_faithful_pairing_equals_the_original():
  with np.load(shared('reference', 'stego.npz')) as file:
    for images in (1, 2, 3, 5, 8):
      for raw, expected in zip(file[f'super_perm/{images}/raw'],
                               file[f'super_perm/{images}/result'], strict=True):
        np.testing.assert_array_equal(faithful_pairing(tf.constant(raw)), expected)


def test_faithful_pairing_moves_fixed_points_alone():
  raw = [2, 1, 3, 0, 4]
  np.testing.assert_array_equal(faithful_pairing(tf.constant(raw)), [2, 2, 3, 0, 0])


@pytest.mark.parametrize('faithful', [False, True])
def test_draws_are_independent(faithful):
  draws = np.concatenate([pairings([3, step], 12, 5, faithful) for step in range(4)])
  assert draws.shape == (20, 12) and (draws != np.arange(12)).all()
  assert len(np.unique(draws, axis=0)) == 20
  duplicates = np.array([len(np.unique(draw)) < 12 for draw in draws])
  assert duplicates.any() == faithful


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('faithful', [False, True])
def test_compiled_it_is_the_same(faithful, jit_compile):
  function = tf.function(lambda seed: pairings(seed, 6, 3, faithful), jit_compile=jit_compile)
  np.testing.assert_array_equal(
      function(tf.constant([8, 9])), pairings([8, 9], 6, 3, faithful))
