import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from network.common.preprocessing import MEAN_RGB
from seg_models.datasets import dataset_for
from seg_models.image_reader import (
  AugmentationConfig,
  Entry,
  iterate_examples,
  load_example,
  read_list,
  training_batches,
)
from utils import images
from utils.shared_data import shared

DATASET = dataset_for(None, 11)
ALL_RANDOM = AugmentationConfig((16, 12), True, True, True)


def make_data(folder, count=7, lines='{image} {mask} {segments}\n'):
  """`count` images of several sizes, their masks and oversegmentations, and list.txt."""
  rng = np.random.default_rng(5)
  for name in ('images', 'masks', 'segments'):
    (folder / name).mkdir()
  text = ''
  for index in range(count):
    size = (14 + index, 20 - index)
    paths = {'image': f'images/{index}.jpg', 'mask': f'masks/{index}.png',
             'segments': f'segments/{index}.png'}
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / paths['image'])
    Image.fromarray(rng.choice([0, 3, 10, 255], size).astype(np.uint8)).save(folder / paths['mask'])
    segments = rng.integers(0, 600, size).astype(np.uint16)
    Image.fromarray(segments).save(folder / paths['segments'])
    text += lines.format(**paths)
  (folder / 'list.txt').write_text(text)
  return read_list(folder / 'list.txt', str(folder))


def first(batches, count):
  return [{name: value.numpy() for name, value in batch.items()}
          for batch in itertools.islice(batches, count)]


def assert_equal(batches, others):
  assert len(batches) == len(others)
  for batch, other in zip(batches, others, strict=True):
    assert set(batch) == set(other)
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


# Lists


@pytest.mark.parametrize('lines', [
    '{image} {mask}\n', '{image}\t {mask}  \r\n', '/{image} /{mask}\n', '\n{image} {mask}'])
def test_read_list_takes_any_white_space_and_slashes(tmp_path, lines):
  make_data(tmp_path, 2)
  text = ''.join(lines.format(image=f'images/{i}.jpg', mask=f'masks/{i}.png') + '\n' * (i == 0)
                 for i in range(2))
  (tmp_path / 'list.txt').write_text(text)
  for data_dir in (str(tmp_path), str(tmp_path) + '/'):
    entries = read_list(tmp_path / 'list.txt', data_dir)
    assert [(entry.id, entry.oversegmentation) for entry in entries] == [('0', None), ('1', None)]
    assert entries[1].image == str(tmp_path / 'images/1.jpg')
    assert entries[1].mask == str(tmp_path / 'masks/1.png')


def test_without_data_dir_paths_stay_as_they_are(tmp_path):
  make_data(tmp_path, 1)
  (tmp_path / 'list.txt').write_text(f'{tmp_path}/images/0.jpg {tmp_path}/masks/0.png')
  assert read_list(tmp_path / 'list.txt')[0].image == f'{tmp_path}/images/0.jpg'


def test_one_column_is_enough_without_masks(tmp_path):
  (tmp_path / 'images').mkdir()
  (tmp_path / 'images/a.b.jpg').touch()
  (tmp_path / 'list.txt').write_text('images/a.b.jpg')
  entry, = read_list(tmp_path / 'list.txt', tmp_path, need_mask=False)
  assert (entry.id, entry.mask) == ('a.b', None)
  with pytest.raises(ValueError, match=r'list\.txt, line 1: 1 columns.*image mask'):
    read_list(tmp_path / 'list.txt', tmp_path)


def test_missing_files_are_all_listed_at_once(tmp_path):
  make_data(tmp_path, 4)
  for name in ('images/1.jpg', 'masks/3.png', 'segments/0.png'):
    (tmp_path / name).unlink()
  with pytest.raises(FileNotFoundError, match=r'list\.txt names 2 files') as caught:
    read_list(tmp_path / 'list.txt', tmp_path)
  assert 'images/1.jpg' in str(caught.value) and 'masks/3.png' in str(caught.value)
  with pytest.raises(FileNotFoundError, match=r'segments/0\.png'):
    read_list(tmp_path / 'list.txt', tmp_path, need_oversegmentation=True)
  with pytest.raises(FileNotFoundError, match=r'names 1 files'):
    read_list(tmp_path / 'list.txt', tmp_path, need_mask=False)


@pytest.mark.parametrize('text,message', [
    ('\n \n', 'empty'), ('a b c d', 'line 1: 4 columns')])
def test_faulty_lists_are_refused(tmp_path, text, message):
  (tmp_path / 'list.txt').write_text(text)
  with pytest.raises(ValueError, match=message):
    read_list(tmp_path / 'list.txt', tmp_path)
  with pytest.raises(FileNotFoundError, match=r'other\.txt'):
    read_list(tmp_path / 'other.txt', tmp_path)


