import numpy as np
import pytest
from PIL import Image

from network.segsort.visualization import color_basis, pca_rgb
from seg_models import bank as banks
from seg_models.image_reader import Entry
from seg_models.segment_folder import UNLABELLED, SegmentFolder, segments_of
from utils import images


def make(rng, height=6, width=9, segments=4, dim=5):
  """An image, its unit embedding, and a map of segments in which id 1 is missing."""
  embedding = rng.standard_normal([height, width, dim])
  embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  ids = rng.permutation(np.arange(height * width) % segments).reshape(height, width)
  return (rng.integers(0, 256, [height, width, 3]).astype(np.uint8),
          embedding.astype(np.float32), (ids + (ids > 0)).astype(np.int32))


@pytest.fixture
def entries(tmp_path):
  (tmp_path / 'data').mkdir()
  paths = [tmp_path / 'data' / f'{name}.jpg' for name in 'ab']
  for path in paths:
    path.touch()
  return [Entry(str(path), None, None, path.stem) for path in paths]


def folder_of(tmp_path, entries, settings=None, **more):
  return SegmentFolder(
      tmp_path / 'out', entries, str(tmp_path / 'data'), settings or {'k': 1}, **more)


def test_segments_are_numbered_as_they_appear_with_their_mean_directions():
  _, embedding, segments = make(np.random.default_rng(0))
  ids, bank = segments_of(embedding, segments, 'x.jpg')
  order = list(dict.fromkeys(segments.ravel().tolist()))
  np.testing.assert_array_equal(ids, np.vectorize(order.index)(segments))
  assert (bank.labels == UNLABELLED).all() and set(bank.images) == {'x.jpg'}
  for index, segment in enumerate(order):
    inside = segments == segment
    mean = embedding[inside].astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(bank.features[index], mean / np.linalg.norm(mean), atol=1e-6)
    rows, columns = np.nonzero(inside)
    assert bank.box[index].tolist() == [
        rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    assert bank.pixels[index] == inside.sum() and bank.cluster[index] == index


def test_the_four_files_of_an_image(tmp_path, entries):
  rng = np.random.default_rng(1)
  folder = folder_of(tmp_path, entries)
  data = {entry.id: make(rng) for entry in entries}
  basis = folder.basis(lambda: color_basis(data['a'][1]))
  for entry in entries:
    folder.write(entry, *data[entry.id], basis)
  image, embedding, segments = data['b']
  ids, bank = segments_of(embedding, segments, 'b.jpg')
  np.testing.assert_array_equal(folder.segments(entries[1]), ids)
  with Image.open(tmp_path / 'out/segments/b.png') as png:
    assert png.mode == 'L'
  np.testing.assert_array_equal(
      images.read_image(tmp_path / 'out/pca/b.png'), pca_rgb(embedding, basis))
  outlines = images.read_image(tmp_path / 'out/outlines/b.png')
  right = ids[:-1, :-1] != ids[:-1, 1:]
  assert (outlines[:-1, :-1][right] == (255, 255, 0)).all()
  joined, counts = folder.bank()
  assert counts == [4, 4]
  np.testing.assert_array_equal(joined.features[4:], bank.features)
  assert joined.images[joined.image].tolist() == ['a.jpg'] * 4 + ['b.jpg'] * 4


@pytest.mark.parametrize('count, mode', [(256, 'L'), (257, 'I;16')])
def test_many_segments_need_16_bits(tmp_path, entries, count, mode):
  rng = np.random.default_rng(2)
  image, embedding, segments = make(rng, 20, 20, count)
  folder = folder_of(tmp_path, entries)
  folder.write(entries[0], image, embedding, segments, color_basis(embedding))
  with Image.open(tmp_path / 'out/segments/a.png') as png:
    assert png.mode == mode
  assert folder.segments(entries[0]).max() == count - 1


def test_one_basis_for_all_runs(tmp_path, entries):
  rng = np.random.default_rng(3)
  first = folder_of(tmp_path, entries).basis(lambda: color_basis(make(rng)[1]))
  again = folder_of(tmp_path, entries).basis(lambda: pytest.fail('made twice'))
  np.testing.assert_array_equal(again.axes, first.axes)
  np.testing.assert_array_equal(again.mean, first.mean)
  (tmp_path / 'out/color_basis.npz').write_bytes(b'damaged')
  with pytest.raises(ValueError, match='color_basis.npz is damaged'):
    folder_of(tmp_path, entries).basis(lambda: pytest.fail('made twice'))


@pytest.mark.parametrize(
    'name', ['segments/a.png', 'pca/a.png', 'outlines/a.png', 'parts/a.npz'])
def test_an_image_of_which_a_file_is_missing_is_missing(tmp_path, entries, name):
  rng = np.random.default_rng(4)
  folder = folder_of(tmp_path, entries)
  assert folder.missing() == entries
  data = make(rng)
  folder.write(entries[0], *data, color_basis(data[1]))
  assert folder_of(tmp_path, entries).missing() == entries[1:]
  (tmp_path / 'out' / name).unlink()
  assert folder_of(tmp_path, entries).missing() == entries


def test_results_of_other_settings_or_images_are_not_mixed(tmp_path, entries):
  rng = np.random.default_rng(5)
  folder = folder_of(tmp_path, entries)
  data = make(rng)
  basis = folder.basis(lambda: color_basis(data[1]))
  for entry in entries:
    folder.write(entry, *data, basis)
  with pytest.raises(ValueError, match='unfinished run with other settings .k: 1 there, 2 now'):
    folder_of(tmp_path, entries, {'k': 2})
  (tmp_path / 'data/b.jpg').write_bytes(b'other')
  changed = folder_of(tmp_path, entries)
  assert changed.missing() == entries[1:]  # and the colours stay comparable
  np.testing.assert_array_equal(changed.basis(lambda: pytest.fail('lost')).axes, basis.axes)
  changed.finish()
  assert folder_of(tmp_path, entries, {'k': 2}).missing() == entries  # a finished one is replaced
  assert not list((tmp_path / 'out').rglob('*.npz'))


def test_overwriting_removes_all(tmp_path, entries):
  data = make(np.random.default_rng(6))
  folder = folder_of(tmp_path, entries)
  folder.write(entries[0], *data, folder.basis(lambda: color_basis(data[1])))
  folder_of(tmp_path, entries, {'k': 2}, overwrite=True)
  assert [path.name for path in (tmp_path / 'out').rglob('[!.]*.*')] == ['segments.json']


def test_a_damaged_part_is_named(tmp_path, entries):
  folder = folder_of(tmp_path, entries[:1])
  banks.save_part(banks.empty_bank(3), tmp_path / 'out/parts/a.npz')
  (tmp_path / 'out/parts/a.npz').write_bytes(b'PK')
  with pytest.raises(ValueError, match='a.npz is damaged'):
    folder.bank()
