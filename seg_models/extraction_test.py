import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from network.common.preprocessing import MEAN_RGB
from seg_models import bank as banks
from seg_models.bank_test import assert_equal, make_bank
from seg_models.embedding import Embedder, Segmenter
from seg_models.extraction import BankFolder, Extractor
from seg_models.image_reader import Entry

EMBEDDER = Embedder(tf.identity)  # the colour minus the mean is the embedding


def random_images(count, height, width, seed=0):
  return np.random.default_rng(seed).integers(0, 256, [count, height, width, 3]).astype(np.uint8)


def naive_prototypes(image, segments, labels, mode):
  """Loops over segments in the order of their first pixel with a label."""
  embedding = image - MEAN_RGB
  embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  seen, rows = [], []
  for segment, label in zip(segments.ravel(), labels.ravel(), strict=True):
    if label == 255:
      continue
    winner = np.bincount(labels[(segments == segment) & (labels != 255)]).argmax()
    key = (segment, winner if mode == 'majority' else label)
    if key in seen:
      continue
    seen.append(key)
    pixels = (segments == key[0]) & (labels == key[1])
    mean = embedding[pixels].mean(0)
    place = np.argwhere(pixels)
    rows.append((mean / np.linalg.norm(mean), key[1], key[0], pixels.sum(),
                 [*place.min(0), *(place.max(0) + 1)]))
  return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize('mode', ['majority', 'piece'])
def test_prototypes_are_those_of_naive_loops(mode):
  images = random_images(2, 9, 11)
  labels = np.random.default_rng(1).choice([0, 1, 4, 255], [2, 9, 11]).astype(np.int32)
  segmenter = Segmenter(2, 5)
  found = Extractor(EMBEDDER, segmenter, mode=mode)(images, labels, ['a', 'b'])
  for bank, image, label in zip(found, images, labels, strict=True):
    valid = label[None] != 255
    embedding = EMBEDDER(tf.constant(image[None] - MEAN_RGB), ['a'])
    segments = segmenter(embedding, valid).numpy()[0]
    features, classes, clusters, pixels, boxes = naive_prototypes(image, segments, label, mode)
    np.testing.assert_allclose(bank.features, features, atol=1e-5)
    np.testing.assert_array_equal(bank.labels, classes)
    np.testing.assert_array_equal(bank.cluster, clusters)
    np.testing.assert_array_equal(bank.pixels, pixels)
    np.testing.assert_array_equal(bank.box, boxes)
  assert found[0].image.tolist() == ['a'] * len(found[0])
  assert found[1].image.tolist() == ['b'] * len(found[1])


def test_pieces_keep_the_small_classes_that_majorities_lose():
  images = random_images(1, 8, 8)
  labels = np.zeros([1, 8, 8], np.int32)
  labels[0, 3, 5] = 7
  majority = Extractor(EMBEDDER, Segmenter(1, 2))(images, labels, ['a'])[0]
  piece = Extractor(EMBEDDER, Segmenter(1, 2), mode='piece')(images, labels, ['a'])[0]
  assert majority.labels.tolist() == [0] and majority.pixels.tolist() == [63]
  assert piece.labels.tolist() == [0, 7] and piece.pixels.tolist() == [63, 1]
  assert piece.box.tolist() == [[0, 0, 8, 8], [3, 5, 4, 6]]


def test_ignored_pixels_do_not_influence_the_segments():
  images = random_images(1, 8, 8)
  labels = np.full([1, 8, 8], 2, np.int32)
  labels[:, :, 4:] = 255
  extractor = Extractor(EMBEDDER, Segmenter(2, 5))
  first = extractor(images, labels, ['a'])[0]
  images[:, :, 4:] = 255 - images[:, :, 4:]
  assert_equal(extractor(images, labels, ['a'])[0], first)
  assert (first.box[:, 3] <= 4).all()


def test_an_image_without_a_label_has_no_prototypes():
  labels = np.full([2, 8, 8], 255, np.int32)
  labels[1, 0, 0] = 3
  none, one = Extractor(EMBEDDER, Segmenter(2, 5))(random_images(2, 8, 8), labels, ['a', 'b'])
  assert len(none) == 0 and none.features.shape == (0, 3) and none.box.shape == (0, 4)
  assert one.labels.tolist() == [3] and one.box.tolist() == [[0, 0, 1, 1]]


