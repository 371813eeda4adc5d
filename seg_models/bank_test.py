import dataclasses
import gc
import pathlib

import numpy as np
import pytest

from network.segsort.compression import compress, decompress
from seg_models import bank as banks


def make_bank(count=5, dim=3, seed=0):
  rng = np.random.default_rng(seed)
  features = rng.normal(size=[count, dim]).astype(np.float32)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  return banks.Bank(
      features, rng.integers(0, 4, count).astype(np.int32),
      np.array([f'JPEGImages/bild_{seed}_{i}_ü.jpg' for i in range(2)]),
      rng.integers(0, 2, count).astype(np.int32), np.arange(count, dtype=np.int32),
      np.full(count, 7, np.int64), rng.integers(0, 99, [count, 4]).astype(np.int32))


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
  assert loaded.images is None and loaded.image is None and loaded.box is None


def test_features_are_mapped_and_not_read(tmp_path):
  banks.save_bank(make_bank(), tmp_path)
  features = banks.load_bank(tmp_path).features
  path = str(tmp_path / 'prototype_features.npy')
  assert path in pathlib.Path('/proc/self/maps').read_text()
  assert not features.flags.writeable and not features.flags.owndata
  mapped = features.copy()
  banks.save_bank(make_bank(seed=1), tmp_path)  # takes the file's name, and leaves the mapped one
  np.testing.assert_array_equal(features, mapped)
  del features
  gc.collect()
  assert path not in pathlib.Path('/proc/self/maps').read_text()


def test_the_info_is_read_on_request(tmp_path):
  banks.save_bank(make_bank(), tmp_path)
  assert banks.load_bank(tmp_path, info=False).info == {}
  assert set(banks.load_bank(tmp_path).info) == {'images', 'image', 'cluster', 'pixels', 'box'}


def test_names_with_every_prototype_are_those_of_older_banks(tmp_path):
  bank = make_bank(7)
  banks.save_bank(bank, tmp_path)
  banks.save_part(bank, tmp_path / 'part.npz')
  names = bank.images[bank.image]
  info = {name: values for name, values in bank.info.items() if name != 'images'}
  np.savez(tmp_path / 'prototype_info.npz', **{**info, 'image': names})
  np.savez(tmp_path / 'part.npz', features=bank.features, labels=bank.labels,
           **{**info, 'image': names})
  for loaded in (banks.load_bank(tmp_path), banks.load_part(tmp_path / 'part.npz')):
    np.testing.assert_array_equal(loaded.images[loaded.image], names)
    assert loaded.images.tolist() == list(dict.fromkeys(names))
    assert loaded.image.dtype == np.int32
    np.testing.assert_array_equal(loaded.box, bank.box)


@pytest.mark.parametrize('storage', ['float16', 'int8'])
def test_a_bank_of_fewer_bits_stays_as_it_is_stored(tmp_path, storage, monkeypatch):
  monkeypatch.setattr(banks, '_ROWS', 3)
  bank = make_bank(8, 6)
  banks.save_bank(bank, tmp_path, storage)
  loaded = banks.load_bank(tmp_path)
  np.testing.assert_array_equal(loaded.features, compress(bank.features, storage), strict=True)
  np.testing.assert_array_equal(loaded.labels, bank.labels)
  assert loaded.fingerprint() != bank.fingerprint()
  banks.save_bank(loaded, tmp_path / 'again', storage)
  np.testing.assert_array_equal(banks.load_bank(tmp_path / 'again').features, loaded.features)
  banks.save_bank(loaded, tmp_path / 'back')
  back = banks.load_bank(tmp_path / 'back').features
  np.testing.assert_allclose(back, decompress(loaded.features), atol=1e-6)
  assert back.dtype == np.float32


def test_blocks_are_the_features_in_an_order(monkeypatch):
  monkeypatch.setattr(banks, '_ROWS', 3)
  bank, order = make_bank(8), np.random.default_rng(0).permutation(8)
  blocks = list(bank.blocks('float32', order))
  assert [len(block) for block in blocks] == [3, 3, 2]
  np.testing.assert_array_equal(np.concatenate(blocks), bank.features[order])


@pytest.mark.parametrize('change', [
    lambda features: features.astype(np.float64), np.asfortranarray,
    lambda features: features.astype('>f4')])
def test_features_that_cannot_be_mapped_are_converted(tmp_path, change):
  bank = make_bank()
  banks.save_bank(bank, tmp_path)
  np.save(tmp_path / 'prototype_features.npy', change(bank.features))
  loaded = banks.load_bank(tmp_path).features
  np.testing.assert_array_equal(loaded, bank.features, strict=True)
  assert loaded.flags.c_contiguous

def test_a_fingerprint_follows_features_and_labels():
  bank = make_bank()
  assert bank.fingerprint() == make_bank().fingerprint() != make_bank(seed=1).fingerprint()
  assert dataclasses.replace(bank, labels=bank.labels + 1).fingerprint() != bank.fingerprint()


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
    (lambda bank: dict(features=np.concatenate([bank.features[:3], np.zeros([2, 3], np.float32)])),
     r'2 of 5 prototypes are no unit vectors \(row 3 has length 0\)'),
    (lambda bank: dict(labels=bank.labels - 9), 'classes from 0 on'),
])
def test_wrong_values_are_refused(tmp_path, change, message, monkeypatch):
  monkeypatch.setattr(banks, '_ROWS', 2)
  bank = make_bank()
  banks.save_bank(dataclasses.replace(bank, **change(bank)), tmp_path)
  with pytest.raises(ValueError, match=message):
    banks.load_bank(tmp_path)


@pytest.mark.parametrize('features, message', [
    (np.full([5, 3], 126, np.int8), '5 of 5 prototypes are no unit vectors'),
    (np.ones([5, 3], np.float16), '5 of 5 prototypes are no unit vectors'),
    (np.ones([5, 3], np.int64), 'float32, float16, int8, not int64')])
def test_features_that_are_no_storages_are_refused(tmp_path, features, message):
  banks.save_bank(make_bank(), tmp_path)
  np.save(tmp_path / 'prototype_features.npy', features)
  with pytest.raises(ValueError, match=message):
    banks.load_bank(tmp_path)


def test_places_of_images_that_are_not_there_are_refused():
  bank = make_bank()
  with pytest.raises(ValueError, match='of more than the 1 images'):
    dataclasses.replace(bank, images=bank.images[:1], image=bank.image * 0 + 1)
  with pytest.raises(ValueError, match='belong together'):
    dataclasses.replace(bank, images=None)


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
