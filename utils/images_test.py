import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from utils import images
from utils.shared_data import shared


def gray_png(bits, rows, width):
  """A gray PNG of 1, 2 or 4 bits, which Pillow does not write; `rows` are the packed bytes."""
  def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
  header = struct.pack('>IIBBBBB', width, len(rows), bits, 0, 0, 0, 0)
  data = zlib.compress(b''.join(b'\0' + row for row in rows))
  return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


RED_BLUE = np.array([[[255, 0, 0], [0, 0, 255], [9, 8, 7]]], np.uint8)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_read_image_gives_rgb_of_every_colour_mode(tmp_path, mode):
  Image.fromarray(RED_BLUE).convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / 'a.png')
  np.testing.assert_array_equal(images.read_image(tmp_path / 'a.png'), RED_BLUE)


def test_read_image_gives_rgb_of_gray_with_8_and_16_bits(tmp_path):
  gray = np.array([[0, 1, 200], [255, 128, 7]], np.uint8)
  Image.fromarray(gray).save(tmp_path / '8.png')
  Image.fromarray(gray.astype(np.uint16) * 256 + 99).save(tmp_path / '16.png')
  for name in ('8.png', '16.png'):
    array = images.read_image(tmp_path / name)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.stack([gray] * 3, -1))


def test_read_image_follows_the_exif_orientation(tmp_path):
  array = np.zeros((8, 16, 3), np.uint8)
  array[:, :8, 0] = 255  # the left half is red
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
  Image.fromarray(array).save(tmp_path / 'a.jpg', exif=exif, quality=95)
  upright = images.read_image(tmp_path / 'a.jpg')
  assert upright.shape == (16, 8, 3)
  assert upright[:7, :, 0].min() > 200 and upright[9:, :, 0].max() < 50


@pytest.mark.parametrize('ending', ['jpg', 'png'])
def test_truncated_file_is_named(tmp_path, ending):
  path = tmp_path / f'broken.{ending}'
  Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
  path.write_bytes(path.read_bytes()[:500])
  for read in (images.read_image, images.read_mask):
    with pytest.raises(ValueError, match=rf'broken\.{ending}.*truncated'):
      read(path)


def test_other_faulty_files_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'none\.png'):
    images.read_image(tmp_path / 'none.png')
  (tmp_path / 'text.png').write_text('no image')
  with pytest.raises(ValueError, match=r'text\.png'):
    images.read_image(tmp_path / 'text.png')


def test_read_mask_gives_the_stored_ids(tmp_path):
  ids = np.array([[0, 1, 2], [20, 255, 3]], np.uint8)
  palette = Image.fromarray(ids)
  palette.putpalette(np.random.default_rng(0).integers(0, 255, 768, np.uint8).tobytes())
  palette.save(tmp_path / 'palette.png')
  Image.fromarray(ids).save(tmp_path / 'gray.png')
  for name in ('palette.png', 'gray.png'):
    mask = images.read_mask(tmp_path / name)
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(mask, ids)
  Image.fromarray(ids.astype(np.uint16) * 250).save(tmp_path / '16.png')
  np.testing.assert_array_equal(images.read_mask(tmp_path / '16.png'), ids.astype(int) * 250)


@pytest.mark.parametrize('bits,row,expected', [
    (1, b'\xa0', [1, 0, 1, 0]), (2, b'\x1b', [0, 1, 2, 3]), (4, b'\x01\x2f', [0, 1, 2, 15])])
def test_read_mask_does_not_stretch_ids_of_few_bits(tmp_path, bits, row, expected):
  (tmp_path / 'a.png').write_bytes(gray_png(bits, [row], 4))
  np.testing.assert_array_equal(images.read_mask(tmp_path / 'a.png'), [expected])


def test_read_mask_refuses_colours_and_lossy_files(tmp_path):
  Image.fromarray(RED_BLUE).save(tmp_path / 'colour.png')
  with pytest.raises(ValueError, match=r'colour\.png.*RGB'):
    images.read_mask(tmp_path / 'colour.png')
  Image.fromarray(RED_BLUE[..., 0]).save(tmp_path / 'gray.jpg')
  with pytest.raises(ValueError, match=r'gray\.jpg.*JPEG'):
    images.read_mask(tmp_path / 'gray.jpg')