def test_equal_names_are_refused_only_where_results_are_named_after_them(tmp_path):
  for name in ('a/x.jpg', 'b/x.jpg', 'x.png'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  for lines in ('a/x.jpg x.png\nb/x.jpg x.png', 'a/x.jpg x.png\na/x.jpg x.png'):
    (tmp_path / 'list.txt').write_text(lines)
    assert [entry.id for entry in read_list(tmp_path / 'list.txt', tmp_path)] == ['x', 'x']
    with pytest.raises(ValueError, match='lines 1 and 2.*named x, and predictions are named after'):
      read_list(tmp_path / 'list.txt', tmp_path, unique_ids=True)


# Examples


def test_examples_are_what_the_files_hold(tmp_path):
  entries = make_data(tmp_path)
  examples = list(iterate_examples(entries, DATASET, max_regions=256))
  assert [example.entry for example in examples] == entries
  for example in examples:
    with Image.open(example.entry.image) as image:
      np.testing.assert_array_equal(example.image, np.asarray(image))
    with Image.open(example.entry.mask) as image:
      np.testing.assert_array_equal(example.label, np.asarray(image))
    with Image.open(example.entry.oversegmentation) as image:
      ids = np.asarray(image)
    # The same regions, numbered without gaps.
    np.testing.assert_array_equal(np.unique(ids)[example.oversegmentation], ids)
    assert example.image.dtype == np.uint8 and example.label.dtype == np.int32
  bare = load_example(entries[0], DATASET, need_mask=False)
  assert bare.label is None and bare.oversegmentation is None


def test_palette_and_16_bit_masks_are_read_as_ids(tmp_path):
  entry = make_data(tmp_path, 1)[0]
  ids = np.asarray(Image.open(entry.mask))
  for array, palette in ((ids, DATASET.palette), (ids.astype(np.uint16), None)):
    images.write_png(entry.mask, array, palette)
    np.testing.assert_array_equal(load_example(entry, DATASET).label, ids)


def _truncate(entry):
  with open(entry.image, 'r+b') as file:
    file.truncate(400)


def _resize(entry):
  Image.new('L', (9, 9)).save(entry.mask)


def _label(entry):
  array = np.array(Image.open(entry.mask))
  array[0, 0] = 200
  Image.fromarray(array).save(entry.mask)


def _colour(entry):
  Image.open(entry.mask).convert('RGB').save(entry.mask)


@pytest.mark.parametrize('damage,message', [
    (_truncate, r'images/2\.jpg.*truncated'), (_resize, r'masks/2\.png is 9x9.*images/2\.jpg'),
    (_label, r'masks/2\.png: values 200: expected the 11 classes'),
    (_colour, r'masks/2\.png.*RGB')])
def test_faulty_file_reaches_the_user_by_name(tmp_path, damage, message):
  entries = make_data(tmp_path)
  damage(entries[2])
  with pytest.raises(ValueError, match=message):
    list(iterate_examples(entries, DATASET))
  batches = training_batches(entries, DATASET, ALL_RANDOM, 2, 0, shuffle=False)
  assert next(batches)['index'].numpy().tolist() == [0, 1]
  with pytest.raises(ValueError, match=message):
    next(batches)


# Batches


def test_batches_are_as_documented(tmp_path):
  entries = make_data(tmp_path)
  for batch in first(training_batches(
      entries, DATASET, ALL_RANDOM, 3, 7, max_regions=256), 8):
    kinds = {name: (value.dtype, value.shape) for name, value in batch.items()}
    assert kinds == {
        'image': (np.float32, (3, 16, 12, 3)), 'label': (np.int32, (3, 16, 12)),
        'valid': (np.bool_, (3, 16, 12)), 'location': (np.float32, (3, 16, 12, 2)),
        'size': (np.int32, (3, 2)), 'index': (np.int64, (3,)),
        'oversegmentation': (np.int32, (3, 16, 12))}
    assert (batch['label'][~batch['valid']] == 255).all()
    assert (batch['oversegmentation'][~batch['valid']] == -1).all()
    assert (batch['oversegmentation'][batch['valid']] >= 0).all()
    assert (batch['image'][~batch['valid']] == 0).all()
    for row, index in enumerate(batch['index']):
      example = load_example(entries[index], DATASET)
      height, width = batch['size'][row]
      assert example.image.shape[:2] == (height, width)
      # The location says where in the original each pixel comes from: the labels have to agree.
      rows = np.round(batch['location'][row, ..., 0] * height).astype(int)
      columns = np.round(batch['location'][row, ..., 1] * width).astype(int)
      valid = batch['valid'][row]
      np.testing.assert_array_equal(
          batch['label'][row][valid], example.label[rows, columns][valid])


def test_unscaled_batch_shows_the_image_itself(tmp_path):
  entries = make_data(tmp_path, 1)
  batch = first(training_batches(entries, DATASET, AugmentationConfig((14, 20)), 1, 0), 1)[0]
  image = load_example(entries[0], DATASET).image
  np.testing.assert_allclose(batch['image'][0] + MEAN_RGB, image, atol=1e-4)
  assert batch['valid'].all()


@pytest.mark.parametrize('count,batch_size', [(7, 3), (2, 5)])
def test_each_epoch_has_every_image_once_across_batch_borders(tmp_path, count, batch_size):
  entries = make_data(tmp_path, count)
  batches = first(training_batches(entries, DATASET, ALL_RANDOM, batch_size, 3), 14)
  order = np.concatenate([batch['index'] for batch in batches])
  epochs = order[:len(order) // count * count].reshape(-1, count)
  assert (np.sort(epochs) == np.arange(count)).all()
  assert len(np.unique(epochs, axis=0)) > 1


def test_batch_depends_on_seed_and_step_alone(tmp_path):
  entries = make_data(tmp_path)
  def batches(seed=11, first_step=0, **arguments):
    return training_batches(entries, DATASET, ALL_RANDOM, 3, seed, first_step, **arguments)
  whole = first(batches(), 9)
  assert_equal(whole, first(batches(prefetch=0, cache=True), 9))
  assert_equal(whole[5:], first(batches(first_step=5, prefetch=9), 4))
  for left, right in [(whole[0], whole[1]), (whole[0], first(batches(12), 1)[0])]:
    assert not np.array_equal(left['image'], right['image'])


def test_shares_are_the_parts_of_the_batch_and_read_nothing_else(tmp_path):
  entries = make_data(tmp_path)
  whole = next(training_batches(entries, DATASET, ALL_RANDOM, 4, 7, 2))
  parts = []
  for index in range(2):
    mine = {int(place) for place in whole['index'][2 * index:2 * index + 2]}
    # The files of all others are not there.
    known = [entry if place in mine else dataclasses.replace(entry, image='nowhere.jpg')
             for place, entry in enumerate(entries)]
    parts.append(next(training_batches(
        known, DATASET, ALL_RANDOM, 4, 7, 2, share=(index, 2), prefetch=0)))
  for name in whole:
    np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
  with pytest.raises(ValueError, match='--batch_size 4 cannot be divided into 3 parts'):
    next(training_batches(entries, DATASET, ALL_RANDOM, 4, 7, share=(1, 3)))


def test_list_order_without_shuffling(tmp_path):
  entries = make_data(tmp_path, 3)
  batches = first(training_batches(entries, DATASET, ALL_RANDOM, 2, 0, shuffle=False), 3)
  assert [batch['index'].tolist() for batch in batches] == [[0, 1], [2, 0], [1, 2]]


def test_images_without_masks_have_no_label_that_counts(tmp_path):
  entries = make_data(tmp_path, 2)
  for entry in entries:
    (tmp_path / entry.mask).unlink()
  batch = first(training_batches(entries, DATASET, ALL_RANDOM, 2, 0, need_mask=False), 1)[0]
  assert (batch['label'] == 255).all() and batch['valid'].any()


def test_real_images_of_camvid():
  folder = shared('data', 'camvid')
  entries = read_list(folder / 'val.txt', folder)
  assert len(entries) == 101
  camvid = dataset_for('camvid')
  batch = first(training_batches(entries, camvid, AugmentationConfig((96, 96), True), 4, 0), 1)[0]
  assert set(np.unique(batch['label'])) <= {*range(11), 255}
  assert np.abs(batch['image']).max() <= 255


def test_region_ids_become_compact_and_are_bounded(tmp_path):
  images.write_png(tmp_path / 'a.png', np.zeros([2, 3, 3], np.uint8))
  images.write_png(tmp_path / 'r.png', np.array([[7, 7, 300], [7, 65535, 300]], np.uint16))
  entry = Entry(str(tmp_path / 'a.png'), None, str(tmp_path / 'r.png'), 'a')
  example = load_example(entry, DATASET, need_mask=False, max_regions=3)
  np.testing.assert_array_equal(example.oversegmentation, [[0, 0, 1], [0, 2, 1]])
  with pytest.raises(ValueError, match='r.png: 3 regions, more than --max_regions 2'):
    load_example(entry, DATASET, need_mask=False, max_regions=2)


def test_batches_are_put_on_the_device_asked_for(tmp_path):
  batches = training_batches(
      make_data(tmp_path), DATASET, ALL_RANDOM, 2, seed=3, max_regions=600, device='CPU:1')
  for value in next(batches).values():
    assert value.device.endswith('CPU:1')
