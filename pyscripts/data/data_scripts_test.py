import pytest

from pyscripts.data import (
  make_scenes,
  prepare_lists,
  prepare_potsdam,
  prepare_voc12,
  resize_dataset,
)
from seg_models.datasets import dataset_for
from seg_models.image_reader import iterate_examples, read_list


def test_scenes_are_drawn_once_and_can_be_halved(tmp_path, capsys):
  command = ['--output_dir', str(tmp_path / 'scenes'), '--train', '2', '--val', '1']
  assert make_scenes.main(command) == make_scenes.main(command) == 0
  assert [line.split()[4] for line in capsys.readouterr().out.splitlines()] == ['drawn:', 'are']
  for expected in ('2 images written', '2 there already'):
    assert resize_dataset.main([
        '--data_dir', str(tmp_path / 'scenes'), '--data_list', str(tmp_path / 'scenes/train.txt'),
        '--output_dir', str(tmp_path / 'half'), '--scale', '0.5', '--dataset', 'scenes']) == 0
    assert expected in capsys.readouterr().out
  scenes = dataset_for('scenes')
  pairs = [iterate_examples(read_list(folder / 'train.txt', str(folder)), scenes)
           for folder in (tmp_path / 'scenes', tmp_path / 'half')]
  for whole, half in zip(*pairs, strict=True):
    assert abs(whole.image.shape[0] - 2 * half.image.shape[0]) <= 1
    assert whole.entry.id == half.entry.id


def test_voc_needs_its_folders(tmp_path):
  with pytest.raises(FileNotFoundError, match='--voc_dir'):
    prepare_voc12.main(['--voc_dir', str(tmp_path), '--output_dir', str(tmp_path / 'out')])


def test_potsdam_needs_its_lists(tmp_path):
  with pytest.raises(FileNotFoundError, match='--source_dir'):
    prepare_potsdam.main(['--source_dir', str(tmp_path), '--output_dir', str(tmp_path / 'out')])


def test_lists_need_their_folders(tmp_path):
  for what in ('coco_stuff', 'cityscapes'):
    with pytest.raises(FileNotFoundError, match='--data_dir'):
      prepare_lists.main([what, '--data_dir', str(tmp_path)])