def test_read_mask_of_voc():
  path = shared('data', 'samples', 'voc12', '2007_004189.png')
  with Image.open(path) as image:
    assert image.mode == 'P'
    np.testing.assert_array_equal(images.read_mask(path), np.asarray(image))


@pytest.mark.parametrize(
    'dtype,shape', [(np.uint8, (3, 4)), (np.uint8, (3, 4, 3)), (np.uint16, (3, 4))])
def test_write_png_round_trip(tmp_path, dtype, shape):
  array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
  images.write_png(tmp_path / 'made' / 'a.png', array)
  with Image.open(tmp_path / 'made' / 'a.png') as image:
    np.testing.assert_array_equal(np.asarray(image), array)


def test_write_png_with_a_palette_and_faulty_arrays(tmp_path):
  palette = np.array([[1, 2, 3], [40, 50, 60]], np.uint8)
  indices = np.array([[0, 1], [1, 255]], np.uint8)
  images.write_png(tmp_path / 'a.png', indices, palette)
  expected = [[[1, 2, 3], [40, 50, 60]], [[40, 50, 60], [224, 224, 192]]]
  np.testing.assert_array_equal(images.read_image(tmp_path / 'a.png'), expected)
  np.testing.assert_array_equal(images.read_mask(tmp_path / 'a.png'), indices)
  for faulty in (indices.astype(np.int32), np.zeros((2, 2, 4), np.uint8)):
    with pytest.raises(ValueError, match=r'b\.png'):
      images.write_png(tmp_path / 'b.png', faulty)


@pytest.mark.parametrize('size', [(7, 11), (13, 9), (1, 1), (5, 8), (26, 40), (3, 17)])
def test_legacy_resizing_equals_tf1(size):
  array = np.random.default_rng(1).uniform(0, 255, (13, 20, 3)).astype(np.float32)
  expected = tf.compat.v1.image.resize_bilinear(array[None], size)[0]
  got = images.resize_bilinear_legacy(array, size)
  np.testing.assert_allclose(got, expected, rtol=0, atol=4e-5)
  ids = np.arange(13 * 20, dtype=np.int32).reshape(13, 20, 1)
  expected = tf.compat.v1.image.resize_nearest_neighbor(ids[None], size)[0]
  np.testing.assert_array_equal(images.resize_nearest_legacy(ids, size), expected)
  assert images.resize_nearest_legacy(ids[..., 0], size).dtype == np.int32


def test_nearest_indices_equal_tf1_for_many_sizes():
  """The float32 arithmetic decides which pixel is taken where a coordinate is nearly whole."""
  rng = np.random.default_rng(2)
  for size, resized in rng.integers(1, 900, (60, 2)):
    expected = tf.compat.v1.image.resize_nearest_neighbor(
        np.arange(size, dtype=np.int32)[None, :, None, None], (resized, 1))[0, :, 0, 0]
    got = images.nearest_indices(images.legacy_coordinates(size, resized), size)
    np.testing.assert_array_equal(got, expected)


def test_bilinear_at_a_flipped_window_equals_the_window_of_the_flipped_whole():
  array = np.random.default_rng(3).integers(0, 255, (9, 14, 3), np.uint8)
  whole = images.resize_bilinear_legacy(array, (20, 25))
  rows, columns = images.legacy_coordinates(9, 20), images.legacy_coordinates(14, 25)
  window = images.bilinear_at(array, rows[4:15], columns[::-1][3:9])
  np.testing.assert_array_equal(window, whole[:, ::-1][4:15, 3:9])


def test_gray_images_are_shares_of_their_greatest_number(tmp_path):
  images.write_png(tmp_path / 'a.png', np.array([[0, 51, 255]], np.uint8))
  images.write_png(tmp_path / 'b.png', np.array([[0, 13107, 65535]], np.uint16))
  for name in ('a.png', 'b.png'):
    np.testing.assert_allclose(images.read_gray(tmp_path / name), [[0, 0.2, 1]])
  images.write_png(tmp_path / 'c.png', np.zeros((2, 2, 3), np.uint8))
  with pytest.raises(ValueError, match='c.png: expected a gray image'):
    images.read_gray(tmp_path / 'c.png')
