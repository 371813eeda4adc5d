import dataclasses

import numpy as np
import pytest

from seg_models import bank as banks
from seg_models.bank_joining import join_banks, write_joined
from seg_models.bank_test import assert_equal, make_bank

PARTS = [make_bank(2, seed=1), banks.empty_bank(3), make_bank(3, seed=2), make_bank(1, seed=3)]


def naive_join(parts):
  """All columns concatenated, and the name of each prototype's image."""
  columns = {name: np.concatenate([getattr(part, name) for part in parts])
             for name in ('features', 'labels', 'cluster', 'pixels', 'box')}
  return columns, np.concatenate([part.images[part.image] for part in parts])


def assert_joined(bank, parts):
  columns, names = naive_join(parts)
  for name, values in columns.items():
    np.testing.assert_array_equal(getattr(bank, name), values, strict=True)
  np.testing.assert_array_equal(bank.images[bank.image], names)
  assert bank.image.dtype == np.int32 and len(bank.images) == sum(len(p.images) for p in parts)


@pytest.mark.parametrize('parts', [PARTS, PARTS[1:] + PARTS[:1], PARTS[::-1]])
def test_banks_are_joined_in_order(parts):
  assert_joined(join_banks(iter(parts), 6), parts)


def test_joining_drops_what_one_bank_does_not_know():
  bank = make_bank()
  other = dataclasses.replace(bank, images=None, image=None, box=None)
  for parts in ([bank, other], [other, bank]):
    assert set(join_banks(parts, 10).info) == {'cluster', 'pixels'}


@pytest.mark.parametrize('storage', ['float32', 'int8'])
def test_parts_become_the_files_of_the_joined_bank(tmp_path, storage, monkeypatch):
  paths = [tmp_path / f'{number}.npz' for number in range(len(PARTS))]
  for path, part in zip(paths, PARTS, strict=True):
    banks.save_part(part, path)
  assert [banks.part_size(path) for path in paths] == [2, 0, 3, 1]
  held = []

  def load_part(path, load=banks.load_part):
    held.append(path)
    return load(path)

  monkeypatch.setattr(banks, 'load_part', load_part)
  write_joined(paths, 6, tmp_path / 'bank', storage)
  assert held == [paths[0], *paths]  # the first one's dimension, and then each once
  banks.save_bank(join_banks(PARTS, 6), tmp_path / 'expected', storage)
  assert_equal(banks.load_bank(tmp_path / 'bank'), banks.load_bank(tmp_path / 'expected'))
