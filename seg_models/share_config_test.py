import types

import pytest

from seg_models.share_config import ShareConfig, left_message


def test_a_share_is_by_shard_or_by_worker(monkeypatch):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  assert ShareConfig().share == (0, 1) and not ShareConfig().is_shared
  assert ShareConfig(shard='1/3').share == (1, 3) and ShareConfig(shard='1/3').is_shared
  assert ShareConfig(workers='a:1,b:2', task=1).share == (1, 2)
  assert ShareConfig(num_gpu=2).is_shared
  monkeypatch.setenv('TF_CONFIG', '{"cluster": {"worker": ["a:1", "b:2"]}, '
                                  '"task": {"type": "worker", "index": 1}}')
  assert ShareConfig().share == (1, 2) and not ShareConfig(shard='0/1').is_shared


@pytest.mark.parametrize('flags', [{'shard': '0/2'}, {'num_gpu': 3}])
def test_what_others_have_written_is_not_overwritten(flags):
  with pytest.raises(ValueError, match='--overwrite would remove'):
    ShareConfig(overwrite=True, **flags)
  with pytest.raises(ValueError, match='--num_gpu 0'):
    ShareConfig(num_gpu=0)


def test_what_is_left_is_counted():
  folder = types.SimpleNamespace(mine=[1, 2], left=lambda: [3, 4, 5])
  assert left_message(folder, ShareConfig(shard='0/2')).startswith(
      'part 0 of 2 (2 images) is done; 3 images are left to others')
