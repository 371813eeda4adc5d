import dataclasses

import numpy as np
import pytest

from seg_models import bank as banks


def make_bank(count=5, dim=3, seed=0):
  rng = np.random.default_rng(seed)
  features = rng.normal(size=[count, dim]).astype(np.float32)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  return banks.Bank(
      features, rng.integers(0, 4, count).astype(np.int32),
      np.array([f'JPEGImages/bild_{i}_ü.jpg' for i in range(count)]),
      np.arange(count, dtype=np.int32), np.full(count, 7, np.int64),
      rng.integers(0, 99, [count, 4]).astype(np.int32))


def assert_equal(one, other):
  for field in dataclasses.fields(banks.Bank):
    np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), strict=True)


def test_a_bank_goes_through_its_files(tmp_path):
  bank = make_bank()
  banks.save_bank(bank, tmp_path / 'prototypes')
  assert_equal(banks.load_bank(tmp_path / 'prototypes'), bank)
  assert_equal(banks.load_bank(tmp_path), bank)
  assert sorted(path.name for path in (tmp_path / 'prototypes').iterdir()) == [
      'prototype_features.npy', 'prototype_info.npz', 'prototype_labels.npy']
  assert (len(bank), bank.dim) == (5, 3)


def test_the_originals_two_files_are_a_bank(tmp_path):
  bank = make_bank()
  np.save(tmp_path / 'prototype_features.npy', bank.features)
  np.save(tmp_path / 'prototype_labels.npy', bank.labels.astype(np.int64))
  loaded = banks.load_bank(tmp_path)
  np.testing.assert_array_equal(loaded.labels, bank.labels, strict=True)
  assert loaded.image is None and loaded.box is None


def test_a_fingerprint_follows_features_and_labels():
  bank = make_bank()
  assert bank.fingerprint() == make_bank().fingerprint() != make_bank(seed=1).fingerprint()
  assert dataclasses.replace(bank, labels=bank.labels + 1).fingerprint() != bank.fingerprint()


def test_banks_are_joined_in_order():
  one, two = make_bank(2, seed=1), make_bank(3, seed=2)
  joined = banks.join_banks([one, banks.empty_bank(3), two])
  np.testing.assert_array_equal(joined.features, np.concatenate([one.features, two.features]))
  np.testing.assert_array_equal(joined.image, np.concatenate([one.image, two.image]))
  assert joined.box.shape == (5, 4) and joined.pixels.dtype == np.int64


def test_joining_drops_what_one_bank_does_not_know():
  bank = make_bank()
  joined = banks.join_banks([bank, dataclasses.replace(bank, image=None)])
  assert joined.image is None and len(joined.cluster) == 10


@pytest.mark.parametrize('bank', [make_bank(), banks.empty_bank(3)])
def test_a_part_goes_through_its_file(tmp_path, bank):
  banks.save_part(bank, tmp_path / 'parts' / 'a.npz')
  assert_equal(banks.load_part(tmp_path / 'parts' / 'a.npz'), bank)


def test_an_empty_bank_is_refused_where_it_is_not_expected(tmp_path):
  banks.save_bank(banks.empty_bank(3), tmp_path)
  with pytest.raises(ValueError, match='prototype_labels.npy is empty'):
    banks.load_bank(tmp_path)


def test_a_missing_bank_is_an_error_with_a_remedy(tmp_path):
  with pytest.raises(FileNotFoundError, match='prototype_features.npy is missing.*extract_'):
    banks.load_bank(tmp_path)


@pytest.mark.parametrize('change, message', [
    (lambda bank: dict(features=bank.features * 1.01), 'no unit vectors'),
    (lambda bank: dict(features=bank.features * np.nan), '5 of 5 prototypes.*length nan'),
    (lambda bank: dict(labels=bank.labels - 9), 'classes from 0 on'),
])
def test_wrong_values_are_refused(tmp_path, change, message):
  bank = make_bank()
  banks.save_bank(dataclasses.replace(bank, **change(bank)), tmp_path)
  with pytest.raises(ValueError, match=message):
    banks.load_bank(tmp_path)


def test_files_of_two_banks_do_not_mix(tmp_path):
  banks.save_bank(make_bank(), tmp_path)
  np.save(tmp_path / 'prototype_labels.npy', np.zeros(4, np.int32))
  with pytest.raises(ValueError, match=r'\(5, 3\).*\(4,\)'):
    banks.load_bank(tmp_path)
  with pytest.raises(ValueError, match='features.*labels'):
    banks.Bank(make_bank().features, np.zeros(4, np.int32))
  banks.save_bank(make_bank(6), tmp_path)
  (tmp_path / 'prototype_info.npz').rename(tmp_path / 'info')
  banks.save_bank(make_bank(), tmp_path)
  (tmp_path / 'info').rename(tmp_path / 'prototype_info.npz')
  with pytest.raises(ValueError, match='prototype_info.npz belongs to another bank'):
    banks.load_bank(tmp_path)


@pytest.mark.parametrize('name', ['prototype_features.npy', 'prototype_labels.npy'])
def test_a_truncated_file_is_named(tmp_path, name):
  banks.save_bank(make_bank(), tmp_path)
  (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-5])
  with pytest.raises(ValueError, match=f'{name} is damaged'):
    banks.load_bank(tmp_path)


def test_a_truncated_info_file_is_named(tmp_path):
  banks.save_bank(make_bank(), tmp_path)
  path = tmp_path / 'prototype_info.npz'
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match='prototype_info.npz is damaged'):
    banks.load_bank(tmp_path)
