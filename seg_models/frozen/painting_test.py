import numpy as np
import pytest

from seg_models.datasets import dataset_for
from seg_models.frozen.cluster_folder import ClusterFolder
from seg_models.frozen.painting import gallery, paint, painted_ids
from seg_models.image_reader import Entry
from utils import colors, images
from utils.metrics import NO_CLASS

DATASET = dataset_for('camvid')
CLASSES = np.array([2, NO_CLASS, 0, 5])


@pytest.fixture
def folder(tmp_path):
  """Two images, the first all of cluster 0, the second half 1, half 3."""
  entries = []
  for index, clusters in enumerate(([[0] * 8] * 6, [[1] * 4 + [3] * 4] * 6)):
    path = tmp_path / f'{index}.png'
    images.write_png(path, np.full((6, 8, 3), 100 * index, np.uint8))
    entries.append(Entry(str(path), None, None, str(index)))
    images.write_png(tmp_path / f'out/gray/{index}.png', np.array(clusters, np.uint8))
  return ClusterFolder(tmp_path / 'out', entries, {}, ('gray',), (), overwrite=False)


@pytest.fixture(autouse=True)
def claimed(monkeypatch):
  """What is in the folder was made here."""
  monkeypatch.setattr('utils.resuming.claim', lambda *_: None)


def test_clusters_are_painted_as_their_classes():
  np.testing.assert_array_equal(painted_ids(np.arange(4), CLASSES, 11), [2, 12, 0, 5])
  np.testing.assert_array_equal(painted_ids([[3, 300]], None, 11), [[3, 44]])


def test_pictures_and_counts(folder):
  counts = paint(folder, lambda entry: images.read_image(entry.image), CLASSES, DATASET)
  np.testing.assert_array_equal(counts, [[48, 0, 0, 0], [0, 24, 0, 24]])
  color = images.read_image(folder.file('color', folder.entries[1]))
  assert (color[:, 4:] == DATASET.palette[5]).all()
  assert (color[:, :4] == colors.extend_palette(DATASET.palette)[12]).all()
  np.testing.assert_array_equal(
      images.read_mask(folder.file('color', folder.entries[0])), np.full((6, 8), 2))
  overlay = images.read_image(folder.file('overlay', folder.entries[1]))
  assert (overlay[:, 4:] == np.round((100 + DATASET.palette[5].astype(float)) / 2)).all()


def test_the_gallery_has_a_row_for_each_cluster_that_occurs(folder):
  def shown(entry):
    return images.read_image(entry.image)

  counts = paint(folder, shown, None, DATASET)
  sheet = gallery(folder, shown, counts, None, DATASET, height=20)
  row = 20 + 2 * 4 + 12  # a tile with its frame and text
  assert len(sheet) == 3 * row
  for place, cluster in enumerate((0, 1, 3)):
    np.testing.assert_array_equal(sheet[place * row + 10, 10], DATASET.palette[cluster])
