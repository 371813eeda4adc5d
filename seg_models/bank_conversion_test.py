import numpy as np
import pytest

from seg_models import bank as banks
from seg_models.bank_conversion import ConversionConfig, convert
from seg_models.bank_index import load_index
from seg_models.bank_test import assert_equal, make_bank


def converted(tmp_path, **options):
  """The bank that is made of the one in `old`."""
  assert convert(ConversionConfig(str(tmp_path / 'old'), str(tmp_path / 'new'), **options)) == 0
  return banks.load_bank(tmp_path / 'new')


@pytest.fixture
def bank(tmp_path):
  banks.save_bank(make_bank(50, 6), tmp_path / 'old')
  return banks.load_bank(tmp_path / 'old')


@pytest.mark.parametrize('storage', ['float32', 'float16', 'int8'])
def test_all_but_the_features_stays(bank, tmp_path, storage, capsys):
  found = converted(tmp_path, bank_storage=storage)
  assert found.features.dtype == storage
  features = found.features.astype(np.float32)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  np.testing.assert_allclose(features, bank.features, atol={'int8': 8e-3}.get(storage, 5e-4))
  np.testing.assert_array_equal(found.labels, bank.labels)
  for name, values in bank.info.items():
    np.testing.assert_array_equal(found.info[name], values)
  size = bank.features.size * np.dtype(storage).itemsize / 1e6
  assert f'50 prototypes, {storage}, {size:.1f} MB' in capsys.readouterr().out
  assert_equal(banks.load_bank(tmp_path / 'old'), bank)


@pytest.mark.parametrize('storage', [None, 'int8'])
def test_an_index_sorts_all_that_belongs_to_a_prototype(bank, tmp_path, storage, capsys):
  found = converted(
      tmp_path, bank_storage=storage, index=True, index_cells=6, k_in_nearest_neighbors=4)
  index = load_index(tmp_path / 'new', found.fingerprint(), 4)
  assert len(index.centres) <= 6 and index.offsets[-1] == 50 and index.recall >= 0.99
  assert f'of which a search goes through {index.probes}' in capsys.readouterr().out
  order = found.cluster  # numbers the prototypes of `bank`
  assert sorted(order) == list(range(50)) and order.tolist() != list(range(50))
  for name in ('labels', 'image', 'pixels', 'box'):
    np.testing.assert_array_equal(getattr(found, name), getattr(bank, name)[order])
  np.testing.assert_array_equal(found.images, bank.images)
  if storage is None:
    np.testing.assert_array_equal(found.features, bank.features[order])


def test_a_converted_bank_may_be_converted(bank, tmp_path):
  small = converted(tmp_path, bank_storage='int8')
  again = ConversionConfig(str(tmp_path / 'new'), str(tmp_path / 'third'), index=True)
  assert convert(again) == 0
  third = banks.load_bank(tmp_path / 'third')
  np.testing.assert_array_equal(third.features, small.features[third.cluster], strict=True)


def test_a_bank_of_the_originals_may_be_converted(bank, tmp_path):
  (tmp_path / 'old' / 'prototype_info.npz').unlink()
  assert converted(tmp_path, bank_storage='int8', index=True).info == {}


def test_wrong_flags_are_named_and_nothing_is_overwritten(bank, tmp_path):
  with pytest.raises(ValueError, match='--prototype_dir, --save_dir missing'):
    convert(ConversionConfig())
  with pytest.raises(ValueError, match='--index_cells are the cells of --index'):
    converted(tmp_path, index_cells=3)
  with pytest.raises(FileNotFoundError, match='prototype_features.npy is missing'):
    convert(ConversionConfig(str(tmp_path / 'none'), str(tmp_path / 'new')))
  assert not (tmp_path / 'new').exists()
  converted(tmp_path)
  with pytest.raises(ValueError, match='already holds prototype_features.npy: name another'):
    converted(tmp_path, bank_storage='int8')
