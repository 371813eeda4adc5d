import numpy as np
import pytest

from network.segsort.retrieval import nearest_neighbours, vote
from seg_models import bank as banks
from seg_models import bank_benchmark
from seg_models.bank_test import make_bank


def test_an_enlarged_bank_holds_moved_copies(tmp_path):
  bank = make_bank(7, 64)
  bank_benchmark.enlarge(bank, 100, 0.2, tmp_path)
  large = banks.load_bank(tmp_path)
  for name in ('labels', 'image'):
    np.testing.assert_array_equal(getattr(large, name), getattr(bank, name)[np.arange(100) % 7])
  np.testing.assert_array_equal(large.images, bank.images)
  cosines = np.sum(large.features * bank.features[np.arange(100) % 7], axis=1)
  # A step of 0.2, nearly at a right angle.
  np.testing.assert_allclose(cosines.mean(), 1 / np.hypot(1, 0.2), atol=5e-3)
  assert len(np.unique(large.features, axis=0)) == 100


def test_variants_are_held_against_exact_search(tmp_path):
  """In this process; what `compare` adds is another one for each."""
  bank, queries = make_bank(300, 8), make_bank(20, 8, seed=1)
  variants = list(bank_benchmark.write_variants(bank, tmp_path, 5, 0.9))
  assert [variant.name for variant in variants] == [
      'float32', 'float16', 'int8', 'float32 ivf', 'int8 ivf']
  similarity, index = nearest_neighbours(queries.features, bank.features, 5)
  labels = vote(bank.labels[index], similarity, 4)
  for variant in variants:
    found = bank_benchmark.search_bank(variant.folder, queries.features, 5, [2, 20], 1)
    places = found['index'] if variant.order is None else variant.order[found['index']]
    recall = np.mean([np.isin(*rows) for rows in zip(index, places, strict=True)])
    assert recall > 0.8
    assert np.mean(found['labels'] == labels) > 0.7
    if variant.name == 'float32':
      np.testing.assert_array_equal(places, index)
    assert len(found['seconds']) == len(found['cpu_seconds']) == 2 and found['peak_mb'] < 100
    assert found['bank_mb'] == 300 * 8 * (1 if 'int8' in variant.name else
                                          2 if 'float16' in variant.name else 4) / 2**20


@pytest.mark.slow
def test_rows_tell_what_is_lost(tmp_path):
  bank, queries = make_bank(300, 8), make_bank(20, 8, seed=1)
  variants = list(bank_benchmark.write_variants(bank, tmp_path, 5, 0.9))
  rows = list(bank_benchmark.compare(
      [variants[0], variants[4]], queries.features, queries.labels, 5, [2], 1))
  assert [row['name'] for row in rows] == ['float32', 'int8 ivf']
  assert rows[0]['recall'] == rows[0]['agreement'] == 1 and set(rows[0]['seconds']) == {'2'}
  assert 0.7 < rows[1]['recall'] < 1 and 'cells' in rows[1]['making']
  index = nearest_neighbours(queries.features, bank.features, 5)
  assert rows[0]['accuracy'] == np.mean(
      vote(bank.labels[index[1]], index[0], 4) == queries.labels)
