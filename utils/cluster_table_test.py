import json

import pytest

from utils.cluster_table import cluster_table


def test_means_and_spreads_over_seeds(tmp_path):
  for name, value in [('stego-seed1-clusters', 0.5), ('stego-seed2-clusters', 0.6),
                      ('stego-seed1-linear', 0.7), ('stego-seed2-linear', 0.7),
                      ('dino_kmeans-clusters', 0.25), ('dino_linear-seed1-linear', 0.8)]:
    (tmp_path / f'{name}.json').write_text(
        json.dumps({'mean_iou': value, 'pixel_accuracy': value / 2}))
  (tmp_path / 'other.json').write_text('{}')
  assert list(cluster_table(tmp_path))[2:] == [
      '| dino_linear | 1 |  |  | 80.00 | 40.00 |',
      '| dino_kmeans | 1 | 25.00 | 12.50 |  |  |',
      '| stego | 2 | 55.00 ± 7.07 | 27.50 ± 3.54 | 70.00 ± 0.00 | 35.00 ± 0.00 |']


def test_an_empty_folder_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='table_clusters.sh'):
    list(cluster_table(tmp_path))