def test_another_ignore_label_counts_255():
  labels = np.full([1, 8, 8], 255, np.int32)
  labels[0, :4] = 0
  bank = Extractor(EMBEDDER, Segmenter(1, 1), ignore_label=0)(random_images(1, 8, 8), labels, ['a'])
  assert bank[0].labels.tolist() == [255] and bank[0].box.tolist() == [[4, 0, 8, 8]]


def test_an_unknown_mode_is_refused():
  with pytest.raises(ValueError, match='--prototype_mode median: expected one of majority, piece'):
    Extractor(EMBEDDER, Segmenter(1, 1), mode='median')


PARTS = [make_bank(2, seed=1), make_bank(3, seed=2), make_bank(1, seed=3)]


@pytest.fixture
def entries(tmp_path):
  (tmp_path / 'data').mkdir()
  folder = tmp_path / 'data'
  entries = [Entry(f'{folder}/{name}.jpg', f'{folder}/{name}.png', None, name) for name in 'cab']
  for entry in entries:
    for path in (entry.image, entry.mask):
      pathlib.Path(path).touch()
  return entries


def folder_of(path, entries, settings=None, **options):
  settings = settings or {'num_clusters': 5}
  return BankFolder(path, entries, str(path / 'data'), settings, **options)


def test_shares_meet_in_one_bank(tmp_path, entries):
  first, second = (folder_of(tmp_path, entries, share=(index, 2)) for index in range(2))
  assert first.missing() == [entries[0], entries[2]] and second.missing() == [entries[1]]
  for index in (2, 0):
    first.write(entries[index], PARTS[index])
  assert not first.missing() and first.left() == [entries[1]]
  second.write(entries[1], PARTS[1])
  assert not second.left()
  # Both see that all is there: the one joins while the other is about to, or has read the parts.
  bank, _ = first.finish()
  assert not second.left()
  again, _ = second.finish()
  assert_equal(bank, banks.join_banks(PARTS))
  assert_equal(again, bank)


def test_a_share_lets_alone_what_others_did_on_other_hosts(tmp_path, entries):
  first, second = (folder_of(tmp_path, entries, share=(index, 2)) for index in range(2))
  first.write(entries[0], PARTS[0])
  second.write(entries[1], PARTS[1])
  for entry in entries:  # the same images at another time, as copies on another host have
    pathlib.Path(entry.image).write_text('copied')
  assert folder_of(tmp_path, entries, share=(1, 2)).missing() == [entries[1]]
  assert first.missing() == [entries[2]]
  folder_of(tmp_path, entries)
  assert first.missing() == [entries[0], entries[2]]


def test_parts_are_joined_in_the_lists_order(tmp_path, entries):
  folder = folder_of(tmp_path, entries)
  assert not folder.is_complete and folder.missing() == entries
  for index in (2, 0, 1):
    folder.write(entries[index], PARTS[index])
  bank, without = folder.finish()
  assert without == [] and folder.is_complete
  assert_equal(bank, banks.join_banks(PARTS))
  assert_equal(banks.load_bank(tmp_path), bank)
  assert not (tmp_path / 'prototypes' / 'parts').exists()
  assert folder_of(tmp_path, entries).is_complete


def test_an_interrupted_run_goes_on_with_the_next_image(tmp_path, entries):
  folder = folder_of(tmp_path, entries)
  folder.write(entries[0], PARTS[0])
  # What a process leaves that is killed while it writes the second part:
  (tmp_path / 'prototypes' / 'parts' / '.a.npz.17.tmp').write_bytes(b'half')
  again = folder_of(tmp_path, entries)
  assert not again.is_complete and again.missing() == entries[1:]
  for index in (1, 2):
    again.write(entries[index], PARTS[index])
  assert_equal(again.finish()[0], banks.join_banks(PARTS))


def test_a_run_killed_while_joining_joins_again(tmp_path, entries, monkeypatch):
  folder = folder_of(tmp_path, entries)
  for entry, part in zip(entries, PARTS, strict=True):
    folder.write(entry, part)
  monkeypatch.setattr(np, 'save', interrupt)
  with pytest.raises(KeyboardInterrupt):
    folder.finish()
  monkeypatch.undo()
  again = folder_of(tmp_path, entries)
  assert not again.is_complete and again.missing() == []
  assert_equal(again.finish()[0], banks.join_banks(PARTS))


def test_a_run_killed_after_joining_leaves_nothing_to_do(tmp_path, entries, monkeypatch):
  folder = folder_of(tmp_path, entries)
  for entry, part in zip(entries, PARTS, strict=True):
    folder.write(entry, part)
  monkeypatch.setattr('shutil.rmtree', interrupt)
  with pytest.raises(KeyboardInterrupt):
    folder.finish()
  monkeypatch.undo()
  assert folder_of(tmp_path, entries).is_complete
  assert not (tmp_path / 'prototypes' / 'parts').exists()


def interrupt(*_, **__):
  raise KeyboardInterrupt


def test_images_without_prototypes_are_named(tmp_path, entries):
  folder = folder_of(tmp_path, entries)
  for entry, part in zip(entries, [PARTS[0], banks.empty_bank(3), PARTS[2]], strict=True):
    folder.write(entry, part)
  bank, without = folder.finish()
  assert without == ['a.jpg'] and len(bank) == 3


def test_a_list_without_any_label_is_an_error(tmp_path, entries):
  folder = folder_of(tmp_path, entries)
  for entry in entries:
    folder.write(entry, banks.empty_bank(3))
  with pytest.raises(ValueError, match='none of the 3 images has a labelled pixel'):
    folder.finish()


def test_other_settings_or_another_list_are_refused_and_overwritten_on_request(tmp_path, entries):
  folder_of(tmp_path, entries).write(entries[0], PARTS[0])
  with pytest.raises(ValueError, match='num_clusters: 5 there, 8 now.*--save_dir'):
    folder_of(tmp_path, entries, {'num_clusters': 8})
  with pytest.raises(ValueError, match='images: 3 there, 2 now'):
    folder_of(tmp_path, entries[:2])
  with pytest.raises(ValueError, match='list: '):
    folder_of(tmp_path, entries[::-1])
  assert folder_of(tmp_path, entries, {'num_clusters': 8}, overwrite=True).missing() == entries


def finish(folder, parts=PARTS):
  for entry, part in zip(folder.entries, parts, strict=True):
    if entry in folder.missing():
      folder.write(entry, part)
  return folder.finish()[0]


def test_a_finished_bank_of_other_settings_is_replaced(tmp_path, entries):
  finish(folder_of(tmp_path, entries))
  again = folder_of(tmp_path, entries, {'num_clusters': 8})
  assert not again.is_complete and again.missing() == entries
  again.write(entries[0], PARTS[2])
  with pytest.raises(ValueError, match='num_clusters: 8 there, 5 now'):  # unfinished now
    folder_of(tmp_path, entries)
  parts = [PARTS[2], *PARTS[1:]]
  assert_equal(finish(folder_of(tmp_path, entries, {'num_clusters': 8}), parts),
               banks.join_banks(parts))


def test_a_corrected_mask_makes_a_finished_bank_anew_and_one_part_of_an_unfinished(
    tmp_path, entries):
  folder = folder_of(tmp_path, entries)
  for index in (0, 1):
    folder.write(entries[index], PARTS[index])
  pathlib.Path(entries[1].mask).write_bytes(b'corrected')
  again = folder_of(tmp_path, entries)
  assert again.missing() == entries[1:]
  finish(again)
  assert folder_of(tmp_path, entries).is_complete
  pathlib.Path(entries[2].mask).write_bytes(b'corrected')
  again = folder_of(tmp_path, entries)
  assert not again.is_complete and again.missing() == entries


def test_a_changed_oversegmentation_makes_its_part_again(tmp_path, entries):
  regions = []
  for entry in entries:
    path = tmp_path / f'{entry.id}-regions.png'
    path.touch()
    regions.append(dataclasses.replace(entry, oversegmentation=str(path)))
  folder = folder_of(tmp_path, regions)
  for index in (0, 1):
    folder.write(regions[index], PARTS[index])
  pathlib.Path(regions[1].oversegmentation).write_bytes(b'finer')
  assert folder_of(tmp_path, regions).missing() == regions[1:]


def test_a_bank_of_the_originals_is_not_overwritten_unasked(tmp_path, entries):
  (tmp_path / 'prototypes').mkdir()
  np.save(tmp_path / 'prototypes' / 'prototype_features.npy', PARTS[0].features)
  with pytest.raises(ValueError, match='already holds prototype_features.npy'):
    folder_of(tmp_path, entries)
